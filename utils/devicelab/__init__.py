"""devicelab: place, prove, time and debug PyTorch training, with or without a GPU.

Names are loaded when they are first used, so that importing the package costs nothing and starts no CUDA.
"""

import sys
from importlib import import_module
from types import ModuleType

from ._version import __version__

TYPE_CHECKING = False  # not typing's: the user's folder may have a file typing.py, and __main__ is to say so
if TYPE_CHECKING:
    from .course.guess.guess import guess
    from .course.guess.tally import tally
    from .course.question.progress import progress
    from .crossover import crossover
    from .devices import clock
    from .doctor import doctor
    from .estimate import estimate
    from .expect import expect_error
    from .explain import explain
    from .film import film, placement
    from .gpus import gpus
    from .memory import memory
    from .monitor import monitor
    from .pipeline import pipeline
    from .queue import queue
    from .recordings import recordings
    from .session import start
    from .simgpu import simulate_gpu
    from .sweep import sweep
    from .timing import timeit, timeit_naive
    from .trace import timelines, trace
    from .variants import compare
    from .waste import waste

_HOME = {
    "clock": "devices",
    "compare": "variants",
    "crossover": "crossover",
    "doctor": "doctor",
    "estimate": "estimate",
    "expect_error": "expect",
    "explain": "explain",
    "film": "film",
    "gpus": "gpus",
    "guess": "course.guess",
    "load_ipython_extension": "ipython",
    "memory": "memory",
    "monitor": "monitor",
    "pipeline": "pipeline",
    "placement": "film",
    "progress": "course.question.progress",
    "queue": "queue",
    "recordings": "recordings",
    "simulate_gpu": "simgpu",
    "start": "session",
    "sweep": "sweep",
    "tally": "course.guess",
    "timeit": "timing",
    "timeit_naive": "timing",
    "timelines": "trace",
    "trace": "trace",
    "unload_ipython_extension": "ipython",
    "waste": "waste",
}

__all__ = [
    "__version__",
    "clock",
    "compare",
    "crossover",
    "doctor",
    "estimate",
    "expect_error",
    "explain",
    "film",
    "gpus",
    "guess",
    "memory",
    "monitor",
    "pipeline",
    "placement",
    "progress",
    "queue",
    "recordings",
    "simulate_gpu",
    "start",
    "sweep",
    "tally",
    "timeit",
    "timeit_naive",
    "timelines",
    "trace",
    "waste",
]


class _Package(ModuleType):
    """Keeps a function such as `gpus` in front of the module of the same name that it comes from."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"devicelab has no {name!r}; it offers {', '.join(__all__)}.")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
