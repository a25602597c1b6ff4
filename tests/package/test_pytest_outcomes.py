"""What the pytest plugin says of a run on a simulated card: in its summary, its report and its JUnit file."""

import xml.etree.ElementTree as ElementTree

import pytest

from devicelab import simulate_gpu
from devicelab.pytest_outcomes import FAULT, NOT_SIMULATED, OTHER, judged

pytest_plugins = ["pytester"]

TESTS = """
import subprocess, sys, unittest, pytest, torch

device = "cuda" if torch.cuda.is_available() else "cpu"
needs_card = pytest.mark.skipif(device == "cpu", reason="no card")

def test_good(): assert torch.ones(1, device=device).sum() == 1
def test_other(): assert 1 == 2

def test_fault():
    model = torch.nn.Linear(2, 2).to(device)
    batch = torch.ones(1, 2)
    model(batch)

def test_wrong_place(): assert torch.ones(1, device=device).device == torch.device("cpu")
def test_unlike(): torch.testing.assert_close(torch.ones(1, device=device), torch.ones(1))

@needs_card
def test_woken(): assert torch.ones(1).cuda().is_cuda

@needs_card
def test_graph(): torch.cuda.CUDAGraph()

@pytest.mark.parametrize("where", ["cpu"] + [device] * (device == "cuda"))
def test_each(where): assert torch.ones(1, device=where).device.type == where

@pytest.mark.xfail
def test_expected_to_fail(): torch.cuda.CUDAGraph()

@needs_card
def test_child():
    code = "import torch; print(torch.cuda.get_device_name())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "Tesla T4\\n"

class TestOld(unittest.TestCase):
    @unittest.skipUnless(device == "cuda", "no card")
    def test_graph(self): torch.cuda.CUDAGraph()
"""
SUMMARY = [
    "*devicelab: cuda:0 was a simulated Tesla T4; nothing ran on a real GPU*",
    "3 device faults, 1 other failure, 2 not simulated (skipped)",
    "device fault: test_code.py::test_fault - batch stayed on cpu*(line 12 of test_code.py)",
    "not simulated: test_code.py::test_graph - CUDA graphs are not simulated: *",
]
COUNTS = {"passed": 5, "failed": 4, "unsimulated": 2, "xfailed": 1}
WITHOUT = ("-p", "no:nbval", "-p", "no:anyio", "-p", "no:timeout")


@pytest.fixture(scope="module", autouse=True)
def modules_of_a_simulation():
    """Load all that a run here loads: pytester forgets what was loaded within it, and PyTorch does not load twice."""
    import torch.distributed.tensor  # noqa: F401 - which a GradScaler asks for

    with simulate_gpu():
        pass


@pytest.fixture
def project(pytester):
    pytester.makepyfile(test_code=TESTS)
    return pytester


def run(pytester, *options):
    return pytester.runpytest_inprocess(*WITHOUT, *options)


def test_faults_what_is_not_simulated_and_other_failures_are_told_apart(project):
    result = run(project, "--simulate-gpu", "-q", "--junitxml=report.xml")  # with -q there is no header
    assert result.parseoutcomes() == COUNTS and result.ret == 1
    result.stdout.fnmatch_lines(["*devicelab, on a simulated card*", "batch stayed on cpu*", "  fix: *"])
    result.stdout.fnmatch_lines(SUMMARY)
    assert junit(project) == "simulated Tesla T4"
    graph = suite(project).find("testcase[@name='test_graph']/skipped")
    assert graph.get("message").startswith("not simulated: CUDA graphs")


def test_a_run_without_a_card_says_nothing_of_one(project):
    run(project, "--junitxml=report.xml").stdout.no_fnmatch_line("*devicelab:*")
    assert junit(project) is None


def suite(project):
    return ElementTree.parse(project.path / "report.xml").getroot()[0]


def junit(project):
    found = suite(project).find("properties/property[@name='gpu']")
    return found.get("value") if found is not None else None


