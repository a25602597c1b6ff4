"""Texts that go into public reports name nobody, whatever system they come from."""

import time

import pytest

from devicelab import private as module
from devicelab.private import private, private_data


@pytest.fixture(autouse=True)
def somebody(monkeypatch):
    for name in module._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/srv/people/annabel")
    monkeypatch.setattr("getpass.getuser", lambda: "annabel")
    monkeypatch.setattr("platform.node", lambda: "annas-laptop.fritz.box")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/people/annabel/x.py", "~/x.py"),
        ("/home/bob/x.py", "~/x.py"),
        ("/Users/bob/x.py", "~/x.py"),
        ("/home2/bob/x.py", "~/x.py"),
        ("/root/x.py and /rooted/y", "~/x.py and /rooted/y"),
        (r"C:\Users\Bob Smith\x.py", r"~\x.py"),
        (r"c:\users\bob\x.py", r"~\x.py"),
        ("C:/Users/bob/x.py", "~/x.py"),
        (r"C:\\Users\\Bob Smith\\x.py", r"~\\x.py"),
        ("/mnt/c/Users/bob/x.py", "~/x.py"),
        (r"\\wsl.localhost\Ubuntu\home\bob\x.py", r"\\wsl.localhost\Ubuntu~\x.py"),
        ("/home/bob/miniconda3/envs/lab/lib", "~/miniconda3/envs/lab/lib"),
        ("/opt/conda/envs/annabel_env/lib", "/opt/conda/envs/***_env/lib"),
        ("ANNABEL at Annas-Laptop", "*** at ***"),
        ("annas-laptop.fritz.box", "***"),
        ("'/home/bob' is no script", "'~' is no script"),
        ("annabella is another name", "annabella is another name"),
        ("/dev/nvidia0 and users/ of cuda", "/dev/nvidia0 and users/ of cuda"),
    ],
)
def test_nobody_is_named(text, shown):
    assert private(text) == shown


def test_names_of_the_variables_count_too(monkeypatch):
    monkeypatch.setenv("SUDO_USER", "charlotte")
    monkeypatch.setenv("HOSTNAME", "gpu")
    assert private("charlotte has a gpu") == "*** has a gpu"


def test_a_user_without_a_home_or_a_name_stops_nothing(monkeypatch):
    def nobody(*_):
        raise RuntimeError

    monkeypatch.setattr("pathlib.Path.home", nobody)
    monkeypatch.setattr("getpass.getuser", nobody)
    assert private("x") == "x"


def test_data_keeps_its_keys_and_numbers():
    assert private_data({"annabel": ["/home/bob/x", 1, None, ("annabel",)]}) == {
        "annabel": ["~/x", 1, None, ["***"]]
    }


def test_a_long_text_takes_no_longer_than_it_is_long():
    text = "/home/" + "a b " * 50_000 + "C:\\Users\\" * 5_000
    begin = time.perf_counter()
    private(text)
    assert time.perf_counter() - begin < 2
