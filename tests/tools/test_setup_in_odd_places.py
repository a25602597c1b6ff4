"""The set-up where something else lies in its way: a sentence, and nothing of the person's is deleted."""

import os
import subprocess
import sys

import pytest

from tools import cli
from tools.setup import environment, lab, say, venv
from tools.setup.say import Stop

links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A course of its own: where .venv and .course would lie."""
    monkeypatch.setattr(venv, "VENV", tmp_path / ".venv")
    for module in (venv, lab):
        monkeypatch.setattr(module, "STATE", tmp_path / ".course")
    monkeypatch.setattr(venv, "check_space", lambda need: None)
    return tmp_path


def broken(folder):
    """Make a virtual environment whose Python is gone, with something of the person's in it."""
    folder.mkdir()
    (folder / "pyvenv.cfg").write_text("version = 3.12.1\n")
    (folder / "thesis.txt").write_text("mine")
    return folder


@links
@pytest.mark.parametrize("act", [venv.make, venv.clean])
def test_what_a_link_leads_to_is_left_alone(place, act):
    elsewhere = broken(place / "elsewhere")
    venv.VENV.symlink_to(elsewhere)
    with pytest.raises(Stop, match=r"is a link to .*elsewhere.*\n.*left alone. Remove the link"):
        act()
    assert (elsewhere / "thesis.txt").read_text() == "mine" and venv.VENV.is_symlink()


@links
@pytest.mark.parametrize("act", [venv.make, venv.clean])
def test_a_link_to_nothing_is_named(place, act):
    venv.VENV.symlink_to(place / "gone")
    with pytest.raises(Stop, match=r"is a link to .*gone"):
        act()
    assert venv.VENV.is_symlink()


@pytest.mark.parametrize("act", [venv.make, venv.clean])
def test_a_file_is_left_alone(act):
    venv.VENV.write_text("mine")
    with pytest.raises(Stop, match="is no virtual environment, so it is left alone"):
        act()
    assert venv.VENV.read_text() == "mine"


def test_an_environment_that_a_person_made_is_deleted_by_command_only(capsys):
    broken(venv.VENV)
    with pytest.raises(Stop, match="was not made by the course"):
        venv.make()
    assert (venv.VENV / "thesis.txt").exists()
    venv.clean()
    assert not venv.VENV.exists() and ".venv is gone" in capsys.readouterr().out


@pytest.mark.parametrize("mark", [venv.STAMP, venv.BEGUN])
def test_ours_is_made_again(mark, place, monkeypatch):
    broken(venv.VENV)
    (place / ".course").mkdir()
    ((venv.VENV if mark == venv.STAMP else place / ".course") / mark).touch()
    made = []
    run = subprocess.run

    def told(command, **options):
        if "venv" not in command:
            return run(command, **options)
        made.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", told)
    venv.make()
    assert len(made) == 1 and made[0][-1] in ("--system-site-packages", str(venv.VENV))


def test_an_environment_without_pip_is_kept_and_gets_it(capsys):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv.VENV], check=True)
    (venv.VENV / "thesis.txt").write_text("mine")
    venv.make()
    assert (venv.VENV / "thesis.txt").read_text() == "mine"
    assert "has no pip, so it is added" in capsys.readouterr().out
    subprocess.run([venv.venv_python(), "-m", "pip", "--version"], check=True, capture_output=True)


@links
def test_a_folder_whose_place_is_taken_is_named(place):
    (place / "file").write_text("mine")
    (place / "link").symlink_to(place / "gone")
    with pytest.raises(Stop, match="file is in the way: it is no folder"):
        say.folder_at(place / "file")
    with pytest.raises(Stop, match="link is in the way: it is a link to nothing"):
        say.folder_at(place / "link")


def test_what_the_system_refuses_is_said_without_a_traceback(monkeypatch, capsys):
    def refused(chosen):
        raise PermissionError(13, "Permission denied", "/somebody/elses/.venv")

    monkeypatch.setattr(cli, "run", refused)
    assert cli.main(["lab"]) == 1
    assert "/somebody/elses/.venv could not be used: Permission denied." in capsys.readouterr().err


def test_a_dollar_in_the_folders_name_is_told_before_anything_is_installed(place):
    with pytest.raises(Stop, match="a \\$ in a folder's name"):
        environment.check_name(place / "a$x")
    environment.check_name(place / "100 $")
    environment.check_name(place / "naïve ' & % é")


def test_two_that_start_together_take_two_ports(place):
    first, second = lab.free_port(), lab.free_port()
    assert second > first >= 8888
    mark = place / ".course" / f"port-{first}"
    os.utime(mark, (0, 0))  # it was taken long ago
    assert lab.free_port() == first
