"""%%elsewhere NAME: a cell that runs in a fresh Python with TensorFlow, JAX, Keras or a trainer, and shows what it printed.

Where no Python here has that package, a stored run of the very same lines answers, and says so: `runs.json`, written by
`python -m tools.notebooks.elsewhere` from real runs. Lines that were changed have no stored run; that is said too.

running  which Python has a package, and what a script prints in it
runs     the runs that are kept
"""

import sys
from typing import Any

from .running import PACKAGES, asked, find, run
from .runs import stored

INSTALL = "python3 course.py lab --frameworks"
printed: dict[str, str] = {}  # by package, what its cells printed last


def elsewhere(name: str, code: str) -> None:
    """Run a script in a Python that has the package `name` (one of PACKAGES), print what it printed, and keep that.

    ValueError says which names there are.
    """
    if name not in PACKAGES:
        raise ValueError(f"%%elsewhere {name}: there are {', '.join(PACKAGES)}.")
    python = find(name)
    said = run(python, name, code, _card()) if python else stored(name, code)
    if said is None:
        print(f"{name} is not installed here, and no run of these lines was stored. To run them: {INSTALL}")
        return
    printed[name] = printed.get(name, "") + said.text
    print(f"[{name} {said.version}{'' if python else ', a stored run'}]\n{said.text}", end="")


def here(python: str = "") -> None:
    """Say which packages run here and which answer by stored runs; `python` is a Python to ask first."""
    asked(python)
    printed.clear()
    found = {name: find(name) for name in PACKAGES}
    has = [name for name, python in found.items() if python]
    lacks = [name for name, python in found.items() if not python]
    if has:
        print(f"Run here, each script in a Python of its own: {', '.join(has)}.")
    if lacks:
        print(f"Not installed here, so stored runs answer: {', '.join(lacks)}. To run them: {INSTALL}")


def _card() -> str:
    from devicelab.devices import (
        simulated,
    )  # here, since it loads torch, and the tools want this package without

    card = simulated()
    return card.name if card else "Tesla T4"


def _magic() -> None:
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        shell.register_magic_function(lambda line, cell: elsewhere(line.strip(), cell), "cell", "elsewhere")


_magic()
