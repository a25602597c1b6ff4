"""A picture that grows in the notebook while a block runs: inline HTML, because drawing must cost the work little."""

import time
from typing import TYPE_CHECKING, Any

from devicelab import units
from devicelab.html import escape

from .words import share

if TYPE_CHECKING:
    from . import Sampler

PAUSE = 0.5  # seconds between two drawings
COLUMNS = 60  # samples to look back on
HEIGHT = 28  # pixels
CPU_COLOUR, GPU_COLOUR, BACK = "#0072B2", "#D55E00", "#eeeeee"


class Live:
    """Draws the samples of a sampler again and again; outside of a notebook it does nothing."""

    def __init__(self) -> None:
        self._drawn, self._handle = time.perf_counter(), None
        if _in_notebook():
            from IPython.display import HTML, display

            self._html: Any = HTML
            self._handle = display(HTML("<p>Watching.</p>"), display_id=True)

    def show(self, sampler: "Sampler", last: bool) -> None:
        """Draw, unless it was done just now."""
        now = time.perf_counter()
        if self._handle is not None and (last or now - self._drawn > PAUSE):
            self._drawn = now
            self._handle.update(self._html(picture(sampler)))


def picture(sampler: "Sampler") -> str:
    """Return the load of the last samples as HTML: a strip for the cores, one for the GPU."""
    samples = sampler.samples[-COLUMNS:]
    cores = [sum(sample.cpu) / len(sample.cpu) for sample in samples if sample.cpu]
    rows = [
        _row(
            "CPU, all cores (measured)",
            cores,
            CPU_COLOUR,
            _each(next((s.cpu for s in reversed(samples) if s.cpu), ())),
        )
    ]
    if sampler.queue is not None:
        bins = sampler.queue.bins()
        busy, about = _thinned([bin.gpu or 0.0 for bin in bins]), _about(bins[-1] if bins else None)
        rows.append(_row(f"{sampler.queue.name} (simulated seconds)", busy, GPU_COLOUR, about))
    elif sampler.gpu.device != "cpu":
        busy = [sample.gpu for sample in samples if sample.gpu is not None]
        rows.append(_row(f"{sampler.gpu.name} (measured)", busy, GPU_COLOUR, _about(samples[-1])))
    return "".join(rows)


def _each(cores: tuple[float, ...]) -> str:
    return "each: " + " ".join(f"{100 * core:.0f}" for core in cores[:64]) + " %" if cores else "not readable"


def _about(sample: Any) -> str:
    if sample is None:
        return ""
    memory = "" if sample.memory is None else f"{units.size(sample.memory)} taken"
    power = "" if sample.power is None else f"{sample.power:.0f} W"
    return ", ".join(word for word in (memory, power) if word)


def _thinned(values: list[float]) -> list[float]:
    """Return at most COLUMNS values, each the mean of neighbours."""
    step = -(-len(values) // COLUMNS) or 1
    groups = [values[i : i + step] for i in range(0, len(values), step)]
    return [sum(group) / len(group) for group in groups]


def _row(name: str, values: list[float], colour: str, about: str) -> str:
    now = share(values[-1]) if values else "nothing to read"
    bars = "".join(
        f'<span style="display:inline-block;width:5px;height:{max(1, round(HEIGHT * value))}px;background:{colour}"></span>'
        for value in values
    )
    strip = f'<div style="height:{HEIGHT}px;line-height:{HEIGHT}px;background:{BACK};width:{5 * COLUMNS}px">{bars}</div>'
    return f"<div>{escape(name)}: {now} busy. {escape(about)}</div>{strip}"


def _in_notebook() -> bool:
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")
