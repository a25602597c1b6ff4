"""The learner's own functions side by side: where each really ran, how long a call takes, and where one stops."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devicelab import devices
from devicelab.errors import InputError, check_range
from devicelab.source import own_lines
from devicelab.timing import check_function, timeit

from .outcome import Table, Variant, lead

MOST = 6  # functions, so that the table stays readable
Fn = Callable[[], object]


@dataclass(frozen=True, repr=False)
class FunctionComparison(Table):
    """Functions side by side."""

    variants: tuple[Variant, ...]

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        return ["Function", "Ran on", "One call", "Calls/s", "How we know"]

    @property
    def title(self) -> str:
        """What is compared, in words."""
        return "One call of each"

    def rows(self) -> list[list[str]]:
        """Return the table's rows as text."""
        return [[v.name, *v.cells, "stopped" if v.error else v.label] for v in self.variants]

    @property
    def verdict(self) -> list[str]:
        """Who is ahead of whom, and what stopped, in words."""
        timed = sorted(
            (v for v in self.variants if v.timing), key=lambda v: v.timing.median if v.timing else 0
        )
        stopped = [f'"{v.name}" stops at `{v.line}`:\n  {v.error}' for v in self.variants if v.error]
        return [*(_against(timed[0], other) for other in timed[1:]), *stopped]


def _against(fastest: Variant, other: Variant) -> str:
    """Say by how much the fastest is ahead of another, where that can be said."""
    assert fastest.timing and other.timing
    names = f'"{fastest.name}"', f'"{other.name}"'
    ahead = lead(names, (fastest.timing, other.timing))
    if ahead is None and (fastest.timing.busy or other.timing.busy):
        return f"{names[0]} or {names[1]}: which is ahead cannot be said on a busy machine."
    if ahead is None:
        return f"{names[0]} and {names[1]}: no clear winner, their ranges overlap."
    _, factor, known = ahead
    return f"{names[0]} is ahead of {names[1]} by a factor of {factor} ({known})."


def compare_functions(functions: Mapping[str, Fn], repeats: int | None) -> FunctionComparison:
    """Time each function by `timeit`; an error of one becomes part of the result."""
    check_range("the number of functions", len(functions), 1, MOST)
    if repeats is not None:
        check_range("repeats", repeats, 1, 100_000)
    for name, fn in functions.items():
        check_function(fn, f"compare, for {name!r},")
    return FunctionComparison(tuple(_variant(str(name), fn, repeats) for name, fn in functions.items()))


def _variant(name: str, fn: Fn, repeats: int | None) -> Variant:
    try:
        timing = timeit(fn, repeats=repeats)
    except InputError:
        raise  # a generator, for example: the words say what to do
    except Exception as error:
        present = devices.present()
        label = f"{present.origin}, {present.type}"
        return Variant(name, "-", label, error=_words(error), line=_own_line(error))
    return Variant(name, timing.device, timing.label, timing)


def _words(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _own_line(error: Exception) -> str:
    """Return the last line of the learner's own code that the error went through."""
    texts = [line.text for line in own_lines(error) if line.text]
    return texts[-1] if texts else "a line that cannot be shown"
