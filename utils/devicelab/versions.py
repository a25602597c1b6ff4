"""The PyTorch releases that the package was tried with, oldest first: `course.py torches` runs its tests on each."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import SimulationError

TRIED = ("2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0", "2.14.1", "2.15.0")


def release(version: str) -> tuple[int, int]:
    """Return a version's first two numbers: (2, 13) of "2.13.0+cpu", (2, 16) of "2.16a0"; zeros where it has none."""
    found = re.match(r"(\d+)(?:\.(\d+))?", version)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def is_newer(version: str) -> bool:
    """Whether a version of PyTorch is of a later release than any that was tried."""
    return release(version) > release(TRIED[-1])


def untried(version: str) -> str:
    """Return the sentence for a version of PyTorch that is newer than any that was tried."""
    return f"PyTorch {version} is newer than any that the simulated GPU was tried with ({spoken()}): trust it less."


def stop(what: str, version: str) -> str:
    """Return the sentence with which the simulated GPU does not start: `what` is wrong with a version of PyTorch."""
    works = f"It works with PyTorch {spoken()}: pip install torch=={TRIED[-1]}"
    return f"The simulated GPU does not start: {what}, in PyTorch {version}. {works}"


@contextmanager
def known_names(version: str) -> Iterator[None]:
    """Turn a name that is missing in a PyTorch newer than any that was tried into the sentence of `stop`."""
    try:
        yield
    except (AttributeError, ImportError) as error:
        if not is_newer(version):
            raise
        raise SimulationError(stop(str(error), version)) from error


def spoken() -> str:
    """Return the span of the releases that were tried: "2.8 to 2.15"."""
    oldest, newest = (".".join(map(str, release(version))) for version in (TRIED[0], TRIED[-1]))
    return f"{oldest} to {newest}"
