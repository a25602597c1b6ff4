"""What a trace saw: operators, copies and synchronizations by device, phase and line."""

from dataclasses import dataclass
from functools import cached_property

from devicelab.devices import Origin
from devicelab.errors import InputError
from devicelab.source import Line

PHASES = ("forward", "backward", "optimizer")


@dataclass(frozen=True)
class Operator:
    """One operator on one device, in one phase, called from one line: how often, and the seconds it took in all.

    `scalars` says that it is the CPU's bookkeeping: it touched 0-dimensional CPU tensors only, such as the step counter that Adam
    keeps there, or filled one in a backward pass, as DDP does with its list of the parameters in use.
    """

    name: str
    device: str
    phase: str
    line: Line | None
    count: int
    seconds: float
    scalars: bool = False


@dataclass(frozen=True)
class Copy:
    """Copies between two devices from one line: how many, bytes and the link's seconds in all.

    `smallest` and `largest` are the bytes of single copies.
    `pinned` speaks of the host's memory (None: not known); `waits` says whether the host waited for the copy's end;
    `steps` in how many training steps such copies came.
    """

    source: str
    target: str
    nbytes: int
    smallest: int
    largest: int
    pinned: bool | None
    waits: bool
    phase: str
    line: Line | None
    count: int
    seconds: float
    steps: int = 1

    @property
    def direction(self) -> str:
        """From where to where: "cpu -> cuda:0"."""
        return f"{self.source} -> {self.target}"


@dataclass(frozen=True)
class Synchronization:
    """Moments at which the host waited for the card: what made it wait, from which line, how often, seconds in all.

    `steps` says in how many training steps it came.
    """

    kind: str
    phase: str
    line: Line | None
    count: int
    seconds: float
    steps: int = 1


@dataclass(frozen=True)
class Hazard:
    """A buffer of the host that was used from one line while a copy from another may still have been on its way.

    `kind` is "written" or "read", `by` the operator or method that did it, `line` where; `copied` is the line that launched the
    copy, `receives` whether the buffer is its target. Nothing ordered the two: on a card the values depend on who comes first.
    """

    kind: str
    by: str
    line: Line | None
    copied: Line | None
    source: str
    target: str
    receives: bool
    nbytes: int
    count: int

    @property
    def direction(self) -> str:
        """From where to where: "cpu -> cuda:0"."""
        return f"{self.source} -> {self.target}"


@dataclass(frozen=True)
class Event:
    """One operator, copy or wait for the timeline; seconds from the start of the trace.

    A copy's name is its direction, its device the target. `ordered` is when the host began to write the order for work on
    a card, and `ordering` how long it wrote (None and 0.0: no order, or not known).
    """

    name: str
    device: str
    phase: str
    begin: float
    seconds: float
    ordered: float | None = None
    ordering: float = 0.0


@dataclass(frozen=True)
class Phase:
    """One part of training: the devices that computed in it (step counters on the CPU left out), operators, seconds."""

    name: str
    devices: tuple[str, ...]
    count: int
    seconds: float


@dataclass(frozen=True, repr=False)
class Observed:
    """What a trace saw between the start and the end of its block.

    `name` is the present device's, `card` its type ("cpu" where there is no accelerator). `steps` counts optimizer
    steps; optimizers that take turns, as in a GAN, count by their rounds. `seconds` is the length of the block on the
    host's clock. `notes` say what could not be seen. `faults` are errors that operators raised, with their lines,
    whether they were caught or not. `hazards` are uses of the host's buffers that no wait orders behind a copy: only a
    simulated card tells of them. `rank` is that of this process among several, `collectives` how many began, and
    `waited_for` how many seconds it waited at them for each rank that came later: a simulated card tells these two.
    """

    operators: tuple[Operator, ...]
    copies: tuple[Copy, ...]
    synchronizations: tuple[Synchronization, ...]
    events: tuple[Event, ...]
    steps: int
    seconds: float
    origin: Origin
    card: str
    name: str
    notes: tuple[str, ...] = ()
    faults: tuple[tuple[str, Line | None], ...] = ()
    hazards: tuple[Hazard, ...] = ()
    rank: int | None = None
    collectives: int = 0
    waited_for: tuple[tuple[int, float], ...] = ()

    def __getattr__(self, name: str) -> object:
        if name in Observed.__dataclass_fields__:
            raise InputError("This trace is still running: read it after the `with` block has ended.")
        raise AttributeError(f"A trace has no {name!r}.")

    @cached_property
    def phases(self) -> dict[str, Phase]:
        """Forward, backward and optimizer, as far as they were seen."""
        found = {name: self._phase(name) for name in PHASES}
        return {name: phase for name, phase in found.items() if phase.count}

    def _phase(self, name: str) -> Phase:
        operators = [operator for operator in self.operators if operator.phase == name]
        where = sorted({operator.device for operator in operators if not operator.scalars})
        if not where:
            where = sorted({operator.device for operator in operators})
        count, seconds = sum(o.count for o in operators), sum(o.seconds for o in operators)
        return Phase(name, tuple(where), count, seconds)

    @cached_property
    def devices(self) -> tuple[str, ...]:
        """The devices on which operators ran, in alphabetical order; step counters on the CPU left out."""
        return tuple(sorted({operator.device for operator in self.operators if not operator.scalars}))

    @property
    def training(self) -> tuple[str, ...]:
        """The devices that forward, backward and optimizer ran on; empty where nothing was trained."""
        if not {"backward", "optimizer"} & set(self.phases):
            return ()
        return tuple(sorted({device for phase in self.phases.values() for device in phase.devices}))
