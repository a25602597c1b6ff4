"""`course.py constraints`: the versions in the environment that runs this, as pins, for everything that the course asks for.

Run it in an environment in which `course.py test-all` has passed: the pins say what was tested. The Python of `.venv-frameworks`
runs it, which sees `.venv` as well.
"""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tools.setup import requirements
from tools.setup.say import Stop, say

EXTRAS = ("lab", "test", "browser", "interop", "site", "frameworks")
OLDEST_PYTHON = "3.11.0"
# setuptools also builds packages, each of which asks for its own.
UNPINNED = {"devicelab", "pip", "setuptools"}
EVERYWHERE = {"nvidia-ml-py"}  # not a part of CUDA, in spite of its name
PLATFORM_ONLY = ("nvidia-", "cuda-", "triton")  # torch itself pins what it needs of these


def main() -> None:
    """Write constraints.txt."""
    versions = closure(requirements.requirements(EXTRAS))
    lines = [pin(name, version) for name, version in sorted(versions.items()) if _pinned(name)]
    python = ".".join(platform.python_version_tuple()[:2])
    system = f"Python {python}, {platform.system()} {platform.machine()}"
    header = [
        "# The versions that were tested together. Made by `python3 course.py constraints`",
        f"# from the environment in which `python3 course.py test-all` passed: {system}.",
    ]
    requirements.CONSTRAINTS.write_text("\n".join([*header, *lines, ""]), encoding="utf-8", newline="\n")
    say(f"{requirements.CONSTRAINTS.name}: {len(lines)} pins.")


def closure(wanted: Iterable[str]) -> dict[str, str]:
    """Return the installed version of every package that `wanted` needs, directly or not."""
    versions: dict[str, str] = {}
    todo = [need for line in wanted if applies(need := Requirement(line), ())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        asked = todo.pop()
        key = requirements.normalized(asked.name), frozenset(asked.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            found = distribution(asked.name)
        except PackageNotFoundError:
            raise Stop(
                f"{asked.name} is not installed here.", "Run test-all first, then this again."
            ) from None
        versions[key[0]] = found.version.partition("+")[0]  # torch 2.13.0+cpu is 2.13.0
        todo += [need for line in found.requires or () if applies(need := Requirement(line), asked.extras)]
    return versions


def applies(need: Requirement, extras: Iterable[str]) -> bool:
    """Whether a requirement counts here, given the extras that were asked for."""
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def pin(name: str, version: str) -> str:
    """Return the pin of an installed package; one that needs a later Python 3.11.x than the course does not bind the earlier."""
    needs = SpecifierSet(distribution(name).metadata["Requires-Python"] or "")
    if needs.contains(OLDEST_PYTHON):
        return f"{name}=={version}"
    lowest = next(spec.version for spec in needs if spec.operator in (">=", ">"))
    return f'{name}=={version}; python_full_version >= "{lowest}"'


def _pinned(name: str) -> bool:
    return name in EVERYWHERE or (name not in UNPINNED and not name.startswith(PLATFORM_ONLY))


if __name__ == "__main__":
    main()
