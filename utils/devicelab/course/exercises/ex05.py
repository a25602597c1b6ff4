"""The checks of exercise 05: is it faster?"""

import math
import sys
from statistics import mean, median
from typing import Any

import torch
from torch import nn, optim

from devicelab import units
from devicelab.course.looking import is_on, same_values, short, times, watch
from devicelab.course.looking.predict import prediction
from devicelab.course.question import NotYet, exercise
from devicelab.devices import clock
from devicelab.estimate import estimate
from devicelab.gpus import find
from devicelab.source import line_at

# --- 1: a stopwatch -----------------------------------------------------------------------------------------------

_UNIT = 1_500_000  # clock cycles, about a millisecond of a card's work
_CALLS = (40, 1, 4, 30, 2, 6)  # units of work: the first call loads things, the fourth is disturbed
_NEAR = 0.1  # relative: a real card's spans vary, and the nearest wrong value is a quarter off


class _Work:
    """Keeps the GPU busy for another span in each call, and notes whether something was still queued before it."""

    def __init__(self, scale: int):
        self.scale, self.calls = scale, 0
        self.billed = ""  # a call that began while the GPU was still at earlier work

    def __call__(self) -> None:
        busy = not torch.cuda.current_stream().query()
        if busy and self.calls and not self.billed:
            frame = sys._getframe(1)
            self.billed = f"call {self.calls + 1} ({line_at(frame.f_code.co_filename, frame.f_lineno)})"
        units_of_work = _CALLS[self.calls] if self.calls < len(_CALLS) else _CALLS[-1]
        self.calls += 1
        torch.cuda._sleep(self.scale * units_of_work * _UNIT)


def _true_spans(work: _Work) -> list[float]:
    """Return the seconds of each call, timed as it should be."""
    spans = []
    for _ in _CALLS:
        torch.cuda.synchronize()
        start = clock()
        work()
        torch.cuda.synchronize()
        spans.append(clock() - start)
    return spans


def _judge_seconds(seconds) -> None:
    for scale in (1, 2):
        spans, work = _true_spans(_Work(scale)), _Work(scale)
        torch.cuda._sleep(100 * _UNIT)  # others' work: the queue is full when the stopwatch begins
        seen = watch(seconds, work)
        got = seen.value
        if isinstance(got, torch.Tensor) or not isinstance(got, (int, float)):
            raise NotYet(f"The seconds of one call were asked for, as a Python number; it is {short(got)}.")
        if work.calls != len(_CALLS):
            raise NotYet(
                f"work() was called {times(work.calls)}; six were asked for: one that does not count, and five that do."
            )
        if work.billed:
            raise NotYet(
                f"When {work.billed} began, the GPU was still at what came before. On whose bill is that time?"
            )
        _compare_seconds(got, spans, waited=seen.waits.count >= len(_CALLS) - 1)
    torch.cuda.synchronize()


def _compare_seconds(got: float, spans: list[float], waited: bool) -> None:
    counted, right = spans[1:], median(spans[1:])
    if math.isclose(got, right, rel_tol=_NEAR):
        return
    said = f"It says {units.seconds(got)}"
    mistakes = (
        (mean(counted), "which is the mean. One of the five calls was disturbed. Should it count so much?"),
        (mean(spans), "which is the mean of all six calls, the slow first one among them."),
        (median(spans), "which counts the first call too. That one loads what the others find ready."),
        (min(counted), "which is the fastest call. The one in the middle was asked for."),
        (max(counted), "which is the slowest call. The one in the middle was asked for."),
        (sum(counted), "which is all five calls together. One was asked for."),
    )
    for value, text in mistakes:
        if math.isclose(got, value, rel_tol=_NEAR):
            raise NotYet(f"{said}, {text}")
    if got < min(counted) / 2:
        if waited:
            raise NotYet(
                f"{said}, but no call was that short. The GPU had finished, for you waited: it is the clock that does not "
                "see this card's time. Which one did the task name?"
            )
        raise NotYet(
            f"{said}, but no call was that short. Had the GPU finished when the clock was read again?"
        )
    raise NotYet(
        f"{said}, but the middle one of the five takes {units.seconds(right)}. What else lies between your two readings?"
    )


# --- 2: what a data sheet allows ------------------------------------------------------------------------------------

_SIDE, _LONG, _BATCH = 4096, 100_000_000, 64 * 3 * 256 * 256
_FLOAT = 4  # bytes of a float32


def _least_seconds() -> dict[str, float]:
    t4, l4 = find("Tesla T4"), find("NVIDIA L4")
    return {
        "a": 2 * _SIDE**3 / t4.fp32,
        "b": 3 * _FLOAT * _LONG / l4.bandwidth,
        "c": _FLOAT * _BATCH / (t4.link or math.nan),
    }


