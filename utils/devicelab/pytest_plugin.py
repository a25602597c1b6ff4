"""A pytest plugin: test the device handling of any PyTorch code on a machine without a GPU.

`pytest --simulate-gpu` runs a whole test session on a simulated card, `@pytest.mark.simulated_gpu(name, count)` one
test. Loading the plugin imports no torch: other people's test runs that do not use it pay nothing.
"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from devicelab.simgpu import Simulation

DEFAULT = "Tesla T4"
_simulation_of_session: pytest.StashKey["Simulation"] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --simulate-gpu, and what becomes of compiled functions."""
    group = parser.getgroup("devicelab", "a simulated GPU (devicelab)")
    group.addoption(
        "--simulate-gpu-compiled",
        choices=("run", "refuse"),
        default="run",
        help="whether what torch.compile made runs uncompiled on the simulated GPU (default), or is refused",
    )
    group.addoption(
        "--simulate-gpu",
        nargs="?",
        const=DEFAULT,
        default=None,
        metavar="NAME",
        help=f"run all tests on a simulated GPU, {DEFAULT} unless named; a real GPU is left alone",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start before any conftest.py is imported: libraries remember on import whether there is a GPU."""
    options = early_config.known_args_namespace
    _start_for_session(early_config, options.simulate_gpu, options.simulate_gpu_compiled)


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker; start here where the plugin came too late for the conftest files."""
    config.addinivalue_line(
        "markers",
        f'simulated_gpu(name="{DEFAULT}", count=1, compiled="run"): run this test on simulated cards of its own (devicelab)',
    )
    _start_for_session(config, config.getoption("simulate_gpu"), config.getoption("simulate_gpu_compiled"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give torch back as it was."""
    simulation = config.stash.get(_simulation_of_session, None)
    if simulation is not None:
        simulation.stop()


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say that the GPU of this run is none."""
    simulation = config.stash.get(_simulation_of_session, None)
    if simulation is None:
        return None
    return f"devicelab: cuda:0 is a simulated {config.getoption('simulate_gpu')}; nothing here runs on a real GPU"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Let a failure end in the test's or torch's own line, without the simulated card's frames, but for --full-trace."""
    traceback = sys.modules.get("devicelab.simgpu.stand_ins.traceback")
    if call.excinfo is not None and traceback is not None and not item.config.getoption("fulltrace"):
        error = traceback.trim(call.excinfo.value)
        call.excinfo = pytest.ExceptionInfo.from_exc_info((type(error), error, error.__traceback__))


@pytest.fixture(autouse=True)
def _simulated_gpu_of_mark(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give a marked test cards of its own, from before its other fixtures of function scope until after them."""
    mark = request.node.get_closest_marker("simulated_gpu")
    if mark is None:
        yield
        return
    with _start(*mark.args, **mark.kwargs):
        yield


def _start_for_session(config: pytest.Config, name: str | None, compiled: str) -> None:
    if name is None or _simulation_of_session in config.stash:
        return
    try:
        config.stash[_simulation_of_session] = _start(name, compiled=compiled)
    except pytest.UsageError as error:
        hint = "Write --simulate-gpu=NAME; without a name, --simulate-gpu goes after the paths."
        raise pytest.UsageError(f"{error}\n{hint}") from None


def _start(name: str = DEFAULT, count: int = 1, compiled: str = "run") -> "Simulation":
    """Start a simulation; a name or count that cannot be is the user's mistake, not the plugin's."""
    from devicelab.errors import InputError
    from devicelab.simgpu import simulate_gpu

    try:
        return simulate_gpu(name, count, compiled=compiled)
    except InputError as error:
        raise pytest.UsageError(str(error)) from None
