"""What an estimate returns."""

from dataclasses import dataclass
from typing import Any

from devicelab import html, units
from devicelab.devices import Origin
from devicelab.errors import InputError
from devicelab.gpus import Card
from devicelab.picture import Shown
from devicelab.simgpu.machine.memory import CONTEXT

TERA, GIGA = 1e12, 1e9
SHOWN = 0.001  # of the whole; a smaller part is left out of the text
BOUNDS = {
    "launch": "launching: the card waits for the host, which starts many short kernels",
    "compute": "arithmetic",
    "memory": "memory traffic on the card",
    "transfer": "copies between host and card",
    "host": "operators that run on the CPU",
}


@dataclass(frozen=True, repr=False)
class Estimate(Shown):
    """What a call would take on a card, in seconds, from an idle card to an idle card.

    `launch`, `compute`, `memory`, `transfer` and `host` add up to `seconds`: the time that the card waits for the host or
    spends on the floor of each kernel, its arithmetic, its memory traffic, the link, and operators on the CPU. `forward`,
    `backward` and `optimizer` add up to it too. `bytes` is the traffic of the card's memory, `copied` that of the link.
    `submit` is the seconds that the host needs to give its orders, `work` those that the card works on them: both run at once,
    so they add up to nothing. `peak_memory` is the most that tensors occupy at one time, in bytes. Nothing was computed and,
    but for the host where `host_note` says so, nothing measured.
    """

    seconds: float
    low: float
    high: float
    launch: float
    compute: float
    memory: float
    transfer: float
    host: float
    forward: float
    backward: float
    optimizer: float
    flops: float
    bytes: int
    copied: int
    peak_memory: int
    operators: int
    synchronizations: int
    steps: int
    submit: float
    work: float
    card: Card
    notes: tuple[str, ...] = ()
    origin: Origin = "estimated"
    host_note: str = "a nominal host"

    @property
    def bound(self) -> str:
        """Return the name of the part that takes the longest: "launch", "compute", "memory", "transfer" or "host"."""
        return max(BOUNDS, key=lambda name: getattr(self, name))

    @property
    def fits(self) -> bool:
        """Say whether the tensors and the CUDA context find room on the card; fragments and workspaces come on top."""
        return self.peak_memory + CONTEXT <= self.card.total_memory

    def against(self, timing: Any) -> float:
        """Return estimated seconds / measured seconds; `timing` is a Timing that was measured or recorded.

        A simulated time is refused: the same model makes both numbers, so their agreement would prove nothing.
        """
        origin, seconds = getattr(timing, "origin", None), getattr(timing, "median", None)
        if origin is None or seconds is None:
            raise InputError(
                f"against() needs a Timing, as lab.timeit returns it on a real GPU, but it got {type(timing).__name__}."
            )
        if origin not in ("measured", "recorded", "published"):
            raise InputError(
                f"This time is {origin}, by the same model as the estimate, so comparing them proves nothing. Compare with a "
                f"time that was measured or recorded on a real {self.card.name}."
            )
        if timing.name != self.card.name:
            raise InputError(
                f'This time is of "{timing.name}", the estimate of "{self.card.name}". Estimate for the card that was measured.'
            )
        return self.seconds / seconds

    @property
    def lines(self) -> list[str]:
        """The text, line by line: the answer, what it consists of, what the card must hold, and what to know."""
        span = f"{units.span(self.low, self.high, self.seconds)} {units.seconds(self.seconds).split()[-1]}"
        lines = [
            f"About {units.seconds(self.seconds)} on {self.card.name} ({span}), bound by {BOUNDS[self.bound]} [estimated].",
            f"{self._list(*BOUNDS)}; on {self.host_note}",
            f"{self._list('forward', 'backward', 'optimizer')}; {self.operators:,} operators"
            + (f", {self.steps:,} optimizer steps" if self.steps > 1 else ""),
            f"{_count(self.flops)}; {units.size(self.bytes)} through the card's memory"
            + (f", {units.size(self.copied)} over the link" if self.copied else "")
            + (f"; the host waits {_times(self.synchronizations)}" if self.synchronizations else ""),
            self._room,
        ]
        return [line for line in [*lines, *self.notes] if line][:8]

    def _list(self, *names: str) -> str:
        return ", ".join(f"{name} {units.seconds(getattr(self, name))}" for name in self._shown(*names))

    def _shown(self, *names: str) -> list[str]:
        return [name for name in names if getattr(self, name) > SHOWN * self.seconds]

    @property
    def _room(self) -> str:
        needs, total = units.size(self.peak_memory), units.size(self.card.total_memory)
        if self.fits:
            return f"Needs about {needs} of the card's {total}."
        return f"Needs about {needs}: too much for the card's {total}. On it, this call ends in an out-of-memory error."

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_html_(self) -> str:
        first, *rest = (
            f"<p>{html.escape(line)}</p>" for line in self.lines if not line.startswith(self._list(*BOUNDS))
        )
        parts = [
            (name, units.seconds(part), f"{100 * part / self.seconds:.0f} %", BOUNDS[name])
            for name in self._shown(*BOUNDS)
            for part in [getattr(self, name)]
        ]
        table = html.table(("Part", "Estimated", "Of the whole", "Spent on"), parts) if parts else ""
        return "".join([first, table, *rest])

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON; times in seconds, sizes in bytes."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "card"}
        return data | {
            "card": self.card.name,
            "bound": self.bound,
            "fits": self.fits,
            "notes": list(self.notes),
        }


def _count(flops: float) -> str:
    for scale, name in ((TERA, "TFLOP"), (GIGA, "GFLOP"), (1e6, "MFLOP"), (1e3, "kFLOP")):
        if flops >= scale:
            return f"{units.digits(flops / scale)} {name}"
    return f"{flops:.0f} FLOP"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
