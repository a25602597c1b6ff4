"""A picture that grows in the notebook while a block runs: inline HTML, because drawing must cost the work little."""

import time
from typing import Any

from devicelab import units
from devicelab.html import escape
from devicelab.picture import in_notebook

from .queue import Queue
from .result import Sample
from .sampler import Sampler
from .words import share

PAUSE = 0.5  # seconds between two drawings
COLUMNS = 60  # samples to look back on
HEIGHT = 28  # pixels
CPU_COLOUR, GPU_COLOUR, BACK = "#0072B2", "#D55E00", "#eeeeee"


class Live:
    """Draws the samples of a sampler again and again; outside of a notebook it does nothing."""

    def __init__(self) -> None:
        self._drawn, self._handle = time.perf_counter(), None
        if in_notebook():
            from IPython.display import HTML, display

            self._html: Any = HTML
            self._handle = display(HTML("<p>Watching.</p>"), display_id=True)

    def show(self, sampler: Sampler, last: bool) -> None:
        """Draw, unless it was done just now."""
        now = time.perf_counter()
        if self._handle is not None and (last or now - self._drawn > PAUSE):
            self._drawn = now
            self._handle.update(self._html(picture(sampler)))


def picture(sampler: Sampler) -> str:
    """Return the load of the last samples as HTML: a strip for the cores, one for the GPU."""
    return _cpu(sampler) + (_queue(sampler.queue) if sampler.queue is not None else _gpu(sampler))


def _cpu(sampler: Sampler) -> str:
    told = [sample.cpu for sample in sampler.samples[-COLUMNS:] if sample.cpu]
    about = _each(told[-1]) if told else ""
    return _strip("CPU, all cores (measured)", [sum(cores) / len(cores) for cores in told], CPU_COLOUR, about)


def _gpu(sampler: Sampler) -> str:
    samples = sampler.samples[-COLUMNS:]
    if sampler.gpu.device == "cpu":
        return ""
    busy = [sample.gpu for sample in samples if sample.gpu is not None]
    return _strip(f"{sampler.gpu.name} (measured)", busy, GPU_COLOUR, _about(samples[-1]))


def _queue(queue: Queue) -> str:
    bins = queue.bins()
    busy = _thinned([bin.gpu or 0.0 for bin in bins])
    return _strip(f"{queue.name} (simulated seconds)", busy, GPU_COLOUR, _about(bins[-1]) if bins else "")


def _each(cores: tuple[float, ...]) -> str:
    return "Each core: " + " ".join(f"{100 * core:.0f}" for core in cores[:64]) + " %"


def _about(sample: Sample) -> str:
    memory = "" if sample.memory is None else f"{units.size(sample.memory)} taken"
    power = "" if sample.power is None else f"{sample.power:.0f} W"
    return ", ".join(word for word in (memory, power) if word)


def _thinned(values: list[float]) -> list[float]:
    """Return at most COLUMNS values, each the mean of neighbours."""
    step = -(-len(values) // COLUMNS) or 1
    groups = [values[i : i + step] for i in range(0, len(values), step)]
    return [sum(group) / len(group) for group in groups]


def _strip(name: str, values: list[float], colour: str, about: str) -> str:
    now = f"{share(values[-1])} busy" if values else "nothing to read"
    bars = "".join(
        f'<span style="display:inline-block;vertical-align:bottom;width:5px;height:{max(1, round(HEIGHT * value))}px;'
        f'background:{colour}"></span>'
        for value in values
    )
    back = f'<div style="height:{HEIGHT}px;line-height:{HEIGHT}px;background:{BACK};width:{5 * COLUMNS}px">{bars}</div>'
    return f'<div style="margin-top:6px">{escape(name)}: {now}. {escape(about)}</div>{back}'