def test_what_is_not_simulated_may_fail_instead(project):
    result = run(project, "--simulate-gpu", "--simulated-gpu-unsupported=fail", "-k", "graph")
    assert result.parseoutcomes() == {"failed": 2, "deselected": 10}
    result.stdout.fnmatch_lines(["0 device faults, 0 other failures, 2 not simulated"])


def test_tests_that_only_a_card_wakes_are_counted_against_the_last_run_without_one(project):
    first = run(project, "--simulate-gpu")
    first.stdout.fnmatch_lines(["*not counted, since no run without --simulate-gpu is on record here"])
    run(project)
    second = run(project, "--simulate-gpu")
    second.stdout.fnmatch_lines(
        ["2 tests ran that are skipped without a card, and 1 more that the last run without one did not have"]
    )
    third = run(project, "--simulate-gpu", "-k", "woken")
    third.stdout.fnmatch_lines(["1 test ran that is skipped without a card"])


def test_a_marked_test_that_needs_what_is_not_simulated(pytester):
    pytester.makepyfile(
        """
        import pytest, torch

        @pytest.mark.simulated_gpu
        def test_graph(): torch.cuda.CUDAGraph()

        def test_other(): raise ValueError
        """
    )
    result = run(pytester)
    assert result.parseoutcomes() == {"failed": 1, "unsimulated": 1}
    result.stdout.fnmatch_lines(["*devicelab: marked tests had simulated cards*"])


def test_a_module_that_fails_as_it_is_imported(pytester):
    pytester.makepyfile(
        test_fault="import torch\ntorch.ones(1, device='cuda') + torch.ones(1)",
        test_graph="import torch\ntorch.cuda.CUDAGraph()",
    )
    result = run(pytester, "--simulate-gpu")
    assert result.parseoutcomes() == {"errors": 1, "skipped": 1}  # pytest counts modules by itself
    result.stdout.fnmatch_lines(["1 device fault, 0 other failures, 1 not simulated (skipped)"])


@pytest.mark.slow
def test_workers_of_xdist(project):
    result = project.runpytest_subprocess(*WITHOUT, "--simulate-gpu", "-n2", "--junitxml=report.xml")
    assert result.parseoutcomes() == COUNTS
    result.stdout.fnmatch_lines(SUMMARY[:2])
    assert 'value="simulated Tesla T4"' in (project.path / "report.xml").read_text("utf-8")


