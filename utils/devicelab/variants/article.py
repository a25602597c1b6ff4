"""The article's three examples on this machine: all on the CPU, all on the GPU, and only the model moved."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from traceback import extract_tb

import torch
from torch import nn, optim

from devicelab import devices
from devicelab.errors import check_range
from devicelab.timing import devices_used, timeit

from .outcome import Table, Variant, lead

NAMES = ("cpu", "gpu", "mismatched")
TITLES = {"cpu": "1 nothing moved", "gpu": "2 model and data moved", "mismatched": "3 only the model moved"}


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


@dataclass(frozen=True, repr=False)
class Comparison(Table):
    """The three examples side by side."""

    setting: Setting
    variants: tuple[Variant, ...]

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        loss = f"Loss, epoch {self.setting.epochs}"
        return ["Example", "Ran on", "Training step", "Steps/s", loss, "How we know"]

    @property
    def title(self) -> str:
        """The size, in words."""
        s = self.setting
        return f"Linear({s.width:,} -> {s.outputs:,}), {s.rows:,} rows, MSE loss, SGD"

    def rows(self) -> list[list[str]]:
        """Return the table's rows as text."""
        return [[TITLES[v.name], *v.cells, _outcome(v), v.label] for v in self.variants]

    @property
    def verdict(self) -> list[str]:
        """Who is ahead, and what stopped, in words."""
        return [*_speed(self), *_faults(self)]

    def to_dict(self) -> dict[str, object]:
        """Return plain data: setting, versions, and each example with its raw samples in seconds."""
        variants = [
            {**asdict(v), "title": TITLES[v.name], "timing": v.timing.to_dict() if v.timing else None}
            for v in self.variants
        ]
        return {"setting": asdict(self.setting), **super().to_dict(), "variants": variants}


def _outcome(variant: Variant) -> str:
    """Return the last column of the table: loss, error or the reason for not running."""
    if variant.skipped:
        return variant.skipped
    return "stopped" if variant.error else f"{variant.loss:.5f}"


def _speed(comparison: Comparison) -> list[str]:
    cpu, gpu = comparison["cpu"].timing, comparison["gpu"].timing
    if not cpu or not gpu:
        return []
    ahead = lead(("CPU", "GPU"), (cpu, gpu))
    if ahead is None and (cpu.busy or gpu.busy):
        return []  # the caution below says why
    if ahead is None:
        why = (
            "the CPU's time lies within the range of the simulated one"
            if gpu.origin == "simulated"
            else "the samples overlap"
        )
        return [f"At this size there is no clear winner: {why}."]
    who, factor, known = ahead
    return [f"At this size the {who} is ahead by a factor of {factor} ({known})."]


_TOO_LARGE = "The step size 0.01 is too large for this width; take fewer epochs or a smaller width."


def _faults(comparison: Comparison) -> list[str]:
    said = []
    for variant in comparison.variants:
        if variant.error:
            said.append(f"Example {TITLES[variant.name][0]} stops at `{variant.line}`:\n  {variant.error}")
        if variant.loss is not None and not math.isfinite(variant.loss):
            said.append(f"Example {TITLES[variant.name][0]}: the loss is {variant.loss}. {_TOO_LARGE}")
    return said


def compare_article(setting: Setting) -> Comparison:
    """Run the three examples at a size and time a training step of each."""
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
        step = prepared(setting, model_device, data_device)
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


def prepared(setting: Setting, model_device: str, data_device: str) -> Callable[[], torch.Tensor]:
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
