"""The dispatch mode: looks where the operands of every operator are, refuses what CUDA refuses, and says where the result is."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from threading import get_ident
from typing import Any

import torch

from devicelab.devices import Listener
from devicelab.errors import SimulationError
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks.marks import UNUSUAL, Tensor, tag_of
from devicelab.simgpu.marks.place import MIXED, NOTHING, merge, place

from . import dtypes, lost, words
from .call import Calls
from .handlers import PLANS, plan_of

PLAIN = torch.Tensor.__torch_dispatch__
# A number may stand in a tensor's place; only what these say of it is mended by a tensor.
NUMBER = re.compile(
    r"Expected a value of type 'Tensor' for argument|'(int|float|bool|complex)' object has no attribute"
    r"|is_functorch_wrapped_tensor\(\): incompatible function arguments"
)
SPARSE = torch.sparse_coo  # a view of one has storages of its own
HIGHER_ORDER = (
    "This operator takes functions, and what they run would not be seen, so it is neither simulated nor estimated. "
    "torch.cond, while_loop, scan, map and flex_attention are; or use Python's own if and for."
)


class SimulatedDispatch(Calls):
    """Sees every operator of one thread while the simulation runs."""

    refused = ""  # the words of the last error, which TorchScript's interpreter loses
    sees_inside = True  # of torch.cond and its like: see devicelab.higher_order
    shape_env = None  # torch.fx asks for it, believing that the mode under this key is a FakeTensorMode

    @classmethod
    def is_infra_mode(cls) -> bool:
        return True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # saves a wrapper around every operator, and two frames in every traceback

    @property
    def supports_higher_order_operators(self) -> bool:  # type: ignore[override]
        """Refuse an operator that takes functions; torch asks here before it calls one."""
        raise SimulationError(HIGHER_ORDER)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator, and let those hear of it who watch this thread."""
        if self.listeners:
            listening = self.listeners.pop(get_ident(), None)  # what an operator is made of is not heard
            if listening is not None:
                try:
                    return told(listening, self.attempt, func, types, args, kwargs)
                finally:
                    if listening:  # the last may have ended meanwhile
                        self.listeners[get_ident()] = listening
        try:  # as in `attempt`, without its frame
            return self.treat(func, types, args, kwargs)
        except Exception as error:
            return self.failed(error, func, args, kwargs)

    def attempt(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Run one operator, in a wider type where only CUDA has a kernel for its own."""
        try:
            return self.treat(func, types, args, kwargs)
        except Exception as error:
            return self.failed(error, func, args, kwargs)

    def failed(self, error: Exception, func: Any, args: Any, kwargs: Any) -> Any:
        """Try once more what failed for a type, or for a number in a tensor's place; or raise the error."""
        if getattr(func, "namespace", "") == "aten" and NUMBER.search(str(error)):
            return self.treat(func, (), *with_tensors(func, args, kwargs or {}))
        if isinstance(error, NotImplementedError):
            try:
                return dtypes.retry(self, func, args, kwargs or {}, error)
            except NotImplementedError as last:
                error = last
        if isinstance(error, (RuntimeError, TypeError, ValueError)):  # which it is depends on the release
            error = words.translated(error, args, kwargs or {}, func)
        self.refused = str(error)
        if isinstance(error, RuntimeError):
            # frames below that hold it would keep the operands' memory, as no card does
            BaseException.with_traceback(error, None)
        try:
            raise error
        finally:
            del error  # and so would this one

    def treat(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:  # type: ignore[override]
        """Run one operator where its operands are. The loop is written out because it runs for every operator."""
        if not self.machine.active:
            return func(*args, **(kwargs or {}))
        if types and any(kind.__torch_dispatch__ is not PLAIN for kind in types):
            return NotImplemented  # a subclass of Tensor takes the operator apart first, and its parts come back here
        seen: Any = NOTHING
        for value in args:
            if isinstance(value, Tensor):
                try:
                    tag = value.untyped_storage()._simulated_card  # type: ignore[attr-defined]
                except UNUSUAL:
                    tag = tag_of(value)
                if tag is not seen:
                    seen = tag if seen is NOTHING else MIXED
            elif value.__class__ is list or value.__class__ is tuple:
                seen = merge(seen, value)
        if kwargs:
            seen = merge(seen, kwargs.values())
        plan = PLANS.get(id(func)) or plan_of(func)
        if plan.handler is not None:
            return plan.handler(self, func, args, kwargs or {}, seen)
        if seen is not None and not (seen.__class__ is SimCard and seen.running):
            return self.run(func, args, kwargs or {}, seen, plan.is_view)
        out = plan.call(*args, **kwargs) if kwargs else plan.call(*args)
        if seen is None:
            self.clock.host(func, args, out)
            return out
        if not plan.is_view or args[0].layout is SPARSE:
            place(out, seen)
        self.clock.kernel(seen.index, func, args, out)
        return out

    def treat_lost(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:  # type: ignore[override]
        """Run one operator in the place of `treat`, while a card is lost."""
        run = partial(SimulatedDispatch.treat, self, func, types, args, kwargs)
        if not self.machine.active or any(kind.__torch_dispatch__ is not PLAIN for kind in types or ()):
            return run()
        plan = PLANS.get(id(func)) or plan_of(func)
        return lost.treat(self, run, func, args, kwargs or {}, plan.launches)


def with_tensors(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Return a call's arguments with tensors for the numbers as which torch hands on its constants (in TorchScript's graphs)."""
    places = [str(argument.real_type) == "Tensor" for argument in func._schema.arguments]
    make = torch.ops.aten.scalar_tensor.default
    numbers = (int, float, complex)
    found = [
        make(v) if is_one and isinstance(v, numbers) else v for v, is_one in zip(args, places, strict=False)
    ]
    return tuple(found), kwargs


def told(
    listening: Sequence[Listener], run: Callable[..., Any], func: Any, types: Any, args: Any, kwargs: Any
) -> Any:
    """Let listeners hear of an operator, the innermost first."""
    for listener in listening[:-1]:
        run = partial(listener.hear, run)
    return listening[-1].hear(run, func, types, args, kwargs)
