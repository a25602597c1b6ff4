"""`course.py hub`: what is refused, in which words; the learners' names and users; what a learner's folder holds."""

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tools import cli
from tools.room import learner, refusals, settings
from tools.setup import copies
from tools.setup.say import ROOT, Stop

if sys.platform == "win32":
    pytest.skip("JupyterHub does not run on Windows", allow_module_level=True)

from tools.room import accounts


def chosen(*words):
    """Return what a command line asks for."""
    return cli.parser().parse_args(["hub", *words])


@pytest.fixture(autouse=True)
def free(monkeypatch):
    """Every port is free, whatever runs here."""
    monkeypatch.setattr(refusals, "check_port_is_free", lambda port: None)


@pytest.fixture
def root(monkeypatch):
    """Whoever runs the tests, the command is given by root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def person(monkeypatch):
    """Whoever runs the tests, the command is given by an ordinary user."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("room", "Who is in the room? Give --learners 30"),
        ("room --learners 3 --password x", "In a room each learner chooses a password"),
        ("room --learners 3 --listen 0.0.0.0", "Without TLS the hub serves this machine alone, not 0.0.0.0"),
        ("room --names /nowhere", "/nowhere could not be read as a list of names"),
        ("demo --learners 3", "In a demonstration any name enters"),
        ("demo --listen 192.168.0.7 --password x", "Without TLS the hub serves this machine alone"),
        ("demo --listen :: --password x", "Without TLS the hub serves this machine alone"),
        ("demo --listen house", "--listen takes an address such as 127.0.0.1 or 0.0.0.0, and not 'house'"),
        ("demo --key k.pem", "TLS needs both --key and --cert"),
        ("demo --key k.pem --cert c.pem", "k.pem is no file"),
    ],
)
def test_what_root_is_refused(words, sentence, root):
    with pytest.raises(Stop) as refused:
        refusals.refuse(chosen(*words.split()), "linux")
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    "words",
    [
        "room --learners 3",
        "demo",
        "demo --listen ::1",
        "demo --listen localhost",
        "room --learners 3 --admin anna",
    ],
)
def test_what_root_may_start_on_this_machine(words, root):
    refusals.refuse(chosen(*words.split()), "linux")


def test_a_room_needs_root_on_linux_and_nothing_runs_on_windows(person):
    for words, system, sentence in [
        ("room --learners 3", "linux", "A room needs root"),
        ("room --learners 3", "darwin", "A room needs Linux"),
        ("demo", "win32", "JupyterHub does not run on Windows"),
        ("room", "win32", "JupyterHub does not run on Windows"),
    ]:
        with pytest.raises(Stop, match=sentence):
            refusals.refuse(chosen(*words.split()), system)
    refusals.refuse(chosen("demo"), "darwin")


