"""Delete every `lab.` line from a lesson: the rest runs as plain PyTorch, and prints what the lesson prints."""

import re
from pathlib import Path

import pytest
from plain_torch import script, without_lab

from tools.notebooks import warm
from tools.notebooks.nbfiles import IGNORED, LESSONS, is_code, read, sanitize_rules, tags

SIMULATED = ("01_where_does_training_run", "02_what_does_it_take")
CPU = ("03_what_if_only_half_moved",)  # asks for a device, so that it is right without a GPU too
WITHOUT_DEVICELAB = (
    "import runpy, sys; sys.modules['devicelab'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
)


def run(folder: Path, source: str, *command: str) -> tuple[int, str, str]:
    """Run the script in a fresh Python; return the exit status, what it printed, and what came beside it."""
    (folder / "train.py").write_text(source, encoding="utf-8")
    done = warm.run(*command, "train.py", cwd=folder, timeout=300)
    return done.returncode, done.stdout, done.stderr


def sanitized(text: str) -> str:
    """Return the text without what differs between machines."""
    for rule, replacement in sanitize_rules():
        text = rule.sub(replacement, text)
    return text


def said_by_plain_cells(path: Path) -> list[str]:
    """Return what the compared cells print in which nothing had to be deleted."""
    dropped: set[str] = set()
    found = []
    for cell in filter(is_code, read(path).cells):
        before = set(dropped)
        kept = without_lab(cell.source, dropped)
        plain = kept == without_lab(cell.source, set()) and "lab." not in cell.source and dropped == before
        if plain and IGNORED not in tags(cell):
            found += [output.text for output in cell.outputs if output.get("name") == "stdout"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", SIMULATED)
def test_a_lesson_without_the_course_prints_the_same_on_the_simulated_card(name, tmp_path):
    path = LESSONS / f"{name}.ipynb"
    source = script(read(path))
    assert not re.search(
        r"\blab\.|import devicelab|from devicelab", source
    )  # a command line may still name it
    code, printed, beside = run(tmp_path, source, "-m", "devicelab", "run", "--simulate-gpu")
    assert code == 0, beside
    wanted = [sanitized(text).strip() for text in said_by_plain_cells(path)]
    assert len(wanted) >= 3
    assert [text for text in wanted if text not in sanitized(printed)] == []


@pytest.mark.parametrize("name", CPU)
def test_a_lesson_that_asks_for_a_device_runs_without_the_package(name, tmp_path):
    code, printed, beside = run(tmp_path, script(read(LESSONS / f"{name}.ipynb")), "-c", WITHOUT_DEVICELAB)
    assert code == 0, beside
    assert re.search(r"Epoch: 4, Loss: [\d.]+", printed)


def test_the_package_is_really_out_of_reach(tmp_path):
    code, _, beside = run(tmp_path, "import devicelab", "-c", WITHOUT_DEVICELAB)
    assert code == 1 and "ModuleNotFoundError: import of devicelab halted" in beside


@pytest.mark.parametrize(
    ("source", "rest"),
    [
        ("import devicelab as lab\nimport torch", "import torch"),
        ("lab.start()\nx = 1", "x = 1"),
        ("t = lab.timeit(f)\nprint(t.median)\nprint(1)", "print(1)"),
        ("with lab.trace() as t:\n    train()\nprint(t)", "train()"),
        ("with lab.expect_error(RuntimeError) as seen:\n    bad()\nprint(seen.error)", ""),
        ("for n in (1, 2):\n    x = n\n    lab.placement(x)", "for n in (1, 2):\n    x = n"),
        ("for n in (1, 2):\n    lab.placement(n)", ""),
        ("if x:\n    %pip install y", "if x:\n    pass"),
        ("%load_ext devicelab\nx = 1", "pass\nx = 1"),
        ("bet = lab.guess('How many?', unit='bytes')\nn = 3\nbet.against(n)", "n = 3"),
        ("t = lab.clock()\nt = 3\nprint(t)", "t = 3\nprint(t)"),
        ("def f():\n    return lab.clock()\nf()", ""),
        ("from devicelab.course import ex01\nq = ex01.q1", ""),
    ],
)
def test_what_is_deleted_and_what_stays(source, rest):
    assert without_lab(source, set()) == rest
