"""The ways in which notebooks are run: each fault of a made-up notebook is found, and what cannot be run is said."""

import asyncio
import os
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools.notebooks import colab_kernel, kernel_runs
from tools.notebooks.kernel_runs import rerun
from tools.notebooks.nbfiles import private_environment, write
from tools.proof import modes
from tools.setup.venv import python_in


def stored(folder: Path, *sources: str, tag: str = "") -> Path:
    """Store a notebook of these code cells; each has the tag."""
    metadata = {"tags": [tag]} if tag else {}
    cells = [new_code_cell(s, id=f"cell-{number}", metadata=metadata) for number, s in enumerate(sources)]
    write(folder / "made.ipynb", new_notebook(cells=cells))
    return folder / "made.ipynb"


def faults(path: Path, folder: Path, again: bool = True) -> list[str]:
    """Run the notebook and return its faults."""
    return asyncio.run(rerun(path, os.environ | private_environment(folder), again)).faults


def test_a_good_notebook_has_no_fault_and_its_seconds_and_bytes_are_known(tmp_path):
    path = stored(tmp_path, "x = 1", "x += 1\nb = bytearray(60_000_000)\nimport time; time.sleep(0.2)", "x")
    run = asyncio.run(rerun(path, os.environ | private_environment(tmp_path), False))
    assert run.faults == [] and run.line.endswith("ok")
    assert 0.2 < run.seconds < 60
    assert 90e6 < run.peak < 700e6


def test_an_error_of_the_first_run_is_found(tmp_path):
    assert faults(stored(tmp_path, "1 / 0"), tmp_path, again=False) == [
        "Run All: cell cell-0: ZeroDivisionError: division by zero"
    ]


def test_a_second_run_all_and_another_order_have_faults_of_their_own(tmp_path):
    once = "if 'done' in globals(): raise RuntimeError('a second time')\ndone = True"
    found = faults(stored(tmp_path, once), tmp_path)
    assert [fault.partition(":")[0] for fault in found] == ["Run All again", "out of order"]


def test_a_cell_that_only_works_in_order_is_found_unless_it_says_so(tmp_path):
    sources = ("step = 1", "assert step == 1\nstep = 2", "assert step == 2\nstep = 3")
    found = faults(stored(tmp_path, *sources), tmp_path)
    assert found and all(fault.startswith("out of order: cell cell-") for fault in found)
    assert faults(stored(tmp_path, *sources, tag=kernel_runs.IN_ORDER), tmp_path) == []


def test_a_dead_kernel_is_a_fault(tmp_path):
    [fault] = faults(stored(tmp_path, "import os; os._exit(1)"), tmp_path, again=False)
    assert fault.startswith("DeadKernelError")


def test_too_much_time_and_memory_are_faults(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_runs, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(kernel_runs, "MOST_BYTES", 1e6)
    path = stored(tmp_path, "1")
    assert faults(path, tmp_path, again=False) == [
        "Run All took longer than 0 s",
        "the kernel held more than 1 MB in Run All",
    ]
    elsewhere = asyncio.run(rerun(path, os.environ | private_environment(tmp_path), False, bounds=False))
    assert elsewhere.faults == []


def test_every_order_holds_each_cell_once_and_is_the_same_each_time():
    cells = [new_code_cell(str(number)) for number in range(9)]
    passes = kernel_runs.orders(cells, again=True)
    assert [sorted(order) for _, order in passes] == [list(range(9))] * 3
    assert passes[2][1] != list(range(9)) and passes == kernel_runs.orders(cells, again=True)


def test_what_cannot_run_here_is_said_with_the_reason_and_is_no_failure(capsys, monkeypatch):
    monkeypatch.setitem(
        modes.MODES, "real", modes.Mode("a GPU", (), lambda paths: False, lambda: "there is none")
    )
    assert modes.run_modes(["real"], None)
    assert "NOT RUN: there is none" in capsys.readouterr().out


@pytest.mark.parametrize("good", [True, False])
def test_one_failing_mode_fails_all(capsys, monkeypatch, good, tmp_path):
    monkeypatch.setattr(modes, "MODES", {
        "first": modes.Mode("one", (), lambda paths: good), "second": modes.Mode("two", (), lambda paths: True)
    })  # fmt: skip
    assert modes.run_modes(["first", "second"], [tmp_path]) is good
    printed = capsys.readouterr().out
    assert ("FAILED" in printed) is not good and "passed" in printed


def test_a_wrong_mode_lists_the_right_ones(capsys):
    with pytest.raises(SystemExit):
        modes.main(["--modes", "off,fast"])
    assert (
        "'fast' is no mode; there are simulated, off, again, colab, frameworks, real."
        in capsys.readouterr().err
    )
    assert modes.chosen_modes("off,again") == ["off", "again"]


def test_no_notebook_is_a_failure(tmp_path, capsys):
    assert modes.main([str(tmp_path), "--modes", "again"]) == 1
    assert "no notebook" in capsys.readouterr().out


BASES = [base for base in colab_kernel.bases() if python_in(base.folder).exists()]


@pytest.mark.skipif(not BASES, reason="`course.py lessons` makes .venv-colab")
def test_the_kernel_with_colabs_versions_is_the_one_that_runs(tmp_path, monkeypatch):
    name = colab_kernel.install_kernel(colab_kernel.make(BASES[0]), tmp_path)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    proof = "import IPython, ipywidgets\nassert (IPython.__version__, ipywidgets.__version__) == ('7.34.0', '7.7.1')"
    off = "import devicelab as lab; lab.start()\nimport torch; torch.ones(2, device='cuda')"
    path = stored(tmp_path, proof, off, "lab.guess('How many?', unit='bytes')")
    environment = os.environ | private_environment(tmp_path) | {"DEVICELAB_GPU": "off"}
    assert asyncio.run(rerun(path, environment, True, name)).faults == []
