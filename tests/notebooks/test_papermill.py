"""Every lesson runs through papermill with its parameters; a mistyped parameter, which papermill only warns about, fails."""

import ast
import os

import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools.notebooks.nbfiles import (
    CELL_SECONDS,
    LESSONS,
    device_environment,
    find,
    private_environment,
    read,
    short,
    tags,
    write,
)


@pytest.fixture(autouse=True)
def private_folders(tmp_path, monkeypatch):
    """Keep the kernel out of this person's folders; it inherits the environment."""
    for name, value in (private_environment(tmp_path / "private") | device_environment("simulated")).items():
        monkeypatch.setenv(name, value)


def parameters_of(path) -> dict[str, object]:
    """Return names and values of the cell tagged parameters, as Python reads them."""
    cell = next(cell for cell in read(path).cells if "parameters" in tags(cell))
    lines = ast.parse(cell.source).body
    return {line.targets[0].id: ast.literal_eval(line.value) for line in lines}  # type: ignore[attr-defined]


def run_with(path, target, **parameters):
    """Run a notebook through papermill; raise ValueError for a parameter that it does not have."""
    known = set(papermill.inspect_notebook(path))
    if unknown := set(parameters) - known:
        raise ValueError(f"{path} has no parameter {sorted(unknown)}; it has {sorted(known)}.")
    options = {"kernel_name": "python3", "progress_bar": False, "record_timing": False}
    cwd = os.path.dirname(path)
    return papermill.execute_notebook(
        path, target, parameters, cwd=cwd, execution_timeout=CELL_SECONDS, **options
    )


@pytest.mark.parametrize("path", find(LESSONS), ids=short)
def test_papermill_finds_the_parameters_of_a_lesson(path):
    parameters = parameters_of(path)
    assert parameters and set(papermill.inspect_notebook(path)) == set(parameters)


def test_a_lesson_runs_with_another_card_and_seed(tmp_path):
    """One here; `course.py report` runs all, in `test-all`."""
    path = find(LESSONS)[0]
    parameters = parameters_of(path) | {"card": "NVIDIA L4", "seed": 1}
    done = run_with(path, tmp_path / "done.ipynb", **parameters)
    injected = [cell for cell in done.cells if "injected-parameters" in tags(cell)]
    assert len(injected) == 1 and all(name in injected[0].source for name in parameters)
    outputs = [output for cell in done.cells for output in cell.get("outputs", [])]
    assert not any(output.output_type == "error" for output in outputs)
    printed = "".join(output.get("text", "") for output in outputs)
    assert "cuda:0 is a simulated NVIDIA L4" in printed and "losses: 3.279" not in printed


def test_a_mistyped_parameter_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no parameter"):
        run_with(find(LESSONS)[0], tmp_path / "done.ipynb", epoch_number=3)


def test_a_failing_cell_is_an_error(tmp_path):
    cells = [new_code_cell("n = 1", metadata={"tags": ["parameters"]}), new_code_cell("1 / n")]
    language = {
        "kernelspec": {"name": "python3", "display_name": "Python 3"},
        "language_info": {"name": "python"},
    }
    write(tmp_path / "x.ipynb", new_notebook(cells=cells, metadata=language))
    with pytest.raises(papermill.PapermillExecutionError):
        run_with(tmp_path / "x.ipynb", tmp_path / "done.ipynb", n=0)
