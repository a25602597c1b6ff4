"""A training that runs without computing, on an account of a card's memory that notes each piece that comes and goes."""

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, NamedTuple

import torch
from torch import nn

from devicelab.errors import InputError
from devicelab.estimate.keep import Undo
from devicelab.estimate.run import Run
from devicelab.gpus import Card
from devicelab.simgpu.machine.memory import Ledger, Token
from devicelab.source import lines_of

from .kinds import PASSING, Kinds

Line = tuple[int, int]  # its number, and how many steps had been taken: 0 is the first


@dataclass
class Piece:
    """A piece of the card's memory, in bytes of the allocator's blocks."""

    nbytes: int
    kind: str


class Event(NamedTuple):
    """A piece that came, or went, at a line; `reserved` is what PyTorch holds of the card then."""

    line: Line
    piece: Piece
    came: bool
    reserved: int


@dataclass
class Watched:
    """What was seen: the events in their order, the source of the lines, the refusal with its line, the optimizer's steps."""

    setting: dict[str, Any]
    events: list[Event] = field(default_factory=list)
    sources: dict[int, str] = field(default_factory=dict)
    refused: tuple[Line, str] | None = None
    steps: int = 0


class Account(Ledger):
    """A card's memory as PyTorch's allocator counts it, which tells of each piece."""

    def __init__(self, card: Card, index: int, told: "Watching") -> None:
        super().__init__(card, index)
        self.told = told

    def take(self, nbytes: int) -> Token | None:
        """Occupy memory, and tell of the piece; of its end as well."""
        with self._lock:
            self._collect()
        before = self.used.bytes
        try:
            token = super().take(nbytes)
        except torch.OutOfMemoryError:
            self.told.refused(self.segments.bytes)
            raise
        if token is not None:
            self.told.came(token, self.used.bytes - before, self.segments.bytes)
        return token


class NothingKept(Undo):
    """Puts back what the training could reach before it ran. What it makes is its own, and must be free to die."""

    is_complete = False

    def __init__(self, *roots: Any) -> None:
        super().__init__(*roots)
        self.is_complete = True

    def walk(self, *roots: Any, **how: Any) -> None:
        """Remember nothing that comes later: it would keep gradients alive."""
        if not self.is_complete:
            super().walk(*roots, **how)


class Watching(Run):
    """One run of a training on a card of its true size."""

    def __init__(self, card: Card, undo: Undo, budget: float, found: Watched, code: CodeType) -> None:
        super().__init__(card, undo, budget)
        self.found, self._code, self._line = found, code, (code.co_firstlineno, 0)
        self._is_running, self.refused_at = False, 0
        self._pieces: dict[int, Piece] = {}  # by the id of the token, while it lives
        self._refs: dict[int, weakref.ref[Token]] = {}
        self.kinds = Kinds(self._name)

    def ledger(self, index: int) -> Ledger:
        """Return the account of a card that has an end."""
        return Account(self.card, index, self)

    def came(self, token: Token, nbytes: int, reserved: int) -> None:
        """Note a piece that came."""
        piece, number = Piece(nbytes, self.kinds.newborn), id(token)
        self._pieces[number] = piece
        self.found.events.append(Event(self.line(), piece, True, reserved))
        self._refs[number] = weakref.ref(token, lambda _: self._went(number))

    def refused(self, reserved: int) -> None:
        """Note what is reserved where a piece was refused: the allocator has given back by then what it could."""
        line = self.line()
        if self._is_running:  # else something that tidies up after it
            self.found.events.append(Event(line, Piece(0, PASSING), True, reserved))
            self.refused_at = len(self.found.events)

    def _went(self, number: int) -> None:
        piece = self._pieces.pop(number)
        del self._refs[number]
        line = self.line()
        if self._is_running:  # what the function's end lets go of is no line's doing
            self.found.events.append(Event(line, piece, False, self.found.events[-1].reserved))

    def _name(self, tensor: torch.Tensor, kind: str) -> None:
        piece = self._pieces.get(id(getattr(tensor.untyped_storage(), "_token", None)))
        if piece is not None:
            piece.kind = kind

    def line(self) -> Line:
        """Return the innermost line of the training's file that is being run; where none is, the last one.

        Forward passes of modules do not count, and nothing does that runs after the training itself has ended.
        """
        frame: FrameType | None = sys._getframe(1)
        at = 0
        while frame is not None:
            if frame.f_code.co_filename == self._code.co_filename:
                at = at or (0 if _in_module(frame) else frame.f_lineno)
                if frame.f_code is self._code:
                    break
            frame = frame.f_back
        self._is_running = frame is not None
        if self._is_running and at:
            self._line = at, self.kinds.steps
        return self._line


def _in_module(frame: FrameType) -> bool:
    """Say whether a frame is a module's method; the locals of others are left alone, since asking for them would hold them."""
    return frame.f_code.co_varnames[:1] == ("self",) and isinstance(frame.f_locals.get("self"), nn.Module)


def watched(train: Callable[..., object], setting: dict[str, Any], card: Card, budget: float) -> Watched:
    """Run a training without computing, and return what happened to the card's memory."""
    code = getattr(train, "__code__", None)
    if code is None:
        raise InputError(
            "memory reads the lines of a function that is written in Python: give one made by `def`."
        )
    found = _run(train, setting, card, budget, code, moved=False)
    if not found.events and found.refused is None:  # it names no card: all of it counts as on this one
        found = _run(train, setting, card, budget, code, moved=True)
    if not found.events and found.refused is None:
        raise InputError(
            "The function made nothing that a card would hold. Let it make the model and train two steps."
        )
    text = lines_of(code.co_filename, getattr(train, "__globals__", {}))
    numbers = {event.line[0] for event in found.events} | ({found.refused[0][0]} if found.refused else set())
    found.sources = {
        number: text[number - 1].strip() if number <= len(text) else "" for number in sorted(numbers)
    }
    return found


def _run(
    train: Callable[..., object],
    setting: dict[str, Any],
    card: Card,
    budget: float,
    code: CodeType,
    moved: bool,
) -> Watched:
    found = Watched(setting)
    run = Watching(card, NothingKept(train, setting), budget, found, code)
    with run.stage(moved, []), run.kinds.heard():
        try:
            train(**setting)
            run.kinds.settle()
        except torch.OutOfMemoryError as error:
            run.kinds.settle()
            found.events = found.events[: run.refused_at]  # what died since, the error let go of
            found.refused = (_raised_at(error, code, run.kinds.steps) or run.line()), str(error)
        found.steps = run.kinds.steps
    return found


def _raised_at(error: BaseException, code: CodeType, steps: int) -> Line | None:
    """Return the last line of the training's file in a traceback, forward passes of modules not counted."""
    at, tb = None, error.__traceback__
    while tb is not None:
        frame = tb.tb_frame
        if frame.f_code.co_filename == code.co_filename and not isinstance(
            frame.f_locals.get("self"), nn.Module
        ):
            at = tb.tb_lineno, steps
        tb = tb.tb_next
    return at
