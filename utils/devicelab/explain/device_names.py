"""What is no name of a device, and what was meant by it."""

import re

PORTABLE = '"cuda" if torch.cuda.is_available() else "cpu"'
NAMES = 'PyTorch calls an NVIDIA GPU "cuda", a Mac\'s GPU "mps" and the processor "cpu"'
TENSORFLOWS = 'PyTorch calls "cuda:0" what TensorFlow calls "/gpu:0"'

Meant = tuple[str, str]  # a piece of code that can stand in place of the name, and why


# What people write, by how it begins; the first that fits counts. `\1` is the number behind it, with its colon.
_MEANT: tuple[tuple[str, str, str], ...] = (
    (r"gpu:?(\d*)", '"cuda{}"', NAMES),
    (r"/?(?:device:)?/?gpu:?(\d*)", '"cuda{}"', TENSORFLOWS),
    (r"cuda:?[ _]*(\d+)", '"cuda{}"', 'a number stands behind a colon: "cuda:0"'),
    (r"(\d+)", '"cuda{}"', 'a number alone is a card only where it is no text: 0, and not "0"'),
    (r"(?:cuda:)?-\d+", '"cuda:0"', 'cards are counted from 0; where -1 is to mean the processor, write "cpu"'),
    (r"cuda:?(?:none|null|nan)", '"cuda"', 'what was put behind "cuda:" is None: no number was given'),
    (r"(?:cuda:)?\d+(?:, ?\d+)+", '"cuda"', "a device is one card; several are chosen by CUDA_VISIBLE_DEVICES"),
    (r"cuda:.+", '"cuda"', 'behind "cuda:" stands the number of a card, from 0'),
    (r"cpu.*", '"cpu"', NAMES),
    (r"dml.*|directml.*", "torch_directml.device()", "DirectML is a package of its own, torch_directml, which gives its device"),
    (r"npu.*|ascend.*", "import torch_npu", "the name exists once torch_npu is imported, at the top of the script"),
    (r"tpu.*", "torch_xla.device()", "a TPU is reached through the package torch_xla, which gives its device itself"),
    (r"dpcpp.*|intel|arc|igpu|sycl.*", '"xpu"', 'PyTorch calls an Intel GPU "xpu"; "dpcpp" was its name at first'),
    (r"rocm.*|amd.*|radeon.*", '"cuda"', 'PyTorch calls an AMD GPU "cuda" too, in its wheel for ROCm'),
    (r"metal|apple|mac|m\d", '"mps"', NAMES),
    (r"(?:auto|none|null|)", PORTABLE, "torch chooses no device itself, and None or an empty text is none"),
    (r"[a-z]", PORTABLE, "it is one letter: a name was taken letter by letter, where a list of names was expected"),
)  # fmt: skip


# A name that is put together in the line.
_PREFIXED = (
    re.compile(r"f(['\"])(?:cuda|mps|xpu):\{(?P<behind>[^{}]{1,80})\}\1"),
    re.compile(r"(['\"])(?:cuda|mps|xpu):\1 ?\+ ?str\((?P<behind>[^()]{1,80})\)"),
    re.compile(r"(['\"])(?:cuda|mps|xpu):\1 ?\+ ?(?P<behind>[\w.]{1,80})"),
)


def meant_by(given: str) -> Meant:
    """Return the code that says what was meant by a name that is none, and why it is none."""
    name = given.strip().lower()
    twice = re.fullmatch(r"(\w+):(\1(?::\d+)?)", name)
    if twice:
        return f'"{twice[2]}"', f'the name holds "{twice[1]}:" already, and it was put before it once more'
    for pattern, meant, why in _MEANT:
        found = re.fullmatch(pattern, name)
        if found:
            number = found[1] if found.re.groups else ""
            return meant.replace("{}", f":{number}" if number else ""), why
    return '"cuda"', NAMES


def mended(code: str, given: str, meant: str) -> str:
    """Return the line of code with what was meant in place of the name; only what was meant, where the name stands in no line."""
    if meant.startswith("import"):
        return meant
    twice = given.count(meant.strip('"').partition(":")[0]) > 1
    for pattern in _PREFIXED if ":" in given else ():
        found = pattern.search(code)
        if found:
            return code.replace(found[0], found["behind"] if twice else meant)
    literal = re.search(rf"(['\"]){re.escape(given)}(?P<number>:\d+)?\1", code)
    if literal is None:
        return meant
    number = literal["number"] or ""
    return code.replace(literal[0], f'{meant[:-1]}{number}"' if meant.endswith('"') else meant)
