"""What pyproject.toml and constraints.txt ask for."""

import re
import tomllib
from collections.abc import Collection

from tools.say import ROOT

PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "constraints.txt"


def requirements(extras: Collection[str]) -> list[str]:
    """Return the package's requirements and those of `extras`, as pyproject.toml writes them."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in sorted(extras) for line in optional[extra])]


def name(requirement: str) -> str:
    """Return the normalized name in a requirement: "PyYAML>=6" gives "pyyaml"."""
    return normalized(re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0])


def normalized(package: str) -> str:
    """Return a package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def torch_requirement() -> str:
    """Return pyproject.toml's requirement of torch, such as "torch>=2.8"."""
    return next(line for line in requirements(()) if name(line) == "torch")


def new_enough(torch_version: str) -> bool:
    """Whether this version of torch is one that the course supports."""
    return _numbers(torch_version) >= _numbers(torch_requirement())


def pins(present_torch: str | None) -> str:
    """Return the text of constraints.txt; a new enough torch that is already there is pinned to what it is."""
    text = CONSTRAINTS.read_text(encoding="utf-8")
    if not present_torch or not new_enough(present_torch):
        return text
    return re.sub(r"(?m)^torch==.*$", f"torch=={present_torch.partition('+')[0]}", text)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
