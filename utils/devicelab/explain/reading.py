"""What an error message says, whatever its wording: PyTorch 0.3 to today.

`tests/data/cuda_error_messages.json` holds real ones.
"""

import re
from dataclasses import dataclass

from .wordings import DTYPE, MISMATCH, MISPLACED, WORDINGS, Family


@dataclass(frozen=True)
class Reading:
    """The facts in one message: which argument it blames, where that is, where the others are, in which operator."""

    family: Family
    message: str
    argument: str | None = None
    argument_device: str | None = None
    other_device: str | None = None
    operator: str | None = None
    dtypes: tuple[str | None, ...] = ()  # of the blamed one, and of the others

    @property
    def is_misplaced(self) -> bool:
        """Whether something is on one device where another is needed."""
        return self.family in MISPLACED

    @property
    def blames(self) -> bool:
        """Whether the message puts the blame on one argument, instead of naming two on an equal footing."""
        return self.argument is not None and re.search(r"argument|arugment|but got", self.message) is not None

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that the message names, an accelerator first."""
        found = {device for device in (self.argument_device, self.other_device) if device}
        return tuple(sorted(found, key=lambda device: (device.startswith(("cpu", "meta")), device)))


def read(message: str) -> Reading | None:
    """Return what the message says about devices, or None where it says nothing of the kind."""
    text = " ".join(message.split())
    for family, pattern in WORDINGS:
        if (found := pattern.search(text)) is not None:
            return _reading(family, message, found)
    return None


def _reading(family: Family, message: str, found: re.Match[str]) -> Reading:
    groups = found.groupdict()
    operator, argument = groups.get("op"), groups.get("arg")
    at, other = groups.get("at"), groups.get("other")
    if groups.get("layer"):
        argument, operator = "input", "convolution"
    if family == MISMATCH and _are_types(at, other) and device_word(at) == device_word(other):
        family = DTYPE
    if family == DTYPE:
        types = (dtype_word(at), dtype_word(other) or _taken(operator, dtype_word(at)))
        device = device_word(at) if _are_types(at) and "Tensor" in (at or "") else None
        return Reading(family, message, argument, device, device, plain_operator(operator), types)
    if at is None and other in ("MPS", "CUDA", "cuda"):
        at = "cpu"  # what is not on the card that is named lies in the CPU's memory
    return Reading(family, message, argument, device_word(at), device_word(other), plain_operator(operator))


def _taken(operator: str | None, refused: str | None) -> str | None:
    """Return the dtype that is needed where a message names only the refused one: int64 for labels, floats else."""
    if refused is None:
        return None
    return "int64" if plain_operator(operator) == "nll_loss" else "float32"


def _are_types(*words: str | None) -> bool:
    return all(word is not None and _bare(word).endswith(("Tensor", "Type")) for word in words)


# The names of dtypes in messages: those of C++, and of the tensor classes of old, as torch calls them now.
_DTYPE_NAMES = {
    "half": "float16", "float": "float32", "double": "float64", "bfloat16": "bfloat16", "bf16": "bfloat16", "long": "int64",
    "int": "int32", "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool", "complexfloat": "complex64",
    "complexdouble": "complex128", "complex<float>": "complex64", "complex<double>": "complex128", "unsigned char": "uint8",
    "signed char": "int8", "long int": "int64", "long long": "int64", "__int64": "int64",
}  # fmt: skip


def dtype_word(word: str | None) -> str | None:
    """Return the dtype that a word of a message means: "torch.cuda.HalfTensor" and "c10::Half" are "float16"."""
    if word is None:
        return None
    bare = _bare(word).rpartition("::")[2].removeprefix("struct ")
    bare = re.sub(r"^torch\.(?:\w+\.)?|^CUDA|^CPU|^MPS|^XPU|(?:Tensor|Type)$", "", bare).lower()
    return _DTYPE_NAMES.get(bare, bare or None)


def _bare(word: str) -> str:
    """Return a type without what PyTorch 0.3 put around it: "Variable[torch.FloatTensor]"."""
    return word.strip().removeprefix("Variable[").removesuffix("]")


def device_word(word: str | None) -> str | None:
    """Return the device that a word of a message means: "torch.cuda.FloatTensor" and "GPU" are "cuda"."""
    if word is None:
        return None
    lower = word.lower()
    if lower.isdigit():
        return f"cuda:{lower}"
    if "Tensor" in word or "Type" in word:
        return next((device for device in ("cuda", "mps", "xpu") if device in lower), "cpu")
    return {"gpu": "cuda"}.get(lower, lower)


def plain_operator(name: str | None) -> str | None:
    """Return the operator in a method's name: "wrapper_CUDA___slow_conv2d_forward" becomes "convolution"."""
    if name is None:
        return None
    bare = re.sub(r"^wrapper_(?:[A-Z]\w*?_)?|^_th_|^_thnn_|^aten::", "", name).strip("_")
    for word, pattern in _OPERATORS:
        if re.search(pattern, bare):
            return word
    return bare


_OPERATORS = (
    ("convolution", r"conv"),
    ("batch_norm", r"batch_norm"),
    ("layer_norm", r"layer_norm"),
    ("batched product", r"^(bmm|baddbmm)(_|$)"),
    ("matrix product", r"^(addmm|addmv)(_|$)"),
    ("product", r"^(mm|mv|dot|vdot|matmul)(_|$)"),
    ("nll_loss", r"nll_loss|ClassNLL"),
    ("optimizer step", r"fused_(adam|sgd|adagrad)"),
)
