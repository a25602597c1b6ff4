"""What the Pythons that this one starts do first: by subprocess, a shell, torchrun, multiprocessing, and their own children.

    forget = tell("package.module:function", 1, "two")   # from now on each child calls function(1, "two")
    ...
    forget()                                             # those started from here on do not

A child calls it at the end of its first `import torch`, before that line returns; one that imports no torch loads nothing. The
arguments must be such as JSON keeps. Two environment variables carry it, so a child that is given an environment of its own
must be given `extended(environment)`; PYTHONPATH leads to `sitecustomize.py` beside this file. A Python that heeds neither
(`-I`, `-E`, `-S`), or a shell that sets PYTHONPATH anew, is not told.
"""

import json
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

VARIABLE, PATH = "DEVICELAB_CHILDREN", "PYTHONPATH"
FOLDER = str(Path(__file__).parent)


def tell(function: str, *arguments: Any) -> Callable[[], None]:
    """Have every Python that is started from now on call a function ("module:name"); return what takes it back."""
    _set(told() | {function: arguments})
    return lambda: _set({name: given for name, given in told().items() if name != function})


def told() -> dict[str, Any]:
    """Return what children are told: the arguments of each function."""
    return json.loads(os.environ.get(VARIABLE, "{}"))


def begin() -> None:
    """Do in a child what it was told."""
    for function, arguments in told().items():
        module, _, name = function.partition(":")
        getattr(import_module(module), name)(*arguments)


def extended(environment: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Return an environment for a child with what this process tells its children."""
    if VARIABLE not in os.environ:
        return environment
    return {
        **environment,
        VARIABLE: os.environ[VARIABLE],
        PATH: os.pathsep.join([FOLDER, *_others(environment)]),
    }


def _set(calls: dict[str, Any]) -> None:
    others = _others(os.environ)
    if calls:
        os.environ |= {VARIABLE: json.dumps(calls), PATH: os.pathsep.join([FOLDER, *others])}
        return
    os.environ.pop(VARIABLE, None)
    os.environ.pop(PATH, None)
    if others:
        os.environ[PATH] = os.pathsep.join(others)


def _others(environment: Mapping[Any, Any]) -> list[str]:
    """Return the folders of PYTHONPATH but our own."""
    path = environment.get(PATH, "")
    return [folder for folder in path.split(os.pathsep) if folder != FOLDER] if path else []
