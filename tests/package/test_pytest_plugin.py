"""The pytest plugin as its users meet it: pytest runs on a small project of their own."""

import subprocess
import sys

import pytest
import torch

from devicelab import simulate_gpu

pytest_plugins = ["pytester"]

CODE = """
import torch

HAD_A_GPU_ON_IMPORT = torch.cuda.is_available()

def predict(model, batch):
    return model(batch)  # forgets to move the batch

def predict_right(model, batch):
    return model(batch.to(next(model.parameters()).device))
"""

TESTS = """
import pytest, torch
import code_under_test as code

def test_the_library_saw_a_gpu_when_it_was_imported():
    assert code.HAD_A_GPU_ON_IMPORT

def test_right():
    model = torch.nn.Linear(2, 2).to("cuda" if torch.cuda.is_available() else "cpu")
    assert code.predict_right(model, torch.ones(1, 2)).device == torch.device("cuda", 0)

def test_forgetful():
    model = torch.nn.Linear(2, 2).to("cuda" if torch.cuda.is_available() else "cpu")
    code.predict(model, torch.ones(1, 2))
"""


@pytest.fixture
def project(pytester):
    """A project with a device bug that sleeps on a machine without a GPU."""
    pytester.makepyfile(code_under_test=CODE, test_code=TESTS)
    pytester.makeconftest("import code_under_test")
    return pytester


@pytest.fixture(scope="module", autouse=True)
def modules_of_a_simulation():
    """Load all that a run here loads: pytester forgets what was loaded within it, and PyTorch does not load twice."""
    with simulate_gpu(), pytest.warns(UserWarning, match="torch.compile is left out"):
        torch.compile(torch.sin)(torch.ones(1, device="cuda"))


# Runs within this process load every plugin anew: two of them slowly.
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:nbval", "-p", "no:anyio")


def run(pytester, *options):
    """Run pytest within this process, which has torch already: much faster than a process for each test."""
    return pytester.runpytest_inprocess(*WITHOUT, *options)


def run_apart(pytester, *options):
    return pytester.runpytest_subprocess(*WITHOUT, *options)


def test_the_option_wakes_a_device_bug_that_sleeps_without_a_gpu(project):
    result = run_apart(project, "-k", "forgetful")
    result.assert_outcomes(passed=1)
    result = run_apart(project, "--simulate-gpu")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["*test_forgetful*", "*RuntimeError: Expected all tensors to be on the same device*"]
    )


def test_the_header_says_that_the_card_is_simulated(project):
    run(project, "--simulate-gpu", "--simulated-gpu-card=NVIDIA L4").stdout.fnmatch_lines(
        ["devicelab: cuda:0 is a simulated NVIDIA L4; nothing here runs on a real GPU"]
    )
    run(project).stdout.no_fnmatch_line("*devicelab: cuda:0*")


def test_a_named_card_and_a_wrong_name(pytester):
    pytester.makepyfile(
        "import torch\ndef test(): assert torch.cuda.get_device_name() == 'NVIDIA H100 80GB HBM3'"
    )
    run(pytester, "--simulate-gpu", "--simulated-gpu-card", "NVIDIA H100 80GB HBM3").assert_outcomes(passed=1)
    refused(pytester, "*Voodoo 2*Tesla T4*", "--simulate-gpu", "--simulated-gpu-card=Voodoo 2")


def refused(pytester, sentence, *options):
    result = run(pytester, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {sentence}"])


def test_the_option_takes_no_value_so_a_path_may_follow_it(project):
    result = run(project, "--simulate-gpu", "test_code.py", "-k", "forgetful or right")
    result.assert_outcomes(passed=1, failed=1, deselected=1)


def test_the_configuration_file_names_the_cards_and_the_command_line_goes_before(pytester):
    pytester.makeini("[pytest]\nsimulated_gpu_card = NVIDIA L4\nsimulated_gpu_count = 2")
    pytester.makepyfile(
        """
        import torch

        def test():
            found = torch.cuda.device_count() if torch.cuda.is_available() else 0
            assert (found, found and torch.cuda.get_device_name(1)) == (2, "NVIDIA L4")
        """
    )
    run(pytester).assert_outcomes(failed=1)  # they start nothing by themselves
    result = run(pytester, "--simulate-gpu")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["devicelab: cuda:0 is a simulated 2 x NVIDIA L4; *"])
    run(pytester, "--simulate-gpu", "--simulated-gpu-count=3").assert_outcomes(failed=1)


def test_what_cannot_be_is_refused_in_a_sentence(pytester):
    refused(pytester, "--simulated-gpu-card*give --simulate-gpu as well.", "--simulated-gpu-card=Tesla T4")
    refused(
        pytester,
        "simulated_gpu_count must be a whole number, but it is 'two'.",
        "--simulate-gpu",
        "--simulated-gpu-count=two",
    )
    pytester.makeini("[pytest]\nsimulated_gpu_unsupported = ignore")
    refused(pytester, "simulated_gpu_unsupported must be skip or fail, but it is 'ignore'.", "--simulate-gpu")


