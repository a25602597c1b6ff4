"""The mode that lets a function run without computing: every operator is judged, costed and placed, and gives back empty memory.

The simulated card tells it of every operator, says where the result belongs and lets its clock go on; what would then compute
comes to this mode, which lies below the card's for that moment.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _pop_mode, _push_mode

from devicelab.errors import InputError
from devicelab.simgpu.machine.machine import SimCard
from devicelab.simgpu.marks import marks
from devicelab.simgpu.marks.place import NOTHING, is_on_card, merge
from devicelab.simgpu.run.call import Calls
from devicelab.simgpu.run.create import request, wanted
from devicelab.simgpu.run.handlers import BUILTIN

from . import shapes
from .keep import Undo
from .kinds import (
    DYNAMIC,
    IN_PLACE,
    INDEX,
    ITEM,
    RUN,
    drawn,
    is_lone,
    kind_of,
    same_as,
    tensors_in,
    written_by,
)
from .known import Known, is_lone_number
from .unknown import asked_by_torch, refusal

_real_device = marks.real_device
_LIFT_FRESH = torch.ops.aten.lift_fresh.default


class Idle(Known):
    """Hears of every operator of the function that is estimated; see the module's docstring."""

    hears_marks = True  # they take the host's time, in the phase in which they are set

    def __init__(
        self, undo: Undo, mode: Calls, card: Any, everything_moved: bool, deadline: float, steps: Any
    ):
        super().__init__(everything_moved)
        self.undo, self.mode, self.card = undo, mode, card
        self.deadline, self.steps = deadline, steps
        self.operators = 0
        self.met: dict[int, torch.UntypedStorage] = {}  # on the card from before the run
        self.adopted: list[tuple[Any, Any]] = []  # memory of other simulated cards, and whose it was
        self.reading = False
        self.stays = False  # what it makes stays on the host although all else counts as moved

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Compute nothing for what the simulated card would run."""
        return self.compute_nothing(func, args, kwargs or {})

    def hear(self, run: Callable[..., Any], func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Let the simulated card treat an operator, with this mode below it."""
        before, self.made, self.stays = (self.made, self.to_card, self.stays), [], False
        self.to_card = is_on_card(wanted(self.mode, kwargs or {}, NOTHING))
        if (
            func is _LIFT_FRESH
        ):  # numbers that the function's own text holds, or a list or array that it reads
            args[0].untyped_storage()._typed_by = self
        try:
            self.look(args)
            _push_mode(self)
            try:
                out = self.treat(run, func, types, args, kwargs or {})
            finally:
                _pop_mode()
            self.account(func, args, kwargs or {})
            return out
        finally:
            self.made, self.to_card, self.stays = before

    def treat(self, run: Callable[..., Any], func: Any, types: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operator as the card does; one that somebody registered counts whole where its shapes are known."""
        foreign = isinstance(func, torch._ops.OpOverload) and func.namespace not in BUILTIN
        if foreign and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "Meta"):
            return self.mode.run(func, args, kwargs, merge(merge(NOTHING, args), kwargs.values()))
        if self.everything_moved and "generator" in kwargs:
            kwargs = {**kwargs, "generator": None}  # one of the CPU; on the card it would be the card's
        asked = request.target
        if self.everything_moved:
            given = list(tensors_in((*args, *kwargs.values())))
            alone = self.all_on_host(given) if given else asked is None and is_lone(args, kwargs)
            self.stays = alone and not self.to_card
            made_from_nothing = asked is None and not given and not self.stays
            if made_from_nothing or asked.__class__ is marks.Device:
                request.target = self.card  # what the function makes on the CPU, it would make on the card
        try:
            return run(func, types, args, kwargs)
        finally:
            request.target = asked

    def all_on_host(self, given: list[Tensor]) -> bool:
        """Say whether all operands are the host's; lone numbers that meet the card's tensors become the card's."""
        here = [tensor for tensor in given if marks.tag_of(tensor).__class__ is not SimCard]
        if len(here) == len(given):
            return True
        for tensor in here:
            if is_lone_number(tensor):
                self.steps.staying.discard(tensor.untyped_storage()._cdata)
                marks.put(tensor, self.card)
        return False

    def look(self, values: Any) -> None:
        """Remember tensors from before the run, and stop a run that takes too long."""
        for value in values:
            if isinstance(value, Tensor):
                self.meet(value)
            elif value.__class__ in (list, tuple):
                for item in value:
                    if isinstance(item, Tensor):
                        self.meet(item)
        self.operators += 1
        if time.monotonic() > self.deadline:
            raise InputError(
                f"The function was stopped after {self.operators:,} operators and {self.steps()} optimizer steps: counting it "
                "takes too long. Give estimate one step instead of the whole training, or a larger `budget` in seconds."
            )

    def meet(self, value: Tensor) -> None:
        """Remember a tensor that was there before the run: what it was like, and its memory on the card."""
        try:
            storage = value.untyped_storage()
        except marks.UNUSUAL:
            raise InputError(
                "The function uses a tensor without ordinary memory (sparse, or a subclass), which cannot be estimated. "
                "Make it dense: tensor.to_dense()."
            ) from None
        if getattr(storage, "_made_by", None) is self:
            return
        self.undo.tensor(value)
        if self.everything_moved:
            self.adopt(storage)
        if marks.tag_of(value) is self.card:
            self.met.setdefault(storage._cdata, storage)
        if _real_device(value).type not in ("cpu", "meta"):
            raise InputError(
                f"The function uses a tensor on this machine's own {_real_device(value)}. Estimates need the model and the data "
                "on the CPU or on meta: give a function over model.cpu() and x.cpu()."
            )

    def adopt(self, storage: Any) -> None:
        """Let memory that a simulation has marked as another card's, or as the CPU's, count as this card's."""
        held = vars(storage)
        if marks.ATTRIBUTE not in held or storage._cdata in self.steps.staying:
            return
        owner = held[marks.ATTRIBUTE]
        if owner is not self.card:
            self.adopted.append((storage, owner))
            storage._simulated_card = self.card

    def account(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Count the memory of what was made on the card, and keep on the host what belongs there."""
        device = kwargs.get("device")
        to_host = (
            device is not None and device.type == "cpu" and device.index == 0
        )  # as moves.HOST asks for it
        if self.everything_moved and self.steps.inside and func is _LIFT_FRESH and args[0].dim() == 0:
            self.keep_on_host(args[0].untyped_storage())  # an optimizer's step counter
        for tensor in self.made:
            storage = tensor.untyped_storage()
            if self.stays:
                given = tensors_in((*args, *kwargs.values()))
                storage._lone = all(map(is_lone_number, given))  # type: ignore[attr-defined]
                self.keep_on_host(storage)
            elif to_host and func._schema.name == "aten::_to_copy":
                self.keep_on_host(storage)
            elif storage._simulated_card is self.card and getattr(storage, "_token", None) is None:  # type: ignore[attr-defined]
                storage._token = self.card.ledger.take(storage.nbytes())  # type: ignore[attr-defined]

    def keep_on_host(self, storage: Any) -> None:
        """Let memory that the function makes be the host's."""
        marks.unmark(storage)
        self.steps.staying.add(storage._cdata)

    def compute_nothing(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Return what an operator would return, without the values."""
        kind = kind_of(func)
        if kind == RUN:
            return func(*args, **kwargs)
        if kind == ITEM:
            return self.number(func, args)
        if kind == DYNAMIC:
            return self.sized_by_values(func, args, kwargs)
        if kind == IN_PLACE:
            return self.written(func, args, kwargs)
        if kind == INDEX:
            args = (args[0], [one for index in args[1] for one in self.positions(index)])
        try:
            found = shapes.sketch(func, args, kwargs)
        except (
            NotImplementedError
        ):  # torch has no rule for its shapes: where its operands are known, they need none
            found = ()
            if not (self.may_know(found) and self.works_out(args, kwargs)):
                raise
        if self.may_know(found) and self.works_out(args, kwargs):
            out = self.remember(func(*args, **kwargs), worked_out=True)
            self.chance.follow(func, tensors_in((*args, *kwargs.values())), tensors_in((out,)))
            return out
        return self.remember(drawn(found, args, kwargs))

    def number(self, func: Any, args: Any) -> Any:
        """Return the value of one element, or a number in its place where it may only be printed or calculated with."""
        if self.is_known(args[0]):
            return self.chance.read(args[0], func(*args))
        if not self.reading and not asked_by_torch():
            raise refusal("needs the value of a tensor", "Put a typical number in its place.")
        return args[0].dtype is not torch.bool

    def sized_by_values(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operator whose result's size or answer hangs on values, where those are known."""
        if func._schema.name == "aten::masked_select":
            shape = torch.broadcast_shapes(args[0].shape, args[1].shape)
            indices = self.positions(args[1].expand(shape))
            return self.compute_nothing(torch.ops.aten.index.Tensor, (args[0].expand(shape), indices), {})
        if not self.works_out(args, kwargs, float("inf")):
            name = func._schema.name.removeprefix("aten::")
            raise refusal(
                f"calls {name}(), whose result hangs on values,",
                "Use an operator of fixed size, such as torch.where or a product with the mask.",
            )
        out = self.remember(func(*args, **kwargs), worked_out=True)
        self.chance.follow(func, tensors_in((*args, *kwargs.values())), tensors_in((out,)))
        return out

    def positions(self, index: Tensor | None) -> list[Tensor | None]:
        """Return the index tensors that a mask stands for; any other index as it is."""
        if index is None or index.dtype not in (torch.bool, torch.uint8):
            return [index]
        if not self.is_known(index):
            raise refusal(
                "selects by a mask that it computes",
                "Use torch.where or a product with the mask, which have a fixed size.",
            )
        return list(index.nonzero().unbind(1))

    def written(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Return the tensors that an operator would have written; what was there before the run keeps its values."""
        targets = written_by(func, args, kwargs)
        mine = all(getattr(one.untyped_storage(), "_made_by", None) is self for one in targets)
        if mine and self.works_out(args, kwargs):
            self.chance.follow(func, tensors_in((*args, *kwargs.values())), targets)
            return func(*args, **kwargs)
        try:
            found = shapes.sketch(func, args, kwargs)
        except NotImplementedError:
            found = None
        for target in targets:
            storage = target.untyped_storage()
            if getattr(storage, "_made_by", None) is self:
                storage._worked_out = False  # type: ignore[attr-defined]
            else:
                self.stale[storage._cdata] = storage
        return self.returned(func, args, kwargs, found)

    def returned(self, func: Any, args: Any, kwargs: dict[str, Any], found: Any) -> Any:
        """Return an in-place operator's results: its own arguments, and new tensors where the schema says so."""
        results = func._schema.returns
        parts = found if found.__class__ is tuple else (found,)
        out: list[Any] = []
        for number, result in enumerate(results):
            if result.alias_info is None:
                out.append(self.remember(drawn(parts[number], args, kwargs)))
                continue
            target = same_as(func, args, kwargs, result.alias_info.before_set)
            if found is not None and isinstance(target, Tensor) and target.shape != parts[number][0]:
                target.resize_(parts[number][0])  # out= of another size
            out.append(target)
        return None if not results else out[0] if len(results) == 1 else tuple(out)
