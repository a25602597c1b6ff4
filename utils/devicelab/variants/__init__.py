"""Variants of the same work side by side: the article's three examples, or the learner's own functions."""

from collections.abc import Mapping
from typing import overload

from devicelab.errors import InputError

from .article import Comparison, Setting, compare_article, prepared
from .functions import Fn, FunctionComparison, compare_functions
from .outcome import Variant

__all__ = ["Comparison", "FunctionComparison", "Setting", "Variant", "compare", "prepared"]


@overload
def compare(
    rows: int = 100,
    width: int = 10,
    *,
    outputs: int = 2,
    epochs: int = 5,
    repeats: int | None = None,
    seed: int = 0,
) -> Comparison: ...


@overload
def compare(rows: Mapping[str, Fn], *, repeats: int | None = None) -> FunctionComparison: ...


def compare(
    rows: int | Mapping[str, Fn] = 100,
    width: int = 10,
    *,
    outputs: int = 2,
    epochs: int = 5,
    repeats: int | None = None,
    seed: int = 0,
) -> Comparison | FunctionComparison:
    """Run the article's three examples on this machine and time a training step of each, or compare functions of your own.

    `rows`, `width` and `outputs` are the sizes of data and labels, `repeats` the number of timed steps (adaptive if left out).
    The GPU is the present one, real or simulated; without one, examples 2 and 3 say that they did not run.

    For your own work give functions by name: compare({"on the CPU": f, "on the GPU": g}).
    """
    if isinstance(rows, int):
        return compare_article(Setting(rows, width, outputs, epochs, repeats, seed))
    if not isinstance(rows, Mapping):
        raise InputError(
            f"compare takes a number of rows, or functions by name, but it got {type(rows).__name__}. "
            'Write compare({"on the CPU": f, "on the GPU": g}).'
        )
    if Setting(100, width, outputs, epochs, None, seed) != Setting():
        raise InputError(
            "width, outputs, epochs and seed belong to the article's examples. With functions of your own leave them out."
        )
    return compare_functions(rows, repeats)