def _mistakes(name: str) -> tuple[tuple[float, str], ...]:
    """Return wrong ways to the number, by what they give, with what to ask about each."""
    t4, l4 = find("Tesla T4"), find("NVIDIA L4")
    once = _FLOAT * _LONG / l4.bandwidth
    return {
        "a": (
            (_SIDE**3 / t4.fp32, "half of the operations. What is done with each product of two numbers?"),
            (
                3 * _FLOAT * _SIDE**2 / t4.bandwidth,
                "the time for the matrices to pass through memory. And the arithmetic?",
            ),
        ),
        "b": (
            (_LONG / l4.fp32, "the arithmetic alone. How do the numbers get to it, and where does c go?"),
            (once, "one vector. How many are read, and how many written?"),
            (2 * once, "two vectors. How many are read, and how many written?"),
        ),
        "c": (
            (
                _FLOAT * _BATCH / t4.bandwidth,
                "the speed of the card's own memory. Where does the batch come from?",
            ),
            (_BATCH / (t4.link or math.nan), "one byte for each number. How many has a float32?"),
        ),
    }[name]


def _compare_least(name: str, got: Any, wanted: float) -> str:
    if not isinstance(got, (int, float)):
        return f"For {name} a number of seconds was asked for, but it is {short(got)}."
    if math.isclose(got, wanted, rel_tol=0.05):
        return ""
    allowed = f"For {name} you allow {units.seconds(got)}"
    for value, text in _mistakes(name):
        if math.isclose(got, value, rel_tol=0.05):
            return f"{allowed}. That is {text}"
    if math.isclose(got, 1000 * wanted, rel_tol=0.05):
        return f"{allowed}: the right digits, but in milliseconds. Seconds were asked for."
    more = "more" if got < wanted else "less"
    return f"{allowed}; the card needs {more}. Count operations and bytes anew, and ask which road the bytes take."


_judge_least = prediction(_least_seconds, _compare_least)

# --- 3: what takes the time -----------------------------------------------------------------------------------------

_BOUNDS_WHY = {
    "a": "A hundred rows of ten numbers: how much is there to do for each of its operators?",
    "b": "How many operations are done with each number that is read, and what becomes of the result?",
    "c": "What has to happen before the mean can begin?",
    "d": "How often is each number of the matrix used?",
}


def _bounds() -> dict[str, str]:
    """Estimate the four steps on a Tesla T4, on tensors without memory, and return what takes the longest in each."""
    with torch.device("meta"):
        model, data, labels = nn.Linear(10, 2), torch.empty(100, 10), torch.empty(100, 2)
        matrix, numbers = torch.empty(_SIDE, _SIDE), torch.empty(_LONG)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    pictures = torch.empty(64, 3, 256, 256)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(data), labels).backward()
        optimizer.step()

    steps = {
        "a": step,
        "b": lambda: numbers.exp(),
        "c": lambda: pictures.to("cuda").mean((1, 2, 3)),
        "d": lambda: matrix @ matrix,
    }
    return {name: estimate(fn, gpu="Tesla T4").bound for name, fn in steps.items()}


_judge_bounds = prediction(
    _bounds,
    lambda name, said, _: (
        f"{name} was estimated for a T4, and {said} is not what takes the longest. {_BOUNDS_WHY[name]}"
    ),
    words=("launch", "compute", "memory", "transfer"),
)

# --- 4: fewer, larger operators -------------------------------------------------------------------------------------

_FEW, _MANY = 6, 24  # members


def _members(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(count, 10, 4), torch.randn(count, 4), torch.randn(50, 10)


def _votes(weights: torch.Tensor, biases: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    members = zip(weights, biases, strict=True)
    return torch.stack([(x @ weight + bias).softmax(dim=1) for weight, bias in members]).mean(0)


def _judge_predict(predict) -> None:
    launched: dict[tuple[str, int], Any] = {}
    for device, count in (("cuda", _FEW), ("cuda", _MANY), ("cpu", _FEW)):
        given = _members(count)
        seen = watch(predict, *given, device)
        up, back = seen.copies("cpu", "cuda"), seen.copies("cuda", "cpu")
        seen.at_most(
            len(given), up, f"For {count} members data went to the GPU", "How few journeys would do?"
        )
        seen.at_most(1, back, "Results came back to the CPU", "Only the mean was asked for.")
        seen.ran_on(device, f"With device={device!r} the work")
        is_on(seen.value, "cpu", "What predict returned")
        same_values(seen.value, _votes(*given), "What predict returned")
        launched[device, count] = seen.operators(device)
    few, many = launched["cuda", _FEW], launched["cuda", _MANY]
    if many.count > few.count:
        raise NotYet(
            f"{_FEW} members launched operators {few.count} times, {_MANY} members {many}. "
            "Each launch costs the CPU the same, however little it does. Which of them grow with the members?"
        )


questions = q1, q2, q3, q4 = exercise(5, _judge_seconds, _judge_least, _judge_bounds, _judge_predict)
