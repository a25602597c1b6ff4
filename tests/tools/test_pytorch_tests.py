"""The tool that runs PyTorch's own tests: every ending of a test is a row, and the same command goes on where it was stopped."""

import re
from pathlib import Path
from typing import Any

import pytest

from tools.proof.pytorch_tests import __main__ as tool
from tools.proof.pytorch_tests import runs, sources
from tools.proof.pytorch_tests.causes import KINDS, cause_of, known
from tools.proof.pytorch_tests.table import changes, table
from tools.setup.say import ROOT

OUTCOMES = ("passed", "failed", "skipped")
# As a copy for another backend looks, and with what PyTorch's modules do when they are imported.
MADE_UP = """
import os
import time
import unittest
import pytest
import torch

assert [int(part) for part in torch.version.cuda.split(".")]

class TestMadeUpCUDA(unittest.TestCase):
    def test_a_lies_on_the_card_cuda(self):
        assert torch.ones(3, device="xpu").is_xpu

    def test_b_is_wrong_cuda_float32(self):
        raise ValueError("three of 12")

    def test_c_is_of_another_dtype_cuda_bfloat16(self):
        raise ValueError

    def test_d_ends_the_process_cuda(self):
        os._exit(7)

    @pytest.mark.timeout(1)
    def test_e_never_ends_cuda(self):
        time.sleep(60)

    def test_f_mixes_devices_cuda(self):
        torch.ones(3, device="cuda") + torch.ones(3)

    @unittest.skip("fewer than 2 devices")
    def test_g_is_skipped_cuda(self):
        pass

    @unittest.expectedFailure
    def test_h_passes_unexpectedly_cuda(self):
        pass

class TestOnTheCPU(unittest.TestCase):
    def test_is_another(self):
        raise ValueError
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made_up")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_made_up.py").write_text(MADE_UP)
    (folder / "tests" / "conftest.py").write_text(
        "def pytest_unknown(path): raise ValueError('of another pytest')"
    )
    tool.main([str(folder / "tests"), "--into", str(folder / "results")])
    return folder


def of(folder: Path) -> dict[str, dict[str, Any]]:
    results = tool.kept(folder / "results")["test_made_up"]
    return {result["test"].partition("::test_")[2][:1]: result for result in results}


@pytest.mark.slow
def test_each_of_cudas_tests_in_a_chosen_dtype_has_a_row_whatever_became_of_it(ran):
    outcomes = {letter: result["outcome"] for letter, result in of(ran).items()}
    passed, failed, skipped = ([letter for letter in outcomes if outcomes[letter] == one] for one in OUTCOMES)
    assert (passed, failed, skipped) == (["a"], ["b", "d", "e", "f", "h"], ["g"])


@pytest.mark.slow
def test_a_failure_says_what_and_where(ran):
    errors = {letter: result.get("error", {}) for letter, result in of(ran).items()}
    assert (errors["b"]["type"], errors["b"]["line"]) == ("ValueError", "three of 12")
    assert re.fullmatch(r"test_made_up\.py:\d+", errors["b"]["at"]) and not errors["b"]["inside"]
    assert (errors["d"]["type"], errors["d"]["line"]) == ("Crashed", "the process ended with status 7")
    assert "Timeout" in errors["e"]["line"]
    assert "Expected all tensors to be on the same device" in errors["f"]["line"]
    assert errors["f"]["inside"].startswith("simgpu/")


@pytest.mark.slow
def test_what_has_a_result_is_not_run_again(ran, monkeypatch, capsys):
    monkeypatch.setattr(runs, "run_once", lambda *_: pytest.fail("it was run again"))
    tool.main([str(ran / "tests"), "--into", str(ran / "results")])
    assert re.search(r"^test_made_up +1 +5 +1 ", capsys.readouterr().out, re.MULTILINE)


def test_what_failed_is_run_again_on_request(tmp_path, monkeypatch):
    results = tmp_path / "test_x.jsonl"
    for line in ({"test": "a", "outcome": "passed"}, {"test": "b", "outcome": "failed"}, {"complete": True}):
        runs.append(results, line)
    runs.forget_failures(results)
    assert [result["test"] for result in runs.read(results)] == ["a"] and not runs.complete(results)


def test_a_run_goes_on_behind_more_tests_than_a_variable_holds(tmp_path):
    """Linux takes 128 KiB for one."""
    (tmp_path / "test_x.py").write_text("def test_new_cuda(): pass\ndef test_old_cuda(): raise ValueError\n")
    results = tmp_path / "results.jsonl"
    names = [
        "test_x.py::test_old_cuda",
        *(f"test_x.py::test_{'old' * 30}_{number}" for number in range(2000)),
    ]
    results.write_text("".join(f'{{"test": "{name[11:]}", "outcome": "passed"}}\n' for name in names))
    runs.run_file(tmp_path / "test_x.py", results, runs.Asked("Tesla T4", (), 60, 8, 0, ()))
    assert [result["test"] for result in runs.read(results)][2001:] == ["test_new_cuda"]
    assert {result["outcome"] for result in runs.read(results)} == {"passed"} and runs.complete(results)


def test_device_names_are_put_back_and_an_entry_does_not_take_cudas_place():
    text = 'names = {"cuda": "of_cuda",\n "xpu": ("of_xpu", "α"), "cpu": 1}\nx = torch.ones(1, device="xpu:1")\nexpu = 1'
    wanted = 'names = {"cuda": "of_cuda",\n  "cpu": 1}\nx = torch.ones(1, device="cuda:1")\nexpu = 1'
    assert sources.cuda_again(text) == wanted
    assert (
        sources.cuda_again("import torch\nimport torch_npu\n@onlyPRIVATEUSE1\nx = torch_npu.npu.Event()")
        == "import torch\n@onlyCUDA\nx = torch.cuda.Event()"
    )
    assert sources.cuda_again('same = {"cuda": 1}') == 'same = {"cuda": 1}'


def failed(test: str, type: str, line: str) -> dict[str, Any]:
    return {"test": test, "outcome": "failed", "seconds": 1.0, "error": {"type": type, "line": line}}


def test_the_table_groups_errors_that_differ_in_numbers_only_and_keeps_the_machines_faults_apart():
    results = {
        "test_x": [
            {"test": "a", "outcome": "passed", "seconds": 1.0},
            {"test": "b", "outcome": "skipped", "seconds": 0.0, "reason": "Skipped: fewer than 2 devices"},
            failed("c", "ValueError", "3 of 12"),
            failed("d", "ValueError", "4 of 15"),
            failed("e", "MemoryError", ""),
        ]
    }
    text = table(results)
    assert re.search(r"^total +1 +3 +1 +4$", text, re.MULTILINE)
    assert "33.3 % (2 of 3 fail)" in text
    assert "     2  ValueError: N of N" in text and "     1  memory of this computer" in text
    assert "     1  fewer than N devices" in text


def test_two_runs_are_compared_by_test():
    before = {"test_x": [failed("a", "E", ""), {"test": "b", "outcome": "passed", "seconds": 0.0}]}
    after = {"test_x": [failed("b", "E", ""), {"test": "a", "outcome": "passed", "seconds": 0.0}]}
    assert changes(before, after).splitlines() == [
        "2 tests are in both runs: 1 failed and pass now, 1 passed and fail now",
        "  now failing: test_x::b",
    ]


def test_each_known_cause_is_of_a_kind_and_what_is_left_out_by_design_names_its_row_of_the_page():
    page = (ROOT / "docs" / "simulated-gpu.md").read_text(encoding="utf-8")
    for cause in known():
        assert cause.kind in KINDS and cause.why and (cause.test or cause.type or cause.line), cause
        by_design = cause.kind in ("refused", "approximated")
        assert bool(cause.row) == by_design and (not by_design or f"| {cause.row}" in page), cause


def test_an_error_that_nobody_knows_is_the_simulations_fault():
    assert cause_of("test_x", failed("a", "ValueError", "new")).kind == "open"
