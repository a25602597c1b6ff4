"""The article's three examples on this machine: all on the CPU, all on the GPU, and only the model moved."""

import json
import math
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from traceback import extract_tb

import torch
from torch import nn, optim

from . import devices, html, units
from .errors import check_range
from .results import Timing
from .timing import devices_used, timeit

NAMES = ("cpu", "gpu", "mismatched")
TITLES = {
    "cpu": "1 nothing moved",
    "gpu": "2 model and data moved",
    "mismatched": "3 only the model moved",
}


@dataclass(frozen=True)
class Setting:
    """The size of the examples; the defaults are the article's own (100 rows, 10 features, 5 epochs)."""

    rows: int = 100
    width: int = 10
    outputs: int = 2
    epochs: int = 5
    repeats: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None:
                check_range(name, value, low, high)


_RANGES = (
    ("rows", 1, 10_000_000),
    ("width", 1, 1_000_000),
    ("outputs", 1, 100_000),
    ("epochs", 1, 10_000),
    ("repeats", 1, 100_000),
    ("seed", 0, 2**63 - 1),
)


class SimpleModel(nn.Module):
    """The article's model: one linear layer."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, shape (rows, outputs)."""
        return self.fc(x)


@dataclass(frozen=True)
class Variant:
    """One example's outcome: a timing and a loss, or the error and the line that raised it, or why it did not run."""

    name: str
    device: str
    label: str
    timing: Timing | None = None
    loss: float | None = None
    error: str | None = None
    line: str | None = None
    skipped: str | None = None

    @property
    def outcome(self) -> str:
        """The last column of the table: loss, error or the reason for not running."""
        if self.skipped:
            return self.skipped
        return "stopped" if self.error else f"{self.loss:.5f}"


@dataclass(frozen=True)
class Comparison:
    """The three variants side by side; `str()` and HTML show one table, `to_json()` everything."""

    setting: Setting
    variants: tuple[Variant, ...]

    def __getitem__(self, name: str) -> Variant:
        return next(variant for variant in self.variants if variant.name == name)

    def _rows(self) -> list[list[str]]:
        return [_row(variant) for variant in self.variants]

    @property
    def _header(self) -> list[str]:
        loss = f"Loss, epoch {self.setting.epochs}"
        return ["Example", "Ran on", "Training step", "Steps/s", loss, "How we know"]

    @property
    def sentences(self) -> list[str]:
        """What the table says, in words."""
        timings = [variant.timing for variant in self.variants if variant.timing]
        cautions = dict.fromkeys(timing.caution for timing in timings if timing.caution)
        return [*_speed(self), *cautions, *_faults(self)]

    def __str__(self) -> str:
        rows = [self._header, *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self._header))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([self._title, *lines, *self.sentences])

    __repr__ = __str__

    @property
    def _title(self) -> str:
        s = self.setting
        return f"Linear({s.width:,} -> {s.outputs:,}), {s.rows:,} rows, MSE loss, SGD"

    def _repr_html_(self) -> str:
        sentences = "".join(f"<p>{html.escape(text)}</p>" for text in self.sentences)
        return html.table(self._header, self._rows(), self._title) + sentences

    def to_json(self) -> str:
        """Return everything as JSON text: setting, versions, and each variant with its raw samples in seconds."""
        variants = [
            {**asdict(v), "title": TITLES[v.name], "timing": v.timing.to_dict() if v.timing else None}
            for v in self.variants
        ]
        versions = {
            "torch": torch.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
        }
        data = {"setting": asdict(self.setting), "versions": versions, "variants": variants}
        return json.dumps(_finite(data), indent=2)


