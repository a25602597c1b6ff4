""".venv-frameworks: made beside the course's environment, asked for before it is made, and never made twice."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import cli
from tools.proof import checks, modes
from tools.setup import environment, frameworks, requirements
from tools.setup.constraints import closure
from tools.setup.say import Stop
from tools.setup.venv import python_in


@pytest.fixture
def asked(monkeypatch):
    """What pip was asked for, in place of asking it; nobody is there to answer."""
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(frameworks, "pip", lambda python, *words: calls.append(words))
    monkeypatch.setattr(sys, "stdin", None)
    return calls


def test_it_is_made_once_and_sees_the_packages_of_the_course(asked, tmp_path, capsys):
    folder = tmp_path / "frameworks"
    assert frameworks.present(folder) is None
    python = frameworks.make(Path(sys.executable), "lab", folder)
    assert python == python_in(folder) == frameworks.present(folder)
    seen = "import devicelab, numpy, sys; print(sys.prefix)"
    done = subprocess.run([str(python), "-c", seen], capture_output=True, text=True)
    assert Path(done.stdout.strip()).resolve() == folder.resolve(), done.stderr
    assert frameworks.SIZE in capsys.readouterr().out
    assert frameworks.make(Path(sys.executable), "lab", folder) == python
    [words] = asked
    assert words[:3] == ("--python", str(python), "install")
    assert words[5:] == tuple(requirements.optional("frameworks"))
    pins = Path(words[4]).read_text(encoding="utf-8")
    assert "jax==" in pins and "keras==" in pins and "torch==" in pins


@pytest.mark.parametrize("stamp", ["", "another key\n/\n", "{key}\n/no/such/folder\n"])
def test_one_that_was_not_completed_or_is_of_other_pins_or_of_another_python_is_made_again(stamp, tmp_path):
    (tmp_path / frameworks.STAMP).write_text(stamp.format(key=environment.key()), encoding="utf-8")
    assert frameworks.present(tmp_path) is None
    (tmp_path / frameworks.STAMP).write_text(f"{environment.key()}\n{tmp_path}\n", encoding="utf-8")
    assert frameworks.present(tmp_path) == python_in(tmp_path)


@pytest.mark.parametrize("answer", ["n", "no", "what"])
def test_a_person_who_says_no_gets_the_course_without(asked, tmp_path, monkeypatch, answer):
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda words: answer)
    with pytest.raises(Stop, match=r"Nothing was installed.\n.*course.py lab"):
        frameworks.make(Path(sys.executable), "lab", tmp_path / "frameworks")
    assert not (tmp_path / "frameworks").exists() and asked == []


def test_a_disk_that_is_full_is_told_before_anything_is_made(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(frameworks, "BYTES", 10**18)
    with pytest.raises(Stop, match="GB free"):
        frameworks.make(Path(sys.executable), "lab", tmp_path / "frameworks")
    assert not (tmp_path / "frameworks").exists()


def test_a_python_that_cannot_make_one_is_told(asked, tmp_path):
    folder = tmp_path / "file"
    folder.write_text("in the way")
    with pytest.raises(Stop, match=r"\.venv-frameworks could not be made"):
        frameworks.make(Path(sys.executable), "lab", folder)


@pytest.mark.parametrize("command", ["lab", "test-all", "lessons"])
def test_the_commands_make_it_only_when_told(command, monkeypatch):
    made = []
    monkeypatch.setattr(environment, "ready", lambda extras, options: Path("python"))
    monkeypatch.setattr(frameworks, "make", lambda python, command: made.append(command))
    monkeypatch.setattr("tools.setup.lab.open_lab", lambda *_, **__: 0)
    monkeypatch.setattr(checks, "run_all", lambda *_, **__: 0)
    monkeypatch.setattr(checks, "run_tool", lambda *_: 0)
    assert cli.main([command]) == 0 and made == []
    assert cli.main([command, "--frameworks"]) == 0 and made == [command]


def test_the_full_run_has_the_stage_where_it_is_there(monkeypatch):
    names = {}
    for there in (None, Path("python")):
        monkeypatch.setattr(frameworks, "present", lambda there=there: there)
        names[there] = [stage.name for stage in checks.stages(everything=True)]
    assert [name for name in names[Path("python")] if name not in names[None]] == ["frameworks"]


def test_the_mode_says_how_to_make_it(monkeypatch):
    monkeypatch.setattr(frameworks, "present", lambda: None)
    assert "course.py lessons --frameworks" in str(modes.no_frameworks())
    monkeypatch.setattr(frameworks, "present", lambda: Path("python"))
    assert modes.no_frameworks() is None


@pytest.mark.parametrize("outputs, changes", [(0, 0), (1, 0), (0, 1)])
def test_the_mode_runs_lesson_12_and_the_changes_in_it(monkeypatch, outputs, changes):
    ran = []
    monkeypatch.setattr(frameworks, "present", lambda: Path("its python"))

    def nbval(paths, device, seconds):
        ran.append((modes.os.environ[modes.FRAMEWORKS], [path.name[:2] for path in paths]))
        return outputs

    monkeypatch.setattr(modes, "run_nbval", nbval)
    monkeypatch.setattr(modes.elsewhere, "main", lambda words: changes)
    good = modes.with_frameworks(modes.find(modes.LESSONS))
    assert good is (outputs == changes == 0)
    assert ran == [("its python", ["12"])]


def test_pins_are_asked_only_of_what_this_machine_installs():
    assert closure(["numpy", "no-such-package; sys_platform == 'elsewhere'"]).keys() >= {"numpy"}
    with pytest.raises(Stop, match="no-such-package"):
        closure(["no-such-package"])
