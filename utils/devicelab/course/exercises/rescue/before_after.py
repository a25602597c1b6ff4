"""The end of the capstone: the script as it was and the learner's, side by side, with what each fault cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from devicelab import devices, units
from devicelab.course.guard import on_a_gpu, unchanged
from devicelab.course.looking import Seen
from devicelab.picture import Moving, Picture
from devicelab.trace import Trace

from .expected import EPOCHS, card, fresh
from .faults import FAULTS, SHOWS, rescued
from .lights import MENDED, THERE, UNKNOWN, Lights, lights
from .running import Ran, text_of
from .still import still

SLOW = [fault for fault in FAULTS if fault.shows == SHOWS[-1]]
COSTS = {  # what a fault costs that takes no time of a step
    "stops training": "every step: no run comes past it",
    "stops a resume": "every resume: an interrupted run is lost",
    "stops elsewhere": "every machine without a GPU: it cannot open the checkpoint",
}
STATES = {
    MENDED: "mended. It cost",
    THERE: "still in the file. It costs",
    UNKNOWN: "not seen yet, the run does not come so far. It costs",
}
NOTE = (
    "As given: with its six errors mended, since before that no step was taken. Hatched: the CPU waits. The darker, the "
    "earlier in the step: forward, backward, optimizer, the rest."
)
AFTER = (3, 4)  # a step is drawn from the beginning of this forward pass to that one: the first ones warm up


def before_after(path: str | Path) -> "BeforeAfter":
    """Run a copy of the capstone's script, and show what became of its eight faults and what they cost."""
    text = text_of(path)
    with on_a_gpu([]), unchanged():
        present, name = devices.present(), card()
        return BeforeAfter(Path(path).name, lights(text), _ladder(name), present.origin, name)


@lru_cache(maxsize=4)
def _ladder(name: str) -> tuple[Ran, ...]:
    """Run the mended script on the present GPU, then with the slow faults put back, one more each time."""
    fresh(rescued(), 1)  # what only a first run takes
    return tuple(fresh(rescued(*SLOW[:count]), EPOCHS) for count in range(len(SLOW) + 1))