def _finite(data: object) -> object:
    """JSON has no NaN: say it as a string."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_finite(value) for value in data]
    return str(data) if isinstance(data, float) and not math.isfinite(data) else data


def _row(variant: Variant) -> list[str]:
    timing = variant.timing
    step, rate = (timing.text, f"{timing.per_second:,.0f}") if timing else ("-", "-")
    return [TITLES[variant.name], variant.device, step, rate, variant.outcome, variant.label]


def _speed(comparison: Comparison) -> list[str]:
    cpu, gpu = comparison["cpu"].timing, comparison["gpu"].timing
    if not cpu or not gpu:
        return []
    if cpu.busy:
        return []  # the caution below says why
    if gpu.low is not None and gpu.high is not None and gpu.low <= cpu.median <= gpu.high:
        return [
            "At this size there is no clear winner: the CPU's time lies within the range of the simulated one."
        ]
    faster, slower, where = (gpu, cpu, "GPU") if gpu.median < cpu.median else (cpu, gpu, "CPU")
    kind = (
        "measured on both"
        if gpu.origin == "measured"
        else "CPU measured, GPU simulated: an estimate, not a proof"
    )
    return [
        f"At this size the {where} is ahead by a factor of {units.digits(slower.median / faster.median)} ({kind})."
    ]


_TOO_LARGE = "The step size 0.01 is too large for this width; take fewer epochs or a smaller width."


def _faults(comparison: Comparison) -> list[str]:
    said = []
    for variant in comparison.variants:
        if variant.error:
            said.append(f"Example {TITLES[variant.name][0]} stops at `{variant.line}`:\n  {variant.error}")
        if variant.loss is not None and not math.isfinite(variant.loss):
            said.append(f"Example {TITLES[variant.name][0]}: the loss is {variant.loss}. {_TOO_LARGE}")
    return said


def compare(
    rows: int = 100,
    width: int = 10,
    *,
    outputs: int = 2,
    epochs: int = 5,
    repeats: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Run the article's three examples on this machine and time a training step of each.

    `rows`, `width` and `outputs` are the sizes of data and labels, `repeats` the number of timed steps (adaptive if left out).
    The GPU is the present one, real or simulated; without one, examples 2 and 3 say that they did not run.
    """
    setting = Setting(rows, width, outputs, epochs, repeats, seed)
    return Comparison(setting, tuple(_variant(name, setting) for name in NAMES))


def _variant(name: str, setting: Setting) -> Variant:
    present = devices.present()
    if name == "cpu":
        return _trained(name, setting, "cpu", "cpu")
    if present.type == "cpu":
        return Variant(name, "-", "not run", skipped="no GPU here, real or simulated")
    return _trained(name, setting, present.type, present.type if name == "gpu" else "cpu")


def _trained(name: str, setting: Setting, model_device: str, data_device: str) -> Variant:
    """Train for the epochs' loss, then time further steps; an error becomes part of the result."""
    try:
        step = _prepared(setting, model_device, data_device)
        losses: list[torch.Tensor] = []
        used = devices_used(lambda: losses.append(step()))
        losses += [step() for _ in range(setting.epochs - 1)]
        timing = timeit(step, repeats=setting.repeats)
    except RuntimeError as error:
        present = devices.present()
        label = f"{present.origin}, {present.type} ({present.name})"
        return Variant(name, "-", label, error=str(error), line=_failing_line(error))
    return Variant(name, " and ".join(used), timing.label, timing, float(losses[-1]))


def _failing_line(error: BaseException) -> str:
    """Return the source line of the training step in which the error arose."""
    return next(
        (frame.line or "" for frame in extract_tb(error.__traceback__) if frame.name == "step"), "the set-up"
    )


def _prepared(setting: Setting, model_device: str, data_device: str) -> Callable[[], torch.Tensor]:
    """Return one training step of the article, ready to run; its loss stays on the device.

    Weights and data are drawn on the CPU and then moved, so every device starts from the same numbers.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        model = SimpleModel(setting.width, setting.outputs).to(model_device)
        data = torch.randn(setting.rows, setting.width).to(data_device)
        labels = torch.randn(setting.rows, setting.outputs).to(data_device)
    criterion = nn.MSELoss()
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        outputs = model(data)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
