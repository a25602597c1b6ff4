"""How long `explain` takes on long texts that look like a traceback and are none, and how it grows with what a frame holds.

`python -m benchmarks.bench_explain` prints the slowest texts.
"""

from collections.abc import Iterator

import torch
from torch import nn

from benchmarks.shared import cpu_seconds
from devicelab import simulate_gpu
from devicelab.explain import explain

SIZE = 1_000_000  # letters
LONGEST = 1.0  # seconds for a text of that size
SHOWN = 10
GROWTH = 3.0  # at most, for twice as much: a square would give 4
MESSAGE = "RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
FRAME = 'File "train.py", line 3, in step\n    y = model(x)\n'
UNITS = (
    "a", ".", "a.", " ", "[", "(", "()", '"', "'", "\n", "1", 'File "', "File ", "a.py in ", ".py", "^", "\\", "\x1b[31m", ",",
    "-> ", "-", ":", "_", "f(", "-~", "<", "/", "a b", "Cell In [1], line ", "<ipython-input-", "your code, line ",
    "File a:1, in ", "/site-packages", "/lib/python3.", "/torchinductor_a", "/ipykernel_1/1", "ipython-input-1-", "torch.",
    "cuda:0 ", "Tensor", "Input type (", "Expected device ", "same device, but got ", "same device but a is on b and ",
    "CUDA ", "CUDA out of ", "cannot pin '", "The operator '", "argument #1 '", "in method wrapper_",
)  # fmt: skip


def texts(size: int) -> Iterator[tuple[str, str]]:
    """Yield long texts with a name: one line and many, alone, before the message, after it, and in place of its words."""
    for unit in UNITS:
        line = (unit * (size // len(unit) + 1))[:size]
        lines = "\n".join(line[at : at + 80] for at in range(0, size, 80))
        yield f"{unit!r}, one line", line
        yield f"{unit!r}, many lines", lines
        yield f"{unit!r}, one line before the message", f"{line}\n{MESSAGE}"
        yield f"{unit!r}, many lines before the message", f"{lines}\n{MESSAGE}"
        yield f"{unit!r}, one line after the message", f"{MESSAGE}\n{line}"
        yield f"{unit!r}, as the code of a frame", f"{FRAME.splitlines()[0]}\n    {line}\n{MESSAGE}"
        yield f"{unit!r}, above a frame", f"{line}\n{FRAME}{MESSAGE}"


def seconds(error: object, rounds: int = 1) -> float:
    """Return the processor's seconds that explaining takes, the shortest of some rounds."""
    return min(cpu_seconds(lambda: explain(error)) for _ in range(rounds))


def mixed(layers: int) -> BaseException:
    """Return the error of a line that meets the parameters of so many layers, every second of them on the card."""
    model = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(layers)))
    for layer in list(model)[::2]:
        layer.cuda()
    weights: list[torch.Tensor] = [*model.parameters()]
    try:
        torch.stack(weights)
    except RuntimeError as error:
        return error
    raise AssertionError("no error came")


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    explain(MESSAGE)
    taken = {name: seconds(text) for name, text in texts(SIZE)}
    slowest = max(taken, key=taken.__getitem__)
    yield f"explain a text of 1 MB, the slowest, seconds ({slowest})"[:66], taken[slowest], LONGEST
    worst = set(sorted(taken, key=taken.__getitem__)[-SHOWN:])  # what grew too fast would be among them
    half = dict(one for one in texts(SIZE // 2) if one[0] in worst)
    growth = [seconds(text, 5) / seconds(half[name], 5) for name, text in texts(SIZE) if name in worst]
    yield "explain a text twice as long, ratio of times, the largest", max(growth), GROWTH
    with simulate_gpu("Tesla T4"):
        ratio = seconds(mixed(4000), 2) / seconds(mixed(2000), 2)
        yield "explain with twice the tensors in the frame, ratio of times", ratio, GROWTH


def main() -> None:
    """Print the slowest texts."""
    explain(MESSAGE)
    taken = sorted(((seconds(text), name) for name, text in texts(SIZE)), reverse=True)
    for value, name in taken[:SHOWN]:
        print(f"{value:7.3f} s  {name}")


if __name__ == "__main__":
    main()
