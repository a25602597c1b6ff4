"""A pytest plugin: test the device handling of any PyTorch code on a machine without a GPU.

`pytest --simulate-gpu` runs a whole test session on a simulated card, `@pytest.mark.simulated_gpu(name, count)` one
test. Loading the plugin imports no torch: other people's test runs that do not use it pay nothing. What the failures are,
`pytest_outcomes` tells.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from devicelab.pytest_outcomes import Outcomes

if TYPE_CHECKING:
    from devicelab.simgpu import Simulation

DEFAULT = "Tesla T4"
MARK = "simulated_gpu"
# Each is an option, --simulated-gpu-..., and a key of the configuration file, simulated_gpu_...
SETTINGS = {
    "card": (DEFAULT, None, "NAME", "the name of the simulated card"),
    "count": ("1", None, "N", "how many simulated cards there are"),
    "compiled": (
        "run",
        ("run", "refuse"),
        None,
        "whether what torch.compile made runs uncompiled, or is refused",
    ),
    "unsupported": (
        "skip",
        ("skip", "fail"),
        None,
        "what becomes of a test that needs what is not simulated",
    ),
}
_simulation_of_session: pytest.StashKey["Simulation"] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --simulate-gpu, which takes no value, and an option and a key for each setting."""
    group = parser.getgroup("devicelab", "a simulated GPU (devicelab)")
    group.addoption(
        "--simulate-gpu",
        action="store_true",
        help="run all tests on a simulated GPU; a real one is left alone",
    )
    for name, (default, choices, metavar, text) in SETTINGS.items():
        text = f"{text} (default: {default}, or simulated_gpu_{name} in the configuration file)"
        group.addoption(f"--simulated-gpu-{name}", choices=choices, metavar=metavar, help=text)
        parser.addini(f"simulated_gpu_{name}", f"for --simulate-gpu: {text.partition(' (')[0]}")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Start before any conftest.py is imported: libraries remember on import whether there is a GPU."""
    _start_for_session(early_config, early_config.known_args_namespace)


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker; start here where the plugin came too late for the conftest files."""
    config.addinivalue_line(
        "markers",
        f'{MARK}(name="{DEFAULT}", count=1, compiled="run"): run this test on simulated cards of its own (devicelab)',
    )
    _start_for_session(config, config.option)
    simulation = config.stash.get(_simulation_of_session, None)
    cards = _named([card.spec.name for card in simulation.cards]) if simulation else ""
    skips = _setting(config, config.option, "unsupported") == "skip"
    config.pluginmanager.register(Outcomes(config, cards, MARK, skips), "devicelab-outcomes")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Let a failure end in the test's or torch's own line, without the simulated card's frames, but for --full-trace.

    Neither first nor last: unittest puts its error here, pytest makes the report of what is here.
    """
    traceback = sys.modules.get("devicelab.simgpu.stand_ins.traceback")
    if call.excinfo is not None and traceback is not None and not item.config.getoption("fulltrace"):
        error = traceback.trim(call.excinfo.value)
        call.excinfo = pytest.ExceptionInfo.from_exc_info((type(error), error, error.__traceback__))


@pytest.fixture(autouse=True)
def _simulated_gpu_of_mark(request: pytest.FixtureRequest) -> Iterator[None]:
    """Give a marked test cards of its own, from before its other fixtures of function scope until after them."""
    mark = request.node.get_closest_marker(MARK)
    if mark is None:
        yield
        return
    with _start(*mark.args, **mark.kwargs):
        yield


def _start_for_session(config: pytest.Config, given: argparse.Namespace) -> None:
    if not given.simulate_gpu:
        alone = [name for name in ("card", "count", "compiled") if getattr(given, f"simulated_gpu_{name}")]
        if alone:
            raise pytest.UsageError(
                f"--simulated-gpu-{alone[0]} speaks of a simulated GPU: give --simulate-gpu as well."
            )
    elif _simulation_of_session not in config.stash:
        card, count, compiled = (_setting(config, given, name) for name in ("card", "count", "compiled"))
        if not count.isdecimal():
            raise pytest.UsageError(f"simulated_gpu_count must be a whole number, but it is {count!r}.")
        simulation = config.stash[_simulation_of_session] = _start(card, int(count), compiled)
        config.add_cleanup(simulation.stop)  # after those of later plugins


def _setting(config: pytest.Config, given: argparse.Namespace, name: str) -> str:
    """Return a setting: of the command line, else of the configuration file, else the default."""
    default, choices, _, _ = SETTINGS[name]
    value = getattr(given, f"simulated_gpu_{name}") or config.getini(f"simulated_gpu_{name}") or default
    if choices and value not in choices:
        raise pytest.UsageError(f"simulated_gpu_{name} must be {' or '.join(choices)}, but it is {value!r}.")
    return value


def _start(name: str = DEFAULT, count: int = 1, compiled: str = "run") -> "Simulation":
    """Start a simulation; a name or count that cannot be is the user's mistake, not the plugin's."""
    from devicelab.errors import InputError
    from devicelab.simgpu import simulate_gpu

    try:
        return simulate_gpu(name, count, compiled=compiled)
    except InputError as error:
        raise pytest.UsageError(str(error)) from None


def _named(cards: list[str]) -> str:
    """Return what is simulated, in words: "Tesla T4", or "2 x Tesla T4"."""
    return cards[0] if len(cards) == 1 else f"{len(cards)} x {cards[0]}"