@pytest.mark.slow
def test_plugins_that_are_not_found_by_themselves(project, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = project.runpytest_subprocess("-p", "devicelab.pytest_plugin", "--simulate-gpu")
    assert result.parseoutcomes() == COUNTS


def error_of(function):
    try:
        function()
    except Exception as error:
        return error


def test_what_a_failure_is():
    import torch

    def hidden():
        try:
            torch.cuda.CUDAGraph()
        except RuntimeError as error:
            raise ValueError("no graph here") from error

    def unsafe():
        with torch.autocast("cuda"):
            torch.nn.functional.binary_cross_entropy(x, x)

    with simulate_gpu():
        x = torch.ones(2, 2, device="cuda")
        weight = torch.ones(2, device="cuda", requires_grad=True)
        optimizer, scaler = torch.optim.SGD([weight], lr=0.1), torch.amp.GradScaler("cuda")
        scaler.scale(weight.sum()).backward()
        cases = [
            (OTHER, lambda: 1 / 0),
            (OTHER, lambda: x @ torch.ones(3, device="cuda")),
            (OTHER, lambda: x.float() @ x.double()),
            (NOT_SIMULATED, torch.cuda.CUDAGraph),
            (NOT_SIMULATED, hidden),
            (FAULT, lambda: x + torch.ones(2, 2)),
            (FAULT, lambda: x.numpy()),
            (FAULT, lambda: x.long() @ x.long()),
            (FAULT, lambda: torch.ones(2**40, device="cuda")),
            (FAULT, lambda: torch.set_rng_state(torch.get_rng_state().cuda())),
            (FAULT, unsafe),
            (FAULT, lambda: [scaler.unscale_(optimizer) for _ in range(2)]),
            (FAULT, lambda: {}.to("cpu")),
            (OTHER, lambda: __import__("no_such_module")),
            (FAULT, lambda: x[torch.tensor([5], device="cuda")].cpu()),  # the last: the card is lost
        ]
        said = [judged(error_of(call)) for _, call in cases]
    assert [kind for kind, _, _ in said] == [kind for kind, _ in cases]
    assert all("line " in sentence and text for kind, sentence, text in said if kind == FAULT), said


PLACES = """
import unittest, torch

class Phone: device = "cuda"
class Config:
    device = "cpu"
    def where(self): return self
class Holder(torch.nn.Module):
    @property
    def device(self): return torch.device("cpu")

def enc(x): return x.cpu()

x, m, device = torch.ones(2, device="cuda"), torch.nn.Linear(2, 2), torch.device("cuda")
out, holder, phone, cfg = enc(x), Holder(), Phone(), Config()

def test_fault_1(): assert enc(x).is_cuda
def test_fault_2(): assert out.device.type == "cuda"
def test_fault_3(): assert out.device.type == x.device.type
def test_fault_4(): assert str(out.device) == "cuda:0"
def test_fault_5(): assert out.get_device() == x.get_device()
def test_fault_6(): assert all(p.is_cuda for p in m.parameters())
def test_fault_7(): assert all(p.device.type == "cuda" for p in m.parameters())
def test_fault_8(): assert not x.is_cuda, "a sentence"
def test_fault_9(): assert out.sum() == 2 and out.is_cuda
def test_fault_10(): assert str(enc(x).device).startswith("cuda")
def test_fault_11(): assert {p.device.type for p in m.parameters()} == {"cuda"}
def test_fault_12(): assert holder.device == x.device
def test_fault_14():
    where = out.device
    assert where.type == "cuda"
def test_number_1(): assert x.device == device
def test_number_2(): assert str(x.device) == "cuda"
def test_number_3(): assert torch.ones(3, device="cuda").device == torch.device("cuda")
class TestOld(unittest.TestCase):
    def test_fault_15(self): self.assertTrue(enc(x).is_cuda)
    def test_fault_16(self): self.assertEqual(out.device.type, "cuda")
    def test_fault_17(self): self.assertFalse(x.is_cuda)
    def test_fault_18(self): self.assertNotEqual(out.device.type, "cpu")
    def test_other_9(self): self.assertEqual(x.cpu().sum(), 3)

def test_other_1(): assert phone.device == "cpu"
def test_other_2(): assert cfg.device == "cuda"
def test_other_3(): assert x.is_cuda and x.sum() == 3
def test_other_4(): assert x.device.type == "cuda" and x.get_device() == 0 and x.sum() == 3
def test_other_5(): assert out.to(x.device).sum() == 3
def test_other_6():
    device = "tablet"
    assert device == "phone"
def test_other_7(): assert cfg.where().device == "tablet"
def test_other_10(): assert torch.testing.assert_close(1, 2) or enc(x).is_cuda  # raised within the line, by another
def test_other_8(): assert m(out.to(next(m.parameters()).device)).shape == (3,)
"""


def test_an_assertion_about_a_place_is_a_device_fault_and_one_that_only_mentions_a_device_is_not(pytester):
    pytester.makepyfile(test_places=PLACES)
    result = run(pytester, "--simulate-gpu")
    count = len(
        [line for line in PLACES.splitlines() if "def test_fault" in line or "def test_number" in line]
    )
    result.stdout.fnmatch_lines([f"{count} device faults, 10 other failures, 0 not simulated"])
    said = [line for line in result.outlines if line.startswith("device fault: ")]
    assert len(said) == count and not [line for line in said if "test_other" in line]
    assert [line.count(" without a number is not equal to ") for line in said if "test_number" in line] == [
        1
    ] * 3
    result.stdout.fnmatch_lines(
        [
            "device fault: *::test_fault_1 - enc(x).is_cuda does not hold (line 16 of test_places.py)",
            'device fault: *::test_number_1 - x.device == device does not hold: "cuda" without a number is not equal to *',
        ]
    )
