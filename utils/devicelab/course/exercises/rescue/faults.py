"""The eight faults of the capstone's script: the lines as they stand in train.py, and one way to mend each."""

from dataclasses import dataclass
from pathlib import Path

SHOWS = ("stops training", "stops a resume", "stops elsewhere", "only slow")
BROKEN = Path(__file__).with_name("train.py")


@dataclass(frozen=True)
class Fault:
    """One fault: a name, the question that it belongs to, its lines, the same lines mended, and how it shows itself.

    `shows` is one of SHOWS: it stops every run on a GPU, or a resumed one, or one on a machine without a GPU, or none.
    """

    name: str
    question: int
    shows: str
    broken: str
    mended: str


FAULTS = (
    Fault(
        "x.to(device)",
        1,
        "stops training",
        "        x.to(device)\n        y.to(device)\n",
        "        x = x.to(device)\n        y = y.to(device)\n",
    ),
    Fault(
        "self.mean = mean",
        1,
        "stops training",
        "        self.mean = mean\n        self.std = std\n",
        '        self.register_buffer("mean", mean)\n        self.register_buffer("std", std)\n',
    ),
    Fault(
        "torch.linspace(-1, 1, CHANNELS)",
        1,
        "stops training",
        "torch.linspace(-1, 1, CHANNELS)",
        "torch.linspace(-1, 1, CHANNELS, device=x.device)",
    ),
    Fault(
        "outputs.numpy()",
        1,
        "stops training",
        "outputs.numpy()",
        "outputs.cpu().numpy()",
    ),
    Fault(
        "history = load(...), then model.to(device)",
        2,
        "stops a resume",
        "    model = Adder(mean, std, asked.hidden)\n",
        "    model = Adder(mean, std, asked.hidden).to(device)\n",
    ),
    Fault(
        "torch.load(path)",
        2,
        "stops elsewhere",
        "torch.load(path)",
        'torch.load(path, map_location="cpu")',
    ),
    Fault(
        "if error < 0.5",
        3,
        "only slow",
        "sum(1 for error in errors if error < 0.5)",
        "(errors < 0.5).sum()",
    ),
    Fault(
        "self.weights = torch.tensor(...)",
        3,
        "only slow",
        "        self.weights = torch.tensor([1.0, 2.0])\n",
        '        self.register_buffer("weights", torch.tensor([1.0, 2.0]))\n',
    ),
)


def edited(text: str, old: str, new: str) -> str:
    """Return a text with `old` replaced by `new`; raise ValueError unless `old` stands in it exactly once."""
    if text.count(old) != 1:
        raise ValueError(f"{old!r} stands {text.count(old)} times in the script; once was expected.")
    return text.replace(old, new)


def rescued(*left: Fault) -> str:
    """Return the script with every fault mended but those that are left in it."""
    text = BROKEN.read_text(encoding="utf-8")
    for fault in FAULTS:
        if fault not in left:
            text = edited(text, fault.broken, fault.mended)
    return text
