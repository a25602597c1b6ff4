"""What a call would take on a card that one does not have.

The function runs, but nothing is computed: each operator is met on its way, costed by its shapes, and gives back empty
memory. Underneath lies the simulated GPU with its arithmetic left out, so devices, mixed precision, optimizers, the
allocator and errors are as they would be on the card. Whatever the function changes is put back.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch.utils._pytree import tree_leaves

from devicelab import compiled, costs
from devicelab.errors import InputError, check_range
from devicelab.gpus import Card, find
from devicelab.reach import MOST, Reach, is_a
from devicelab.simgpu import current
from devicelab.simgpu.machine import state
from devicelab.simgpu.marks import marks

from .keep import Undo
from .result import Estimate
from .run import Run

__all__ = ["Estimate", "estimate"]

HERE, NOMINAL = "here", "nominal"
CARD = "NVIDIA L4"  # where none is named and none is simulated
MOVED = (
    "Your tensors are on no GPU: this is the time as if they lay on the card already, "
    "but for those that the function copies there."
)
EAGER = "torch.compile is left out: this is the time of the plain functions, uncompiled."
TAKEN = "The function took items from a generator of yours, which cannot be given back: make a new one before you go on."
LARGE = f"The function reaches more than {MOST:,} objects: what it changed beyond these was not put back."


def estimate(
    fn: Callable[..., object],
    *args: Any,
    gpu: str | Card | None = None,
    budget: float = 30.0,
    host: str = "nominal",
) -> Estimate:
    """Estimate what `fn(*args)` would take on a card: a forward pass, a training step, any function over tensors.

    `gpu` is a name from lab.gpus() or a Card; without it, it is the simulated card while there is one, else an NVIDIA L4.
    Tensors may be on the CPU, on a simulated card or on meta; nothing is computed, and all that `fn` changes is put back,
    save for what it takes from iterators and generators. `budget` limits the seconds for which `fn` may run. The host that
    launches is a nominal one; with host="here" the card sits in this computer, whose host is measured.
    """
    _check(fn, budget, host)
    card = gpu if isinstance(gpu, Card) else _card(gpu)
    # Before anything is replaced, because torch._dynamo keeps references to what it finds when it is loaded. It would be
    # loaded in any case: by the simulated card beneath, and by torch itself when it makes its first optimizer.
    from torch import _dynamo  # noqa: F401

    undo = Undo(fn, args)
    run = Run(card, undo, budget, costs.host() if host == HERE else costs.NOMINAL)
    before = compiled.calls()
    moved = _run(run, fn, args)
    return _result(run, card, moved, compiled.calls() > before)


def _check(fn: object, budget: float, host: str) -> None:
    if not callable(fn):
        raise InputError(
            f"estimate needs a function to call, but it got {type(fn).__name__}. Wrap the work: "
            "lab.estimate(lambda: model(x))."
        )
    check_range("budget", budget, 0.001, 3600)
    if host not in (HERE, NOMINAL):
        raise InputError(f'host is "{NOMINAL}" or "{HERE}", but it is {host!r}.')


def _card(name: str | None) -> Card:
    running = current()
    return find(name or CARD) if name or running is None else running.cards[0].spec


def _run(run: Run, fn: Callable[..., object], args: tuple) -> bool:
    """Run the function as it is written; where it uses no card, as if all its tensors were on one. Return whether so."""
    if current() is not None:
        try:
            run(fn, args, moved=False, host=[])
        except Exception:
            if run.meter.on_card or run.meter.copied:
                raise
        if run.meter.on_card:
            return False
    leaves = Reach(lambda _, value: (("", one) for one in _held(value))).walk([("", args)])
    host = [leaf for _, leaf in leaves if is_a(leaf, torch.Tensor) and _on_host(leaf)]
    if host:
        try:  # perhaps the function moves its arguments
            run(fn, args, moved=True, host=host)
        except Exception:
            run.meter.copied = 0
        if run.meter.copied:
            return True
    run(fn, args, moved=True, host=[])
    return True


def _held(value: object) -> list[object]:
    """Return what a container holds, whatever kind torch knows it as; of anything else, itself."""
    opened = iter([False])  # the first that is asked about, which is the container, is no leaf
    return tree_leaves(value, is_leaf=lambda _: next(opened, True))


def _on_host(tensor: torch.Tensor) -> bool:
    return not tensor.is_meta and (state.current is None or marks.card_of(tensor) is None)


def _result(run: Run, card: Card, moved: bool, uncompiled: bool) -> Estimate:
    meter = run.meter
    notes = (
        (run.chance, bool(run.chance)),
        (MOVED, moved),
        (TAKEN, run.undo.advanced),
        (LARGE, run.undo.truncated),
        (EAGER, uncompiled),
    )
    return Estimate(
        seconds=meter.spent.seconds,
        low=meter.spent.low,
        high=meter.spent.high,
        **cast(Any, meter.parts | meter.phases),
        flops=meter.flops,
        bytes=meter.bytes,
        copied=meter.copied,
        peak_memory=run.peak,
        operators=meter.operators,
        synchronizations=meter.waits,
        steps=run.steps.count,
        submit=meter.spent.seconds - meter.waited,
        work=meter.given - meter.given_before,
        card=card,
        notes=tuple(note for note, holds in notes if holds),
        host_note=f"this computer's host: {run.host}" if run.host.is_measured else "a nominal host",
    )
