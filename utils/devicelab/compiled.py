"""Compiled functions run as they are written where each operator must be seen: on a simulated card, in a trace, an estimate.

torch.compile would compile for this machine's CPU, past the simulated card, and under a dispatch mode it gives a function up
for good. So whoever must see operators holds it off meanwhile; nothing is compiled, and nothing is left behind.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from threading import get_ident
from types import FrameType
from typing import Any

import torch
from torch._ops import HigherOrderOperator

from . import higher_order
from .source import TORCH_FOLDER

NOTE = "torch.compile is left out: compiled functions ran uncompiled, operator by operator."
_HIGHER_ORDER = str(TORCH_FOLDER / "_higher_order_ops")
_FLEX = (str(TORCH_FOLDER / "nn" / "attention" / "flex_attention.py"), "flex_attention")


def _nothing(frame: FrameType) -> None:
    return None


@dataclass(frozen=True, eq=False)
class Hold:
    """Somebody who must see every operator of a thread, or of all (None); `met` is told of each call of a compiled function."""

    thread: int | None = None
    met: Callable[[FrameType], object] = _nothing


_holds: list[Hold] = []
_calls: Counter[int] = Counter()
_before: dict[str, Any] = {}  # what was replaced


def calls() -> int:
    """Return how often this thread has called a compiled function that ran as it is written."""
    return _calls[get_ident()]


def hold(one: Hold) -> None:
    """Have compiled functions run as they are written until `release`; who came last is told of them."""
    _holds.append(one)
    _install()


def release(one: Hold) -> None:
    """Let go; torch is put back as it was when nobody holds any more."""
    _holds[:] = [other for other in _holds if other is not one]
    if not _holds:
        _undo()


def renew() -> None:
    """Hold off also what has been loaded since somebody began to hold."""
    if _holds:
        _install()


@contextmanager
def held(met: Callable[[FrameType], object] = _nothing) -> Iterator[None]:
    """Hold for this thread while a block runs."""
    one = Hold(get_ident(), met)
    hold(one)
    try:
        yield
    finally:
        release(one)


def _holding() -> Hold | None:
    here = get_ident()
    return next((one for one in reversed(_holds) if one.thread in (None, here)), None)


def _install() -> None:
    _replace(HigherOrderOperator, "dispatch", higher_order.dispatching)
    if "torch._dynamo" not in sys.modules:  # it takes longer to load than what is looked at, as a rule
        _replace(torch, "compile", _loading)
        return
    from torch._dynamo import eval_frame

    _replace(eval_frame, "_callback_from_stance", _as_written)
    # With fullgraph=True it is an error from PyTorch 2.12 on that nothing was compiled.
    _replace(eval_frame, "set_fullgraph_compiled_frame_count", lambda original: lambda count: 0)
    attention = sys.modules.get("torch.nn.attention.flex_attention")
    if attention is not None:
        _replace(attention, "_WARNINGS_SHOWN", _Shown)


def _replace(owner: Any, name: str, stand_in: Callable[[Any], Any]) -> None:
    original = vars(owner).get(name)
    if original is not None and name not in _before:
        _before[name] = (owner, original)
        setattr(owner, name, stand_in(original))


def _undo() -> None:
    while _before:
        name, (owner, original) = next(reversed(_before.items()))
        setattr(owner, name, original)
        del _before[name]


def _loading(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return torch.compile as it is called first, which loads what it needs."""

    def compile(*args: Any, **kwargs: Any) -> Any:
        import_module("torch._dynamo")
        _install()
        return original(*args, **kwargs)

    return compile


def _as_written(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what torch._dynamo asks at each call of a compiled function; the answer None lets it run as it is."""

    def callback_from_stance(callback: Any) -> Any:
        holding = _holding()
        if holding is None:
            return original(callback)
        # A callback compiles; the answer None says that the program itself asked for what is not compiled.
        if callable(callback) and original(callback) is not None:
            frame = _calling(sys._getframe(1))
            if frame is not None:
                _calls[get_ident()] += 1
                _install()  # perhaps more has been loaded since
                holding.met(frame)
        return None

    return callback_from_stance


class _Shown(set[str]):
    """The warnings that flex_attention has given; its advice to compile it counts as given where the program does."""

    def __init__(self, original: set[str]):
        super().__init__()
        self.add = original.add  # type: ignore[method-assign]
        self._original = original

    def __contains__(self, warning: object) -> bool:
        advice = warning == "flex_attention_performance" and is_in_compiled(sys._getframe(1))
        return advice or warning in self._original


def _calling(frame: FrameType | None) -> FrameType | None:
    """Return the frame that called a compiled function; None where torch compiles of itself what takes functions."""
    own = frame.f_code.co_filename if frame else ""
    while frame is not None and frame.f_code.co_filename == own:
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(_HIGHER_ORDER):
        return None
    return None if (frame.f_code.co_filename, frame.f_code.co_name) == _FLEX else frame


def is_in_compiled(frame: FrameType | None) -> bool:
    """Say whether a compiled function has called what runs in the frame."""
    from torch._dynamo import eval_frame

    while frame is not None:
        if frame.f_code.co_filename == eval_frame.__file__ and callable(frame.f_locals.get("callback")):
            return True
        frame = frame.f_back
    return False
