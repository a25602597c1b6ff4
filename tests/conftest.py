"""What all tests share: a simulated time that depends on no machine (tests/package/test_host.py measures this one), nothing of a
simulation that outlives its test, and nothing kept in the folder of the person who runs them.
"""

import gc
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

import tools.notebooks  # noqa: F401  # before any test imports jsonschema: see there
from devicelab.simgpu import session
from devicelab.simgpu.machine.patches import _ABSENT as ABSENT
from devicelab.simgpu.machine.patches import Patches

os.environ.setdefault("DEVICELAB_HOST", "nominal")


def pytest_collection_finish() -> None:
    """Let no collection of garbage walk PyTorch and all tests again: most of a second each time."""
    gc.collect()
    gc.freeze()


class Replaced:
    """What simulations put in the place of torch's names, and what was there before the first of them.

    It is noted when a simulation has put everything there, and again when it takes it away: seldom, since all tests do it.
    """

    absent = object()

    def __init__(self) -> None:
        self.names: dict[tuple[Any, str], list[object]] = {}

    def note(self, patches: Patches) -> None:
        """Note what each replaced name holds, and held before."""
        for owner, attribute, before in patches._undo:
            held = vars(owner).get(attribute, self.absent)
            self.names.setdefault((owner, attribute), [before]).append(held)

    def put_back(self) -> list[str]:
        """Put back what nobody else did, and return the names."""
        left = []
        for (owner, attribute), (before, *values) in self.names.items():
            held = vars(owner).get(attribute, self.absent)
            before = self.absent if before is ABSENT else before
            if held is before or not any(held is value for value in values):
                continue
            left.append(f"{owner.__name__}.{attribute}")
            if before is self.absent:
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, before)
        return left


original_search, original_undo = Patches.search, Patches.undo


@pytest.fixture(autouse=True)
def nothing_of_a_simulation_is_left() -> Iterator[None]:
    """Fail the test that leaves a simulation running, or a name of torch replaced, and end both for the tests behind it."""
    running, replaced = len(session.stack), Replaced()

    def search(patches: Patches, modules: Iterable[str] | None = None) -> None:
        original_search(patches, modules)
        replaced.note(patches)

    def undo(patches: Patches) -> None:
        replaced.note(patches)
        original_undo(patches)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Patches, "search", search)
        patch.setattr(Patches, "undo", undo)
        # `devicelab run` in this process leaves the script's: a child that is spawned later would run that script.
        patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        yield
    left = session.stack[running:]
    for simulation in reversed(left):
        simulation.stop()
    names = [] if session.stack else replaced.put_back()
    assert not left, f"It left running what is now {left[0]!r}."
    assert not names, (
        f"It left torch's names replaced: {', '.join(names)}. Was one patched while a simulation ran?"
    )


@pytest.fixture(autouse=True, scope="module")
def what_lived_through_a_file_is_not_collected_again() -> Iterator[None]:
    """Let no later collection of garbage walk what this file's tests left in caches and modules."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep bets and progress in a folder of the tests' own, in this process and in those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEVICELAB_HOME", str(tmp_path_factory.mktemp("home")))
        yield
