"""Normalization on a card: its types are looked at once its shapes are found to be right."""

from collections.abc import Callable
from functools import partial
from typing import Any

from devicelab.simgpu.marks.place import is_on_card
from devicelab.simgpu.rules import normalization
from devicelab.simgpu.rules.nondeterministic import argument

from .call import Calls

MIXED = "mixed dtype (CPU)"


def checked(check: Callable[[normalization.Given], None], says_so: bool = False) -> Callable[..., Any]:
    """Return what runs a normalization; `says_so`: on CUDA too the words of `MIXED` come (group_norm.cpp serves both)."""

    def run(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        if not is_on_card(seen):
            return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
        refused, out = None, None
        try:
            out = mode.run(func, args, kwargs, seen)
        except RuntimeError as error:
            if says_so or MIXED not in str(error):
                raise
            refused = error
        check(partial(argument, func, args, kwargs))
        if refused is not None:
            raise refused
        return out

    return run


BY_NAME = {
    "aten::native_layer_norm": checked(normalization.as_the_input),
    "aten::native_group_norm": checked(normalization.as_the_input, says_so=True),
    **dict.fromkeys(
        ("aten::native_batch_norm", "aten::_native_batch_norm_legit", "aten::_batch_norm_with_update"),
        checked(normalization.batch),
    ),
}
