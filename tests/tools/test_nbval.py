"""How the notebooks are run in the tests, shown to fail on made-up notebooks that must not pass."""

import os
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools.notebooks import nbval_folders, run_notebooks
from tools.notebooks.nbfiles import ROOT, device_environment, private_environment, read, write
from tools.notebooks.run_notebooks import nbval_command

SHOW = "import os\nprint(os.environ['DEVICELAB_GPU'], os.path.basename(os.path.dirname(os.environ['DEVICELAB_HOME'])))"
Cells = list[
    tuple[str, str | None]
]  # source, and what is stored as printed: None for a cell that was never run
BAD: dict[str, Cells] = {
    "other_output": [("print(2)", "1\n")],
    "new_output": [("print(2)", "")],
    "lost_output": [("x = 2", "1\n")],
    "other_loss": [("print(1.2345678)", "1.2395678\n")],
    "error": [("1 / 0", None)],  # an exercise that does not run
    "dead_kernel": [("import os\nos._exit(1)", None), ("print(1)", "1\n")],
    "too_long": [("import time\ntime.sleep(30)", None), ("print(1)", "1\n")],
}
GOOD: dict[str, Cells] = {
    "private_one": [(SHOW, "simulated private_one\n")],
    "private_two": [(SHOW, "simulated private_two\n")],
    "same_loss": [("print(1.2345678)", "1.2345699\n")],
    # nbval compares nothing in a cell that was never run: the rule was_run of test_style finds those.
    "stripped": [("print(2)", None)],
}


def stored(folder: Path, name: str, cells: Cells) -> Path:
    """Store a notebook of these cells and return its path."""
    made = []
    for number, (source, printed) in enumerate(cells, start=1):
        cell = new_code_cell(source, id=f"cell-{number}")
        if printed is not None:
            cell.execution_count = number
            cell.outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
        made.append(cell)
    write(folder / f"{name}.ipynb", new_notebook(cells=made))
    return folder / f"{name}.ipynb"


def failing(paths: list[Path], folder: Path, lax: bool = False) -> set[str]:
    """Run the notebooks as tools.notebooks.run_notebooks does, with two seconds a cell; return the names of those that fail."""
    command = [*nbval_command(paths, lax=lax, seconds=2), f"--junitxml={folder / 'report.xml'}"]
    environment = os.environ | private_environment(folder) | device_environment("simulated")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode in (0, 1), (
        done.stdout + done.stderr
    )  # passed or failed; else pytest itself is broken
    failed = {path.stem: False for path in paths}
    for case in xml.parse(folder / "report.xml").iter("testcase"):
        name = next(stem for stem in failed if stem in f"{case.get('classname')}")
        failed[name] |= case.find("failure") is not None or case.find("error") is not None
    assert any(failed.values()) == (done.returncode == 1)
    return {name for name, bad in failed.items() if bad}


def test_exactly_the_bad_notebooks_fail(tmp_path):
    paths = [stored(tmp_path, name, cells) for name, cells in (BAD | GOOD).items()]
    assert failing(paths, tmp_path) == set(BAD)


@pytest.mark.slow
def test_lax_still_finds_errors(tmp_path):
    paths = [stored(tmp_path, name, BAD[name]) for name in ("other_output", "error")]
    assert failing(paths, tmp_path, lax=True) == {"error"}


def test_no_notebook_is_a_failure(tmp_path, capsys):
    assert run_notebooks.main([str(tmp_path)]) == 1
    assert "no notebook" in capsys.readouterr().out


def test_a_notebook_without_code_is_a_failure(tmp_path):
    assert run_notebooks.main([str(stored(tmp_path, "empty", []))]) == 5  # pytest's "nothing was collected"


def test_another_device_is_passed_on(tmp_path):
    hidden = "\nprint(repr(os.environ.get('CUDA_VISIBLE_DEVICES')))"
    path = stored(tmp_path, "off", [(SHOW + hidden, "off off\n''\n")])
    assert run_notebooks.main([str(path), "--device", "off"]) == 0


def test_the_cells_that_a_release_changes_are_there():
    for _, notebook, cell, _ in nbval_folders.DIFFER:
        assert cell in {one["id"] for one in read(ROOT / "notebooks" / f"{notebook}.ipynb").cells}


@pytest.mark.parametrize(("release", "code"), [("2.8.0", 1), ("2.9.1", 1), ("2.11.0", 0)])
def test_a_cell_that_is_known_to_differ_must_differ(tmp_path, monkeypatch, release, code):
    """Run in this process: up to 2.10 an output that is the stored one is the failure."""
    path = stored(tmp_path, nbval_folders.DIFFER[0][1], [("print(1)", "1\n")])
    notebook = read(path)
    notebook.cells[0]["id"] = nbval_folders.DIFFER[0][2]
    write(path, notebook)
    monkeypatch.setattr(nbval_folders, "TORCH", release)
    for name, value in (private_environment(tmp_path) | device_environment()).items():
        monkeypatch.setenv(name, value)  # the plugin sets them as well: they are put back
    options = ["--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
    assert pytest.main([*options, str(path)], plugins=[nbval_folders]) == code