def test_the_marker_gives_one_test_a_card_of_its_own(pytester):
    pytester.makepyfile(
        """
        import pytest, torch

        @pytest.fixture
        def model():
            return torch.nn.Linear(2, 2).to("cuda" if torch.cuda.is_available() else "cpu")

        @pytest.fixture(scope="session")
        def shared():
            return torch.cuda.is_available()

        @pytest.mark.simulated_gpu
        def test_default(model, shared):
            assert torch.cuda.get_device_name() == "Tesla T4"
            assert model.weight.is_cuda and not shared

        @pytest.mark.simulated_gpu("NVIDIA L4", count=2)
        def test_named():
            assert torch.cuda.device_count() == 2
            assert torch.cuda.get_device_name(1) == "NVIDIA L4"
            assert torch.cuda.memory_allocated() == 0

        @pytest.mark.simulated_gpu(compiled="refuse")
        def test_compiled():
            with pytest.raises(RuntimeError, match="torch.compile is not simulated"):
                torch.compile(torch.sin)(torch.ones(1))

        @pytest.mark.simulated_gpu(name="NVIDIA L4")
        class TestClass:
            def test_method(self):
                assert torch.cuda.get_device_name() == "NVIDIA L4"

        def test_unmarked(model, shared):
            assert not torch.cuda.is_available() and not model.weight.is_cuda
        """
    )
    run(pytester, "--strict-markers").assert_outcomes(passed=5)


def test_the_marker_inside_a_simulated_session(pytester):
    pytester.makepyfile(
        """
        import pytest, torch

        def test_before():
            assert torch.cuda.get_device_name() == "Tesla T4"

        @pytest.mark.simulated_gpu("NVIDIA L4")
        def test_marked():
            assert torch.cuda.get_device_name() == "NVIDIA L4"

        def test_after():
            assert torch.cuda.get_device_name() == "Tesla T4" and torch.ones(1).cuda().is_cuda
        """
    )
    run(pytester, "--simulate-gpu").assert_outcomes(passed=3)


def test_a_marked_test_leaves_torch_as_it_was_when_it_fails(pytester):
    pytester.makepyfile(
        """
        import pytest, torch

        NO_GPU = "Found no NVIDIA driver" if torch.version.cuda else "Torch not compiled with CUDA enabled"

        @pytest.mark.simulated_gpu
        def test_fails():
            raise ValueError

        def test_after():
            assert not torch.cuda.is_available()
            with pytest.raises((AssertionError, RuntimeError), match=NO_GPU):
                torch.ones(1, device="cuda")
        """
    )
    run(pytester).assert_outcomes(passed=1, failed=1)


def test_a_mark_with_a_wrong_name_is_an_error_with_the_names(pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.simulated_gpu('Voodoo 2')\ndef test(): pass")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*Voodoo 2*Tesla T4*"])


@pytest.mark.parametrize(
    "option, outcome", [((), {"passed": 1}), (("--simulated-gpu-compiled=refuse",), {"unsimulated": 1})]
)
def test_the_option_says_what_becomes_of_compiled_functions(pytester, option, outcome):
    pytester.makepyfile(
        """
        import torch

        def test_compiled():
            assert torch.compile(torch.sin)(torch.ones(1, device="cuda")).is_cuda
        """
    )
    result = run(pytester, "--simulate-gpu", *option)
    assert {name: result.parseoutcomes().get(name) for name in outcome} == outcome
    assert result.stdout.str().count("UserWarning: torch.compile is left out") == (not option)


@pytest.mark.slow
def test_unittest_classes_and_workers_of_xdist(pytester):
    pytester.makepyfile(
        """
        import unittest, pytest, torch

        class TestOld(unittest.TestCase):
            @pytest.mark.simulated_gpu
            def test_marked(self):
                self.assertTrue(torch.ones(1).cuda().is_cuda)

            def test_unmarked(self):
                self.assertTrue(torch.cuda.is_available())
        """
    )
    run_apart(pytester, "--simulate-gpu", "-n1").assert_outcomes(passed=2)


LOADED = """
import sys, pytest

class Look:
    def pytest_configure(self, config):
        assert config.pluginmanager.has_plugin("devicelab")
        print("torch" in sys.modules)

pytest.main(["--collect-only", "-q", *sys.argv[1:]], plugins=[Look()])
"""


@pytest.mark.parametrize("options, loaded", [([], "False"), (["--simulate-gpu"], "True")])
@pytest.mark.slow
def test_the_plugin_loads_torch_only_when_asked(pytester, options, loaded):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *options],
        cwd=pytester.path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[0] == loaded, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("option", "shows"), [("--tb=auto", False), ("--tb=short", False), ("--full-trace", True)]
)
def test_a_failure_ends_in_the_users_line_and_all_frames_come_on_demand(project, option, shows):
    result = run(project, "--simulate-gpu", option, "-k", "forgetful")
    result.stdout.fnmatch_lines(["*Expected all tensors to be on the same device*"])
    shown = [line for line in result.outlines if "simgpu" in line and ".py:" in line]
    assert bool(shown) is shows
    result.stdout.fnmatch_lines(["*code_under_test.py:*"])
