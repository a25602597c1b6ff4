"""What the notebooks ask of a learner: guesses before a run, questions after it.

exercises/  the questions of each exercise, with their judges
looking/    what a judge looks with: a trace, values, devices, machines that one does not have
question/   a question: its outcome, hints, solution, and which were passed
guard/      what stands around a judge: a GPU, and everything put back
guess/      a guess before a cell is run
ranks       a script run by torchrun, for lesson 11 and its exercise

Imports point downwards only, from room to room: exercises -> looking -> question -> guard; guess stands alone.
"""

import re
import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Notebooks(MetaPathFinder, Loader):
    """Finds in exercises/ what notebooks and learners' copies import: `devicelab.course.ex01`, `devicelab.course.rescue`."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return a spec for such a name alone."""
        return ModuleSpec(name, self) if re.match(rf"{__name__}\.(ex\d\d|rescue)\b", name) else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of exercises/ in its place, so that there is one of it."""
        name = module.__name__
        sys.modules[name] = import_module(name.replace(__name__, f"{__name__}.exercises"))


sys.meta_path.insert(0, _Notebooks())
