"""What pyproject.toml and constraints.txt ask for."""

import re
import tomllib
from collections.abc import Collection

from tools.setup.say import ROOT

PYPROJECT = ROOT / "pyproject.toml"
CONSTRAINTS = ROOT / "constraints.txt"


def requirements(extras: Collection[str]) -> list[str]:
    """Return the package's requirements and those of `extras`, as pyproject.toml writes them."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(line for extra in sorted(extras) for line in optional(extra))]


def optional(extra: str) -> list[str]:
    """Return what an extra asks for besides the package's own requirements."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    return project["optional-dependencies"][extra]


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


def torch_pin(present_torch: str | None) -> str:
    """Return the version of torch to install: a new enough one that is already there stays, else the tested one."""
    if present_torch and new_enough(present_torch):
        return present_torch.partition("+")[0]
    found = re.search(r"(?m)^torch==(\S+)$", CONSTRAINTS.read_text(encoding="utf-8"))
    assert found, "constraints.txt pins torch"
    return found[1]


def pins(torch: str, torch_only: bool) -> str:
    """Return the text of constraints.txt with this version of torch, or the line of torch alone."""
    line = f"torch=={torch}"
    if torch_only:
        return line + "\n"
    return re.sub(r"(?m)^torch==.*$", line, CONSTRAINTS.read_text(encoding="utf-8"))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