@dataclass(frozen=True, repr=False)
class BeforeAfter(Moving):
    """The script as it was given out, once its six errors are mended, beside the learner's file."""

    name: str
    found: Lights
    ladder: tuple[Ran, ...]
    origin: str
    card: str
    module = "rescue"

    @property
    def mended(self) -> int:
        """How many of the eight faults are mended."""
        return self.found.states.count(MENDED)

    @cached_property
    def costs(self) -> tuple[float, ...]:
        """Seconds that each slow fault adds to a step: measured by putting it back beside those before it."""
        return tuple(max(0.0, later.step - earlier.step) for earlier, later in pairwise(self.ladder))

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        faults = f"{self.mended} of the {len(FAULTS)} faults {'is' if self.mended == 1 else 'are'} mended"
        if self.found.ran is None:
            return f"{faults}, and {self.name} does not train yet: {self.found.problem.splitlines()[0]}"
        before, now = self.ladder[-1], self.found.ran
        lent = (
            f" (and {self.found.lent} for this run alone, that it comes to an end)" if self.found.lent else ""
        )
        return (
            f"{faults}{lent}. A step takes {units.seconds(now.step)}; it took {units.seconds(before.step)}. "
            f"In {EPOCHS} epochs the CPU waits {_waits(now.trace):,} times for a value; it waited {_waits(before.trace):,} times."
        )

    @property
    def result(self) -> str:
        """Whether the result is the one that the same training gives."""
        if self.found.ran is None:
            return "no result yet"
        return self.found.problem or "the losses and metrics that the same training gives"

    def said(self, number: int) -> str:
        """Return what is said of one fault."""
        name, state = FAULTS[number].name, STATES[self.found.states[number]]
        line = self.found.lines.get(name)
        seen = f" Most of it at {line}." if line else ""
        return f"{number + 1} `{name}`: {state} {self.cost(number)}.{seen}"

    def cost(self, number: int) -> str:
        """Return what one fault costs, in words."""
        fault = FAULTS[number]
        if fault not in SLOW:
            return COSTS[fault.shows]
        at = SLOW.index(fault)
        waits, copies = (_more(self.ladder[at : at + 2], count) for count in (_waits, _copies))
        why = f"{waits} waits" if waits else f"{copies} copies"
        return f"{units.seconds(self.costs[at])} of every step, by {why} in {EPOCHS} epochs"

    def data(self) -> dict[str, Any]:
        """Return what the moving picture is drawn from: times in microseconds."""
        left = [
            state == THERE for fault, state in zip(FAULTS, self.found.states, strict=True) if fault in SLOW
        ]
        runs = [("as given", self.ladder[-1], [True] * len(SLOW))]
        runs += [(self.name, self.found.ran, left)] if self.found.ran else []
        return {
            "question": "What did the faults cost?",
            "card": f"{self.origin} {self.card}",
            "say": self.sentence,
            "origin": self.origin,
            "note": NOTE,
            "bars": [self._bar(name, ran, has) for name, ran, has in runs],
            "lanes": [_lanes(name, ran.trace) for name, ran, _ in runs],
            "lights": [self._light(number) for number in range(len(FAULTS))],
            "result": self.result,
        }

    def _bar(self, name: str, ran: Ran, has: Sequence[bool]) -> dict[str, Any]:
        """Return a step as one bar: the work, then what each slow fault that it has adds to it."""
        costs = zip(SLOW, self.costs, has, strict=True)
        pieces = [[FAULTS.index(fault), _micro(cost)] for fault, cost, there in costs if there]
        work = max(0.0, _micro(ran.step) - sum(cost for _, cost in pieces))
        return {"name": name, "text": units.seconds(ran.step), "pieces": [[-1, round(work, 1)], *pieces]}

    def _light(self, number: int) -> dict[str, Any]:
        fault = FAULTS[number]
        return {
            "name": fault.name,
            "state": self.found.states[number],
            "slow": fault in SLOW,
            "cost": self.cost(number),
            "say": self.said(number),
        }

    def still(self) -> Picture:
        """Return the one picture that says the same where nothing moves. Needs matplotlib."""
        return still(self.data(), str(self))

    def __str__(self) -> str:
        slow = [number for number, fault in enumerate(FAULTS) if fault in SLOW]
        rest = [number for number, fault in enumerate(FAULTS) if fault not in SLOW]
        return "\n".join(
            [
                f"{self.sentence} [{self.origin}, {self.card}]",
                "  Costs time:",
                *(f"    {self.said(number)}" for number in slow),
                "  Costs no time, costs the result:",
                *(f"    {self.said(number)}" for number in rest),
                f"  The result: {self.result}.",
            ]
        )


def _waits(trace: Trace) -> int:
    return Seen(None, trace).waits.count


def _copies(trace: Trace) -> int:
    return Seen(None, trace).copies("cpu", "cuda").count


def _more(runs: tuple[Ran, ...], count: Any) -> int:
    """Return how many more of something the second run has than the first."""
    first, second = (count(ran.trace) for ran in runs)
    return max(0, second - first)


def _micro(seconds: float) -> float:
    return round(1e6 * seconds, 1)


def _lanes(name: str, trace: Trace) -> dict[str, Any]:
    """Return one step as lanes: for each device its operators, copies and waits, from one forward pass to the next."""
    begins, last = [], "optimizer"
    for event in trace.events:
        if event.phase in ("forward", "backward", "optimizer"):
            if event.phase == "forward" and last == "optimizer":
                begins.append(event.begin)
            last = event.phase
    begin, end = (begins[number] for number in AFTER) if len(begins) > max(AFTER) else (0.0, trace.seconds)
    inside = [event for event in trace.events if begin <= event.begin < end]
    rows = [
        {
            "device": device,
            "events": [
                [_micro(event.begin - begin), _micro(event.seconds), event.phase]
                for event in inside
                if event.device == device
            ],
        }
        for device in sorted({event.device for event in inside})
    ]
    return {"name": name, "seconds": _micro(end - begin), "rows": rows}
