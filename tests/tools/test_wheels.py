"""`course.py wheels`: what is downloaded, and how `lab --wheels` takes it from there."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import cli
from tools.setup import pip, requirements, torch_choice, wheels
from tools.setup.say import Stop


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What pip is asked for; it leaves one package."""
    given: list[str] = []

    def download(python: Path, *arguments: str, show: bool = True) -> str:
        given.extend(arguments)
        (tmp_path / "stick" / "torch-2.13.0-cp312-none-any.whl").write_bytes(bytes(2_000))
        return ""

    monkeypatch.setattr(wheels, "pip", download)
    monkeypatch.setattr(torch_choice, "installed_torch", lambda python: "2.13.0+cpu")
    return given


@pytest.mark.parametrize(("found", "index"), [("2.13.0+cpu", False), ("2.13.0", True)])
def test_the_torch_that_is_here_and_all_that_lab_needs_is_downloaded(
    asked, monkeypatch, tmp_path, capsys, found, index
):
    monkeypatch.setattr(torch_choice, "candidate", lambda *_: found)
    assert wheels.fill(Path(sys.executable), tmp_path / "stick") == 0
    assert "torch==2.13.0+cpu" in asked and "pip" in asked
    assert any(requirements.name(line) == "jupyterlab" for line in asked)
    assert any(line.startswith("setuptools") for line in asked), "the course itself is built in the room"
    assert (torch_choice.CPU_INDEX in asked) is index
    said = capsys.readouterr().out
    assert "1 packages" in said and "course.py lab --wheels FOLDER" in said


def test_what_a_hub_needs_is_downloaded_when_asked(asked, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch_choice, "candidate", lambda *_: "2.13.0+cpu")
    wheels.fill(Path(sys.executable), tmp_path / "stick")
    assert str(wheels.HUB) not in asked
    wheels.fill(Path(sys.executable), tmp_path / "stick", hub=True)
    assert asked[asked.index("--requirement") + 1] == str(wheels.HUB)
    assert "course.py hub room --wheels FOLDER" in capsys.readouterr().out


def test_an_empty_folder_says_how_it_is_filled(tmp_path):
    with pytest.raises(Stop, match=r"holds no packages\.\n    Fill it .*course\.py wheels"):
        wheels.use(tmp_path)


def test_pip_looks_nowhere_else(tmp_path, monkeypatch):
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")  # and put back
    (tmp_path / "torch-2.13.0-cp312-none-any.whl").touch()
    monkeypatch.setattr(cli.environment, "ready", lambda *_: Path(sys.executable))
    monkeypatch.setattr(cli.lab, "open_lab", lambda *_, **__: 0)
    assert cli.main(["lab", "--wheels", str(tmp_path)]) == 0
    assert (os.environ["PIP_NO_INDEX"], os.environ["PIP_FIND_LINKS"]) == ("1", tmp_path.as_uri())
    lacking = pip.failure("ERROR: No matching distribution found for numpy>=1.26")
    assert "The folder of packages has no numpy for Python 3." in str(lacking)


def test_a_full_stick_is_told_by_its_name(monkeypatch, tmp_path):
    def full(*_, **__):
        raise Stop("The disk is full: there is no room left for the packages.")

    monkeypatch.setattr(torch_choice, "installed_torch", lambda python: "2.13.0")
    monkeypatch.setattr(torch_choice, "candidate", lambda *_: "2.13.0")
    monkeypatch.setattr(wheels, "pip", full)
    monkeypatch.setattr(wheels.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1e6))
    with pytest.raises(Stop, match=r"stick has 0\.0 GB free"):
        wheels.fill(Path(sys.executable), tmp_path / "stick")
    monkeypatch.setattr(wheels.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1e12))
    with pytest.raises(Stop, match="The disk is full"):
        wheels.fill(Path(sys.executable), tmp_path / "stick")
