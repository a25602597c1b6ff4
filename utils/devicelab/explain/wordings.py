"""The one list of PyTorch's words for tensors on unlike devices, for unlike dtypes, and for the rest that is about devices.

Wordings: docs/sources.md, "PyTorch's own words and rules".
"""

import re

Family = str
MISMATCH = "mismatch"
MEMORY = "memory"
DTYPE = "dtype"  # two types of numbers, whatever the devices
CPU_ONLY = (
    "numpy",
    "pin",
    "lengths",
    "sections",
    "scalars",
)  # a tensor is on an accelerator, and only the CPU's will do
MISPLACED = (MISMATCH, "gradient", "generator", *CPU_ONLY)
NOW = "2.8 and newer"

_DEVICE = r"(?:[a-z]+|[A-Z]{3,4})(?::\d+)?"  # "CPU" stands in messages that were typed from memory
_TYPE = r"[\w.]*(?:Tensor|Type)"
# What stands in braces below. `at` is where the argument is that the message names, `other` where the others are.
_PARTS = {
    "{arg}": r"(?P<arg>\w+)",
    "{op}": r"(?P<op>[\w:.]+)",
    "{at}": rf"(?P<at>{_DEVICE})",
    "{other}": rf"(?P<other>{_DEVICE})",
    "{at type}": rf"(?P<at>{_TYPE})",
    "{other type}": rf"(?P<other>{_TYPE})",
    "{at dtype}": r"(?P<at>(?:struct )?[\w:]+)",
    "{other dtype}": r"(?P<other>(?:struct )?[\w:]+)",
    "{at word}": r"(?P<at>(?:Variable\[)?[\w.]+\]?)",
    "{other word}": r"(?P<other>(?:Variable\[)?[\w.]+\]?)",
    "{device}": _DEVICE,
    "{checking}": r"when checking (?:argument|arugment)",
    "{layer}": r"(?P<layer>weight|bias)",
}
# The releases of PyTorch that say so, then the wording, most specific first; in a wording, spaces and line breaks are one space.
# A wording of one release stands for its neighbours, where nobody looked.
_MISMATCHES = (
    (
        NOW,
        r"same device, but got {arg} is on {at}, different from other tensors on {other}(?: \({checking} in method {op}\))?",
    ),
    (
        "1.10 to 2.7",
        r"found at least two devices, {other} and {at}! \({checking} for (?:argument|arugment) {arg} in method {op}\)",
    ),
    ("1.7 and newer", r"found at least two devices, {other} and {at}!"),
    (NOW, r"Input type \({at type}\) and {layer} type \({other type}\) should be the same"),
    (NOW, r"Expected {arg}(?:\.\w+\(\))?\.is_(?P<other>cuda)\(\) to be true, but got false"),
    (NOW, r"\b{arg} must be a (?P<other>CUDA) tensor"),
    ("1.2 and newer", r"iter\.device\({arg}\)\.is_(?P<other>cuda)\(\) INTERNAL ASSERT FAILED"),
    (
        NOW,
        r"tensors are not at (?:the )?same device, found (?P<arg>input) tensor at {at} and \w+ tensor at {other}",
    ),
    (NOW, r"indices should be either on {device} or on the same device as the indexed tensor \({at}\)"),
    (NOW, r"same device type, but got query\.device: {at} key\.device: (?P=at) and value\.device: {other}"),
    (NOW, r"same device type, but got query\.device: {at} key\.device: {other}"),
    (
        NOW,
        r"same device type, but got {arg} tensor device type {at} and input value tensor device type {other}",
    ),
    (NOW, r"(?:to|must) be on the same device,? but (?:got|found) {arg} on {at} and \w+ on {other}"),
    (NOW, r"same device,? but (?:input )?{arg} is on {at} and [\w ]{1,80}? (?:is|are) on {other}"),
    (NOW, r"must be on the same device but tensor \d+ is on {at} and tensor \d+ on {other}"),
    (NOW, r"must all be on the same device\. Input \d+ is on device {at} and input \d+ is on device {other}"),
    (NOW, r"on the same device, but got devices {at} and {other}!"),
    (NOW, r"Expected (?P<arg>out) tensor to have device {other}, but got {at} instead"),
    (NOW, r"but got the output tensor on {at}, (?:the 'input' tensor|input tensor a) on {other}"),
    (NOW, r"Expected tensor to have {other} DeviceType, but got tensor with {at} DeviceType"),
    (NOW, r"expected device '{other}' but got '{at}' for \w+ output"),
    (NOW, r"expected device {other} but found {at}"),
    (NOW, r"device of {arg} \(={at}\) must match device of values \(={other}\)"),
    (NOW, r"expected to be on {other} but is on {at}"),
    (NOW, r"has changed the type of value \(was {other type} got {at type}\)"),
    (NOW, r"expected (?P<arg>out) tensor to be on device {other} but got {at}"),
    (NOW, r"Expected tensor to have {other} Device, but got tensor with {at} Device"),
    (
        "1.0 to 1.1",
        r"Expected tensor to have (?P<other>CPU|CUDA) Backend, but got tensor with (?P<at>CPU|CUDA) Backend",
    ),
    (
        "0.5 and newer",
        r"Cannot assign \w+ feature \"(?P<arg>[^\"]{1,80})\" on device {at} to a graph on device {other}",
    ),
    (NOW, r"`variable` and `tensor` have incompatible tensor type"),
    (NOW, r"need to be on the same GPU, but found"),
    (NOW, r"device type {other} does not match device type of (?P<arg>out) parameter \({at}\)"),
    (NOW, r'storage of a tensor on device "{at}" to a storage on different device "{other}"'),
    (
        "0.4 to 1.5",
        r"Expected object of (?:device type|backend|type) {other word} but (?:got|found) (?:device type|backend|type) {at word} "
        r"for (?:sequence element \d+ in sequence )?argument (?:at position )?#\d+ '{arg}'(?: in call to {op})?",
    ),
    (
        "1.7",
        r"Tensor for argument #\d+ '{arg}' is on {at word}, but expected (?:it|them) to be on {other word}"
        r"(?: \(while checking arguments for {op}\))?",
    ),
    (
        NOW,
        r"Expected tensor for argument #\d+ '\w+' to have the same device as tensor for argument #\d+ '{arg}'; "
        r"but device {other word} does not equal {at word} \(while checking arguments for {op}\)",
    ),
    (
        "1.x",
        r"to have the same type as tensor for argument #\d+ '{arg}'; but type {other type} does not equal {at type}",
    ),
    (
        "0.3",
        r"invalid combination of arguments - got \("
        r"(?=[^()]{0,600}(?P<other>torch\.cuda\.\w+Tensor))(?=[^()]{0,600}(?P<at>torch\.[A-Z]\w+Tensor))",
    ),
    ("1.2", r"[Ee]xpected type {other type} but got {at type}"),
    ("0.4 to 1.2", r"expected {other type} \(got {at type}\)"),
    (NOW, r"map2?_: expected {other type} for (?:argument )?'{arg}' \(got {at type}\)"),
    ("0.4 to 1.2", r"expected (?P<other>CPU|CUDA) \(got (?P<at>CPU|CUDA)\)"),
    (
        "1.3 to 1.4",
        r"expected (?:device|backend) (?P<other>[\w:]+) and dtype \w+ but got (?:device|backend) (?!(?P=other) )(?P<at>[\w:]+) ",
    ),
    ("1.4 and newer", r"[Ee]xpected device {other} but got (?:device )?{at}"),
    ("0.4 and newer", r"expected '{arg}' to be a {other word} tensor, ?but got a {at word} tensor"),
    (NOW, r"expected '{arg}' to be {other word}, but got {at word}"),
    ("1.x", r"input tensors must be on the same device\. Received {at} and {other}"),
    (NOW, r"on device {other} \(device_ids\[0\]\) but found one of them on device: {at}"),
    (NOW, r"input\(device='?{at}'?\) and {layer}\(device=\s?'?{other}'?\) must be on the same device"),
    (NOW, r"Tensor on device {at} is not on the expected device {other}!"),
    (NOW, r"Unhandled FakeTensor Device Propagation for {op}, found two different devices {other}, {at}"),
    (NOW, r"Placeholder storage has not been allocated on (?P<other>MPS) device"),
    ("1.x", r"[Aa]ll tensors must be on devices\[0\]"),
    (NOW, r"Encountered different devices in metric calculation"),
    (NOW, r"Tensors of the same index must be on the same device"),
    (NOW, r"Expected inputs to be on same device"),
    (NOW, r"device\(\) == \w+\.(?:get_)?device\(\) to be true, but got false"),
    (NOW, r"Values and {arg} need to be on the same device"),
    (NOW, r"Both '{arg}' and '\w+' must be on the same device \(got '{at}' and '{other}'\)"),
    (NOW, r"must have same dtype, device, and layout"),
    ("0.3 to 1.9", r"are (?:located )?on different GPUs"),
    (NOW, r"must be on the (?:current|same)(?: GPU)? device"),
    (NOW, r"too many CPU scalars to non-CPU kernel"),
    (
        NOW,
        r"(?P<at>CPU) Scalar support for {arg} argument is not supported when calling {op} on (?P<other>CUDA) tensors",
    ),
    (NOW, r"to (?:be on|have) the same device"),
)
# The same for dtypes: the tensors are on one device, or the message does not speak of devices.
_DTYPES = (
    (
        NOW,
        r"Input type \((?P<at>[\w: <>]+)\) and {layer} type \((?P<other>[\w: <>]+)\) should be",
    ),
    (NOW, r"expected scalar type {other word} but (?:found|got) {at word}"),
    (
        NOW,
        r"same dtype, but got query\.dtype: {other dtype} key\.dtype: (?P=other) and value\.dtype: {at dtype}",
    ),
    (
        NOW,
        r"(?:to|must) have the same dtype,? but got:? (?:query\.dtype: )?{at dtype}(?: !=|,? and| key\.dtype:) {other dtype}",
    ),
    (NOW, r"(?:to|must) have the same dtype"),
    (NOW, r"Expected \w+ to have type {other word} but got {at word}"),
    (NOW, r"invalid dtype for bias - should match query's dtype"),
    (NOW, r"expected target dtype to be {other word}(?: or \w+)?, but got {at word}"),
    ("2.8", r"input must have the type {other word}, got type {at word}"),
    (NOW, r"RNN input dtype \({at word}\) does not match weight dtype \({other word}\)"),
    (NOW, r"Found dtype {at word} but expected {other word}"),
    (NOW, r"expected both vectors to have same dtype, but found {at word} and {other word}"),
    (
        NOW,
        r"tensors are not the same dtype, found input tensor with {at word} and \w+ tensor with {other word}",
    ),
    (
        NOW,
        r"source and destination dtypes match, got {other word} for the destination and {at word} for the source",
    ),
    (NOW, r"value cannot be converted to type (?:\w+::)?{other word} without overflow"),
    (
        "1.x",
        r"Expected tensor for argument #\d+ '{arg}' to have (?:one of the following )?"
        r"scalar types?:? (?P<other>\w+)[\w, ]*; but got {at type} instead",
    ),
    (
        "1.1 to 1.5",
        r"Expected object of scalar type {other word} but got scalar type {at word} for argument #\d+ '{arg}'",
    ),
    ("1.5", r"expected dtype {other word} but got dtype {at word}"),
    (
        "1.3 to 1.4",
        r"expected (?:device|backend) [\w:]+ and dtype {other word} but got (?:device|backend) [\w:]+ and dtype {at word}",
    ),
    (NOW, r"Expected dtype (?:int32(?: or |/))?(?P<other>int64) for {arg}"),
    (NOW, r"tensors used as {arg} must be (?P<other>long)"),
    (NOW, r"Input dtype must be either a floating point or complex dtype\. Got: {at word}"),
    ("1.x", r"Can only calculate the mean of floating types\. Got {at word} instead"),
    (NOW, r"expected floating point type for {arg} with class probabilities, got {at word}"),
    (NOW, r"mixed dtype \(CPU\): expect \w+ to have scalar type of {other word}"),
    # Half precision on the CPU is left to the catalogue: there the device is the question.
    (NOW, r"\"{op}\" not implemented for '(?!Half|BFloat16){at word}'"),
    (NOW, r"\"(?P<op>\w*(?:cuda|mps|xpu)\w*)\" not implemented for '{at word}'"),
    (
        "0.3",
        r"invalid combination of arguments - got \([^()]{0,300}?torch\.(?:cuda\.)?(?P<at>Half|Float|Double)Tensor[^()]{0,300}?"
        r"torch\.(?:cuda\.)?(?!(?P=at))(?P<other>Half|Float|Double)Tensor",
    ),
    ("1.x", r"result type {at word} can't be cast to the desired output type {other word}"),
)
_OTHERS = (
    (
        "gradient",
        r"assign a gradient with device type '{at word}' to a tensor with device type '{other word}'",
    ),
    (
        "gradient",
        r"assign a gradient located on device with index {at word} to a tensor located on device with index {other word}\.",
    ),
    ("numpy", r"can't convert (?P<at>[\w:]+) (?:device type )?tensor to numpy"),
    ("pin", r"cannot pin '{at type}' only (?:dense )?CPU (?:tensors|memory) can be pinned"),
    ("pin", r"Only dense CPU tensors can be pinned"),
    ("alias", r"can't alias tensor from device '{at}' to '{other}'"),
    ("lengths", r"'lengths' argument should be a 1D CPU int64 tensor, but got 1D {at} "),
    ("sections", r"tensor_split expected {arg} to be on cpu, but it's on {at}"),
    ("scalars", r"Expected (?P<arg>scalars) to be on CPU, got {at} instead"),
    (
        "generator",
        r"Expected a '?{other}'? (?:device type for )?generator (?:device )?but (?:found|got) '?{at}'?",
    ),
    ("meta", r"Cannot copy out of meta tensor; no data"),
    (
        "cpu build",
        r"Torch not compiled with CUDA enabled|without ATen_cuda library|(?:PyTorch|torch)\b[\w ]{0,40} without CUDA support",
    ),
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
    ("fork", r"Cannot re-initialize \w+ in forked subprocess|CUDA error: initialization error"),
    ("no kernel image", r"(?<!HIP error: )no kernel image is available for execution on the device"),
    ("no kernel image", r"is not compatible with the current PyTorch installation"),
    ("ordinal", r"invalid device ordinal|Invalid device id"),
    ("busy", r"all CUDA-capable devices are busy or unavailable"),
    (MEMORY, r"(?P<at>CUDA|MPS|HIP|XPU)[\w ]{0,80} out of memory"),
    ("no device", r"No CUDA GPUs are available|no CUDA-capable device is detected"),
    ("device string", r"device type at start of device string: ?'?(?P<arg>[\w:./-]*)"),
    ("device string", r"Invalid device string: '?(?P<arg>[^'\n]{0,60})"),
    ("device string", r"Device string must not be empty(?P<arg>)"),
    ("mps float64", r"Cannot convert a MPS Tensor to float64|MPS framework doesn't support float64"),
    ("mps fallback", r"The operator '{op}' is not currently supported on the MPS backend and will fall back"),
    ("mps operator", r"The operator '{op}' is not currently (?:implemented|supported) (?:for|on) the MPS"),
    # A convolution in three dimensions is told by the catalogue: its input is on the CPU, its weight on the card.
    (
        "operator",
        r"Could not run '(?!aten::slow_conv3d_forward){op}' with arguments from the '(?P<at>CUDA|MPS)' backend",
    ),
    ("no mps", r"PyTorch is not linked with support for mps devices|MPS backend is supported on [mM]acOS"),
)


def _compiled(pattern: str) -> re.Pattern[str]:
    for part, meaning in _PARTS.items():
        pattern = pattern.replace(part, meaning)
    return re.compile(pattern)


WORDINGS = [
    (family, _compiled(pattern))
    for family, pattern in (
        *((MISMATCH, one) for _, one in _MISMATCHES),
        *((DTYPE, one) for _, one in _DTYPES),
        *_OTHERS,
    )
]
