"""`.venv-hub`: made beside the course's environment, checked, and what needs it tried in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.proof.checks import WITHOUT
from tools.room import environment
from tools.setup.say import ROOT, Stop
from tools.setup.venv import python_in

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="JupyterHub does not run on Windows")


@pytest.mark.slow
def test_what_needs_jupyterhub():
    if not environment.present():
        pytest.skip("JupyterHub is not installed here: `course.py hub demo` makes .venv-hub")
    python = python_in(environment.FOLDER)
    variables = os.environ | {"COURSE_SHARED": sys.prefix}
    command = [python, "-m", "pytest", "-q", "-rs", *WITHOUT, "-p", "no:cacheprovider", "tests/room"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What pip is asked for, in place of an installation; the environment is then taken for whole."""
    given = []
    monkeypatch.setattr(environment, "pip", lambda python, *arguments: given.append(arguments))
    monkeypatch.setattr(environment, "PROOF", "pass")
    monkeypatch.setattr(environment, "STATE", tmp_path / "state")
    return given


def test_it_shares_the_courses_packages_and_is_made_once(asked, tmp_path):
    folder = tmp_path / "with space" / ".venv-hub"
    folder.parent.mkdir()
    python, shared = environment.make(Path(sys.executable), folder)
    assert shared.prefix == sys.prefix and any("site-packages" in path for path in shared.packages)
    assert asked[0][:3] == ("--python", str(python), "install") and str(environment.PINS) in asked[0]
    found = subprocess.check_output(
        [python, "-c", "import devicelab, jupyterlab, torch; print(torch.__file__)"], text=True
    )
    assert found.strip().startswith(tuple(shared.packages))
    assert environment.present(folder)
    environment.make(Path(sys.executable), folder)
    assert len(asked) == 1, "a second time it is there"


def test_a_half_made_one_is_made_again(asked, tmp_path):
    folder = tmp_path / ".venv-hub"
    environment.make(Path(sys.executable), folder)
    (folder / environment.STAMP).write_text('"half')
    assert not environment.present(folder)
    environment.make(Path(sys.executable), folder)
    assert len(asked) == 2 and environment.present(folder)


def test_one_that_does_not_work_is_told(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "PROOF", "import no_such_hub")
    with pytest.raises(Stop, match=r"does not work: ModuleNotFoundError: No module named 'no_such_hub'"):
        environment.make(Path(sys.executable), tmp_path / ".venv-hub")
    assert not environment.present(tmp_path / ".venv-hub")


def in_the_way(kind, folder):
    """Put something of the learner's where .venv-hub belongs."""
    if kind == "link":
        folder.symlink_to("/nowhere")
    elif kind == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "mine.txt").write_text("mine")


@pytest.mark.parametrize("kind", ["link", "file", "folder"])
def test_what_is_in_the_way_is_left_alone(kind, asked, tmp_path):
    folder = tmp_path / ".venv-hub"
    in_the_way(kind, folder)
    with pytest.raises(Stop, match="is in the way"):
        environment.make(Path(sys.executable), folder)
    assert os.path.lexists(folder) and not asked


def test_a_folder_that_others_may_not_enter_is_named(tmp_path):
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    (inner / "python").touch(mode=0o755)
    for part in (tmp_path, tmp_path / "closed", inner):
        part.chmod(0o755)
    before = environment.closed_to_others(inner / "python")
    (tmp_path / "closed").chmod(0o700)
    found = environment.closed_to_others(inner / "python")
    assert found in (before, tmp_path / "closed") and found is not None


def test_the_pins_are_exact():
    lines = [line for line in environment.PINS.read_text().splitlines() if not line.startswith("#")]
    assert {line.partition("==")[0] for line in lines} >= {"jupyterhub", "configurable-http-proxy"}
    assert all("==" in line for line in lines)
