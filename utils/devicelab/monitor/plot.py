"""The picture of what CPU and GPU did while a block ran."""

from collections.abc import Callable
from typing import Any

from devicelab.canvas import CHART_CPU, CHART_GPU, CHART_INK, chart
from devicelab.picture import Picture, picture

from .result import Observed, Sample
from .words import sentence

FAINT = 0.35  # each core, behind the line of all
GIB = 2**30
HEADROOM = 1.1  # a value that stays the same would lie on the frame, unseen
Value = Callable[[Sample], float | None]


def plot(load: Observed) -> Picture:
    """Return a picture of a load: a panel each for CPU, GPU, memory and power, as far as they could be read.

    A simulated card has a clock of its own, so its panels have another axis of time than the CPU's.
    """
    panels = [
        panel for panel in _panels(load) if any(panel[1](sample) is not None for sample in load.on_card)
    ]
    drawn, rows = chart(8, 1.6 * (1 + len(panels)) + 0.4, 1 + len(panels))
    _cpu(rows[0], load)
    for axes, (name, value) in zip(rows[1:], panels, strict=True):
        _steps(axes, load.on_card, value, CHART_GPU)
        axes.set_ylabel(name)
        axes.set_xlim(0, max(load.simulated_seconds or load.seconds, 1e-9))
    if panels:
        _scale(rows[1:], load, [name for name, _ in panels])
        ours = ": our drawing of its queue" if load.origin == "simulated" else ""
        rows[1].set_title(f"{load.device} ({load.name}), {load.origin}{ours}", loc="left", fontsize="medium")
        rows[-1].set_xlabel(f"seconds, {load.origin}")
    return picture(drawn, f"Load over time. {sentence(load)}")


def _panels(load: Observed) -> list[tuple[str, Value]]:
    return [
        ("GPU busy, %", lambda s: None if s.gpu is None else 100 * s.gpu),
        ("GPU memory, GiB", lambda s: None if s.memory is None else s.memory / GIB),
        ("GPU power, W", lambda s: s.power),
    ]


def _cpu(axes: Any, load: Observed) -> None:
    told = [sample for sample in load.samples if sample.cpu]
    for core in range(len(load.cores)):
        _steps(axes, told, _core(core), CHART_CPU, "each core" if core == 0 else None, FAINT)
    if told:
        _steps(axes, told, lambda s: 100 * sum(s.cpu) / len(s.cpu), CHART_CPU, "all cores")
        _legend(axes)
    axes.set_ylabel("CPU busy, %")
    axes.set_ylim(0, 105)
    axes.set_xlim(0, max(load.seconds, 1e-9))
    axes.set_xlabel("seconds, measured")
    axes.set_title("CPU, measured", loc="left", fontsize="medium")


def _core(core: int) -> Value:
    return lambda sample: 100 * sample.cpu[core]


def _scale(rows: Any, load: Observed, names: list[str]) -> None:
    for axes, name in zip(rows, names, strict=True):
        if name.startswith("GPU power") and load.limit:
            axes.axhline(load.limit, color=CHART_INK, linestyle=":", label="limit")
            _legend(axes)
        axes.set_ylim(0, 105 if name.startswith("GPU busy") else HEADROOM * axes.get_ylim()[1])


def _legend(axes: Any) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelcolor=CHART_INK)


def _steps(
    axes: Any, samples: Any, value: Value, colour: str, label: str | None = None, alpha: float = 1.0
) -> None:
    """Draw one value for each piece of time."""
    seen = [(sample, value(sample)) for sample in samples]
    seen = [(sample, number) for sample, number in seen if number is not None]
    if not seen:
        return
    edges = [sample.begin for sample, _ in seen] + [seen[-1][0].begin + seen[-1][0].seconds]
    axes.stairs(
        [number for _, number in seen],
        edges,
        baseline=None,
        color=colour,
        label=label,
        linewidth=1.5,
        alpha=alpha,
    )
