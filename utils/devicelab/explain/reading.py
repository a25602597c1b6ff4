"""What an error message says, whatever its wording: PyTorch 0.4 to today.

Wordings: docs/sources.md, "PyTorch's own words and rules". `tests/data/explain_messages.json` holds real ones.
"""

import re
from dataclasses import dataclass

Family = str
MISMATCH = "mismatch"


@dataclass(frozen=True)
class Reading:
    """The facts in one message: which argument it blames, where that is, where the others are, in which operator."""

    family: Family
    message: str
    argument: str | None = None
    argument_device: str | None = None
    other_device: str | None = None
    operator: str | None = None

    @property
    def blames(self) -> bool:
        """Whether the message puts the blame on one argument, instead of naming two on an equal footing."""
        return self.argument is not None and re.search(r"argument|arugment|but got", self.message) is not None

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that the message names, an accelerator first."""
        found = {device for device in (self.argument_device, self.other_device) if device}
        return tuple(sorted(found, key=lambda device: (device.startswith(("cpu", "meta")), device)))


_DEVICE = r"[a-z]+(?::\d+)?"
_TYPE = r"[\w.]*(?:Tensor|Type)"
# What stands in braces below. `at` is where the argument is that the message names, `other` where the others are.
_PARTS = {
    "{arg}": r"(?P<arg>\w+)",
    "{op}": r"(?P<op>[\w:.]+)",
    "{at}": rf"(?P<at>{_DEVICE})",
    "{other}": rf"(?P<other>{_DEVICE})",
    "{at type}": rf"(?P<at>{_TYPE})",
    "{other type}": rf"(?P<other>{_TYPE})",
    "{at word}": r"(?P<at>[\w.]+)",
    "{other word}": r"(?P<other>[\w.]+)",
    "{device}": _DEVICE,
    "{checking}": r"when checking (?:argument|arugment)",
    "{layer}": r"(?P<layer>weight|bias)",
}
# Most specific first; spaces and line breaks are one space.
_MISMATCHES = (
    r"same device, but got {arg} is on {at}, different from other tensors on {other}(?: \({checking} in method {op}\))?",
    r"found at least two devices, {other} and {at}! \({checking} for (?:argument|arugment) {arg} in method {op}\)",
    r"found at least two devices, {other} and {at}!",
    r"Input type \({at type}\) and {layer} type \({other type}\) should be the same",
    r"tensors are not at the same device, found (?P<arg>input) tensor at {at} and \w+ tensor at {other}",
    r"indices should be either on {device} or on the same device as the indexed tensor \({at}\)",
    r"same device type, but got query\.device: {at} key\.device: {other}",
    r"to be on the same device, but got {arg} on {at} and \w+ on {other}",
    r"same device,? but (?:input )?{arg} is on {at} and [\w ]+? (?:is|are) on {other}",
    r"Expected (?P<arg>out) tensor to have device {other}, but got {at} instead",
    r"Expected object of (?:device type|backend|type) {other word} but (?:got|found) (?:device type|backend|type) {at word} "
    r"for (?:sequence element \d+ in sequence )?argument #\d+ '{arg}'(?: in call to {op})?",
    r"Tensor for argument #\d+ '{arg}' is on {at word}, but expected (?:it|them) to be on {other word}"
    r"(?: \(while checking arguments for {op}\))?",
    r"Expected tensor for argument #\d+ '\w+' to have the same device as tensor for argument #\d+ '{arg}'; "
    r"but device {other word} does not equal {at word} \(while checking arguments for {op}\)",
    r"[Ee]xpected type {other type} but got {at type}",
    r"[Ee]xpected device {other} but got (?:device )?{at}",
    r"expected '{arg}' to be a {other word} tensor, ?but got a {at word} tensor",
    r"input tensors must be on the same device\. Received {at} and {other}",
    r"on device {other} \(device_ids\[0\]\) but found one of them on device: {at}",
    r"input\(device='?{at}'?\) and {layer}\(device=\s?'?{other}'?\) must be on the same device",
    r"Tensor on device {at} is not on the expected device {other}!",
    r"Unhandled FakeTensor Device Propagation for {op}, found two different devices {other}, {at}",
    r"Placeholder storage has not been allocated on MPS device",
    r"Tensors of the same index must be on the same device",
    r"arguments are located on different GPUs",
    r"must be on the (?:current|same) device",
    r"too many CPU scalars to non-CPU kernel",
    r"to (?:be on|have) the same device",
)
_OTHERS = (
    (
        "gradient",
        r"assign a gradient with device type '{at word}' to a tensor with device type '{other word}'",
    ),
    ("numpy", r"can't convert (?P<at>[\w:]+) (?:device type )?tensor to numpy"),
    ("pin", r"cannot pin '{at type}' only (?:dense )?CPU (?:tensors|memory) can be pinned"),
    ("lengths", r"'lengths' argument should be a 1D CPU int64 tensor, but got 1D {at} "),
    (
        "generator",
        r"Expected a '?{other}'? (?:device type for )?generator (?:device )?but (?:found|got) '?{at}'?",
    ),
    ("meta", r"Cannot copy out of meta tensor; no data"),
    ("cpu build", r"Torch not compiled with CUDA enabled|without (?:ATen_cuda library|CUDA support)"),
    ("no driver", r"Found no NVIDIA driver on your system"),
    ("old driver", r"NVIDIA driver on your system is too old \(found version {arg}\)"),
    ("old driver", r"driver version is insufficient for CUDA runtime version"),
    (
        "no gpu at load",
        r"deserialize object on (?:a )?{arg} device but torch\.\w+\.is_available\(\) is False",
    ),
    (
        "fewer gpus at load",
        r"deserialize object on (?P<arg>\w+ device \d+) but torch\.\w+\.device_count\(\) is",
    ),
    ("fork", r"Cannot re-initialize \w+ in forked subprocess"),
    ("no kernel image", r"no kernel image is available for execution on the device"),
    ("no kernel image", r"is not compatible with the current PyTorch installation"),
    ("ordinal", r"invalid device ordinal|Invalid device id"),
    ("busy", r"all CUDA-capable devices are busy or unavailable"),
    ("memory", r"(?P<at>CUDA|MPS|HIP|XPU)[\w ]* out of memory"),
    ("no device", r"No (?:CUDA|HIP) GPUs are available|no CUDA-capable device is detected"),
    ("device string", r"device type at start of device string: '?(?P<arg>[\w:.-]*)"),
    ("device string", r"Invalid device string: '?(?P<arg>[\w:.-]*)"),
    ("mps float64", r"Cannot convert a MPS Tensor to float64|MPS framework doesn't support float64"),
    ("mps fallback", r"The operator '{op}' is not currently supported on the MPS backend and will fall back"),
    ("mps operator", r"The operator '{op}' is not currently (?:implemented|supported) (?:for|on) the MPS"),
    ("operator", r"Could not run '{op}' with arguments from the '(?P<at>CUDA|MPS)' backend"),
    ("no mps", r"PyTorch is not linked with support for mps devices|MPS backend is supported on MacOS"),
)


def _compiled(pattern: str) -> re.Pattern[str]:
    for part, meaning in _PARTS.items():
        pattern = pattern.replace(part, meaning)
    return re.compile(pattern)


_PATTERNS = [
    (family, _compiled(pattern)) for family, pattern in (*((MISMATCH, one) for one in _MISMATCHES), *_OTHERS)
]


def read(message: str) -> Reading | None:
    """Return what the message says about devices, or None where it says nothing of the kind."""
    text = " ".join(message.split())
    for family, pattern in _PATTERNS:
        if (found := pattern.search(text)) is not None:
            return _reading(family, message, found)
    return None


def _reading(family: Family, message: str, found: re.Match[str]) -> Reading:
    groups = found.groupdict()
    operator, argument = groups.get("op"), groups.get("arg")
    if groups.get("layer"):
        argument, operator = "input", "convolution"
    return Reading(
        family,
        message,
        argument,
        device_word(groups.get("at")),
        device_word(groups.get("other")),
        plain_operator(operator),
    )


def device_word(word: str | None) -> str | None:
    """Return the device that a word of a message means: "torch.cuda.FloatTensor" and "GPU" are "cuda"."""
    if word is None:
        return None
    lower = word.lower()
    if lower.isdigit():
        return f"cuda:{lower}"
    if re.search(_TYPE, word):
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
    ("matrix product", r"^(addmm|mm|bmm|baddbmm|addmv|mv|dot|matmul)(_|$)"),
    ("nll_loss", r"nll_loss|ClassNLL"),
    ("optimizer step", r"fused_(adam|sgd|adagrad)"),
)