def pair(folder, name="k"):
    """Make a key and a certificate with openssl; return both."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is missing, and makes the certificates of this test")
    key, cert = folder / f"{name}.pem", folder / f"{name}-cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return key, cert


def test_keys_and_certificates(tmp_path, root):
    key, cert = pair(tmp_path)
    other, _ = pair(tmp_path, "other")
    wide = ["--listen", "0.0.0.0", "--password", "x", "--key", str(key), "--cert", str(cert)]
    refusals.refuse(chosen("room", "--learners", "3", "--listen", "0.0.0.0", *wide[4:]), "linux")
    with pytest.raises(Stop, match="would make all who enter root"):
        refusals.refuse(chosen("demo", *wide), "linux")
    with pytest.raises(Stop, match="belong together"):
        refusals.check_pair(other, cert)
    with pytest.raises(Stop, match="belong together"):
        refusals.check_pair(cert, cert)
    key.chmod(0o644)
    with pytest.raises(Stop, match="can be read by others"):
        refusals.check_pair(key, cert)


def test_a_key_with_a_password_asks_nobody(tmp_path):
    key, cert = pair(tmp_path)
    locked = tmp_path / "locked.pem"
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", key, "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(Stop, match="the key has a password"):
        refusals.check_pair(locked, cert)


def test_a_wide_demonstration_needs_a_password(tmp_path, person):
    key, cert = pair(tmp_path)
    with pytest.raises(Stop, match="give --password"):
        refusals.refuse(
            chosen("demo", "--listen", "0.0.0.0", "--key", str(key), "--cert", str(cert)), "linux"
        )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no name"),
        ("# nobody\n\n", "holds no name"),
        ("anna\nBert Smith\n", "'bert smith' cannot be a learner's name"),
        ("../../etc\n", "cannot be a learner's name"),
        ("-rf\n", "cannot be a learner's name"),
        ("anna;rm\n", "cannot be a learner's name"),
        ("a" * 32, "cannot be a learner's name"),
        ("josé\n", "cannot be a learner's name"),
        ("x\n" * 501, "holds 501 lines"),
    ],
)
def test_what_is_no_list_of_names(text, sentence, tmp_path):
    (tmp_path / "names").write_text(text, encoding="utf-8")
    with pytest.raises(Stop, match=sentence):
        accounts.listed(tmp_path / "names")


def test_a_list_of_names(tmp_path):
    (tmp_path / "names").write_text("\ufeffAnna\r\n# a guest\nbert-2 \n\nanna\n", encoding="utf-8")
    assert accounts.listed(tmp_path / "names") == ["anna", "bert-2"]
    (tmp_path / "names").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Stop, match="could not be read"):
        accounts.listed(tmp_path / "names")
    assert accounts.numbered(2) == ["learner01", "learner02"]


@pytest.mark.parametrize("name", ["root", "nobody", "daemon"])
def test_a_user_of_the_machine_is_no_learner(name, tmp_path):
    with pytest.raises(Stop, match=f"{name} is a user of this machine who is no learner"):
        accounts.known(name, tmp_path)


def test_a_home_that_is_there_already_is_nobodys(tmp_path):
    assert not accounts.known("course-test-nobody", tmp_path)
    (tmp_path / "course-test-nobody").symlink_to("/etc")
    with pytest.raises(Stop, match="is there already"):
        accounts.known("course-test-nobody", tmp_path)


def test_the_folder_of_the_homes(tmp_path):
    with pytest.raises(Stop, match="is no folder"):
        accounts.check_homes(tmp_path / "none")
    tmp_path.chmod(0o777)
    with pytest.raises(Stop, match="must belong to root"):
        accounts.check_homes(tmp_path)


def test_no_user_is_made_when_one_name_is_wrong(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(accounts, "_call", lambda *command: called.append(command))
    monkeypatch.setattr(accounts, "check_homes", lambda homes: None)
    for names in (["course-test-a", "root"], ["course-test-a", "Bad Name"]):
        with pytest.raises(Stop):
            accounts.make(names, tmp_path)
    assert called == []


def test_a_link_in_the_place_of_a_home_is_not_followed(tmp_path):
    (tmp_path / "other").mkdir(mode=0o755)
    (tmp_path / "home").symlink_to(tmp_path / "other")
    with pytest.raises(OSError):
        accounts.close(tmp_path / "home", "root")
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o755


def test_a_port_or_a_number_that_is_none():
    for words in (
        ["demo", "--port", "0"],
        ["demo", "--port", "８０"],
        ["room", "--learners", "-1"],
        ["room", "--admin", "A B"],
    ):
        with pytest.raises(SystemExit):
            chosen(*words)


def test_the_settings_come_back_as_they_were(tmp_path):
    kept = settings.Settings("room", str(tmp_path), "/home", sys.prefix, learners=("anna",), listen="::1")
    kept.write()
    assert settings.read(tmp_path) == kept and kept.url == "http://[::1]:8000"
    assert stat.S_IMODE((tmp_path / settings.FILE).stat().st_mode) == 0o600


def test_a_learners_folder_looks_like_a_clone_and_keeps_what_is_theirs(tmp_path, monkeypatch):
    monkeypatch.setattr(learner, "sign", lambda notebooks: None)
    own = tmp_path / "home" / learner.FOLDER
    learner.prepare(own)
    assert (own / "README.md").resolve() == ROOT / "README.md"
    lesson = min((own / "my_course" / "lessons").iterdir())
    assert not lesson.is_symlink()
    lesson.write_text("mine")
    learner.prepare(own)
    assert lesson.read_text() == "mine"
    assert learner.first_page().endswith(f"{learner.FOLDER}/my_course/lessons/{lesson.name}")


def test_the_copies_are_signed_for_the_learner(tmp_path, monkeypatch):
    from nbformat import read
    from nbformat.sign import NotebookNotary

    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    own = tmp_path / learner.FOLDER
    learner.prepare(own)
    lesson = min((own / "my_course" / "lessons").iterdir())
    assert NotebookNotary().check_signature(read(lesson, as_version=4))


def test_the_administrator_is_never_a_learner():
    with pytest.raises(PermissionError, match="no learner"):
        learner.become_user("root")


def test_a_learner_is_told_on_the_command_line_and_nothing_secret_with_it():
    words = learner.Learner("/home/anna", "anna", True).command()
    assert words[0] == "-c" and json.loads(words[2]) == {"home": "/home/anna", "user": "anna", "forked": True}


def test_an_argument_of_a_wide_kind_is_an_address(root):
    asked = argparse.Namespace(mode="demo", key=None, cert=None, listen="0.0.0.0", password=None)
    with pytest.raises(Stop, match="ssh -L"):
        refusals.refuse_listening(asked, True)


def test_the_learners_folder_is_named_by_a_variable(tmp_path, monkeypatch):
    assert copies.learners_folder() == ROOT
    monkeypatch.setenv(copies.VARIABLE, str(tmp_path))
    assert copies.learners_folder() == Path(tmp_path)


def test_one_folder_has_one_hub(tmp_path):
    refusals.hold(tmp_path)
    with pytest.raises(Stop, match="A hub of this course runs already"):
        refusals.hold(tmp_path)


@pytest.mark.parametrize(
    ("name", "lost"), [("jupyterhub.sqlite", "who was logged in"), ("passwords.dbm.db", "every password")]
)
def test_a_damaged_file_of_the_hub_is_told_with_what_goes_with_it(name, lost, tmp_path):
    refusals.check_kept(tmp_path, Path(sys.executable))
    (tmp_path / name).write_bytes(b"damaged " * 1000)
    with pytest.raises(Stop, match=rf"{name} is damaged: .+\n.*With it goes {lost}"):
        refusals.check_kept(tmp_path, Path(sys.executable))


def test_a_whole_file_of_users_is_taken(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "jupyterhub.sqlite")) as made:
        made.execute("CREATE TABLE users (name TEXT)")
        made.commit()
    refusals.check_kept(tmp_path, Path(sys.executable))


def test_a_child_that_ended_is_seen():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert not learner.runs(child) and not learner.runs(child)
