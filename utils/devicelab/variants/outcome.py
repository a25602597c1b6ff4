"""What came of each variant, as one table with a few sentences below it."""

import json
import math
import platform
from dataclasses import asdict, dataclass

import torch

from devicelab import html, units
from devicelab.picture import Shown, columns
from devicelab.results import Timing, ahead


@dataclass(frozen=True)
class Variant:
    """One variant's outcome: a timing and a loss, or the error and the line that raised it, or why it did not run."""

    name: str
    device: str
    label: str
    timing: Timing | None = None
    loss: float | None = None
    error: str | None = None
    line: str | None = None
    skipped: str | None = None

    @property
    def cells(self) -> list[str]:
        """Where it ran, its time and its rate, for a table."""
        if not self.timing:
            return [self.device, "-", "-"]
        return [self.device, self.timing.text, f"{self.timing.per_second:,.0f}"]


class Table(Shown):
    """Variants side by side; `str()` and HTML show one table with its sentences, `to_json()` everything."""

    variants: tuple[Variant, ...]

    @property
    def title(self) -> str:
        """What is compared, in words."""
        raise NotImplementedError

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        raise NotImplementedError

    def __getitem__(self, name: str) -> Variant:
        return next(variant for variant in self.variants if variant.name == name)

    def rows(self) -> list[list[str]]:
        """Return the table's rows as text."""
        raise NotImplementedError

    @property
    def verdict(self) -> list[str]:
        """Who is ahead, and what stopped, in words."""
        raise NotImplementedError

    @property
    def sentences(self) -> list[str]:
        """What the table says, in words."""
        timings = [variant.timing for variant in self.variants if variant.timing]
        return [*self.verdict, *dict.fromkeys(timing.caution for timing in timings if timing.caution)]

    def __str__(self) -> str:
        rows = [self.header, *self.rows()]
        rule = ["-" * max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join([self.title, *columns([rows[0], rule, *rows[1:]]), *self.sentences])

    def _repr_html_(self) -> str:
        return html.table(self.header, self.rows(), self.title) + html.paragraphs("\n".join(self.sentences))

    def to_dict(self) -> dict[str, object]:
        """Return plain data: versions, and each variant with its raw samples in seconds."""
        versions = {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        }
        variants = [{**asdict(v), "timing": v.timing.to_dict() if v.timing else None} for v in self.variants]
        return {"versions": versions, "variants": variants}

    def to_json(self) -> str:
        """Return everything as JSON text."""
        return json.dumps(_finite(self.to_dict()), indent=2)


def _finite(data: object) -> object:
    """JSON has no NaN: say it as a string."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_finite(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data


def lead(names: tuple[str, str], timings: tuple[Timing, Timing]) -> tuple[str, str, str] | None:
    """Return who is ahead, by what factor and how we know it; None where nobody clearly is."""
    first, second = timings
    faster = ahead(first, second)
    if faster is None:
        return None
    slower, name = (second, names[0]) if faster is first else (first, names[1])
    about = "about " if first.busy or second.busy else ""
    return name, f"{about}{units.digits(slower.median / faster.median)}", how_known(names, timings)


def how_known(names: tuple[str, str], timings: tuple[Timing, Timing]) -> str:
    """Return where the two times come from, in words."""
    first, second = (timing.origin for timing in timings)
    if first == second == "measured":
        return "measured on both"
    both = f"both {first}" if first == second else f"{names[0]} {first}, {names[1]} {second}"
    return f"{both}: an estimate, not a proof"
