"""A mismatch told by a text: what the blamed argument is in the learner's terms, who the others are, and who stayed behind."""

import re
from dataclasses import dataclass, replace

from .reading import Reading
from .result import Explanation, Met
from .sources import call_in, elements_in
from .told import AnyFrame, Told

WHY = "an operation computes on one device; whatever was not moved there stays where it was made"
PLACEMENT = "print(lab.placement(model, optimizer, batch))"


@dataclass(frozen=True)
class Role:
    """What a tensor is in a call: in words, and where it stands in the learner's line: "first", "last", "function" or nowhere."""

    words: str
    place: str = ""


_INPUT = Role("the input of the layer", "first")
_LAYER = Role("the layer", "function")
_SOMEBODY = Role("one of the tensors in this line")
# For each argument that a message can blame: what it is, and who the others are.
_ROLES: dict[str, dict[str, tuple[Role, Role]]] = {
    "matrix product": {
        "mat1": (_INPUT, _LAYER),
        "mat2": (Role("the weight of the layer", "function"), _INPUT),
        "self": (Role("the bias of the layer", "function"), _INPUT),
        "mat": (Role("the matrix on the left"), Role("the vector")),
        "vec": (Role("the vector"), Role("the matrix on the left")),
        "tensor": (Role("the vector on the right"), Role("the vector on the left")),
    },
    "batched product": {
        "mat2": (Role("the tensor on the right of the product"), Role("the tensor on the left of the product")),
        "self": (Role("the tensor on the left of the product"), Role("the tensor on the right of the product")),
    },
    "nll_loss": {
        "target": (Role("the labels", "last"), Role("the output of the model", "first")),
        "weight": (Role("the class weights of the loss", "function"), Role("the output of the model", "first")),
        "self": (Role("the output of the model", "first"), Role("the labels", "last")),
    },
    "index_select": {
        "index": (Role("the indices", "first"), Role("the embedding", "function")),
        "self": (Role("the table that is indexed (an embedding's weight)", "function"), Role("the indices", "first")),
    },
    "batch_norm": {
        "weight": (Role("the weight of the batch norm layer", "function"), Role("the input", "first")),
        "running_mean": (Role("the running mean of the batch norm layer", "function"), Role("the input", "first")),
    },
    "layer_norm": {"weight": (Role("the weight of the layer norm layer", "function"), Role("the input", "first"))},
    "cat": {"tensors": (Role("one of the tensors that are joined"), Role("one of the tensors that are joined"))},
    "convolution": {
        "weight": (Role("the weight of the convolution", "function"), Role("the input of the convolution", "first")),
        "input": (Role("the input of the convolution", "first"), _LAYER),
    },
}  # fmt: skip

# Where a message names no operator: arguments that only one has.
_ONLY_IN = {"mat1": "matrix product", "mat2": "matrix product", "target": "nll_loss", "index": "index_select"}


def mismatch_told(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation:
    """Say who stayed behind as far as the message and the line allow: whatever is on the CPU, the blamed one or the others."""
    for special in (_optimizer, _script, _indexing, _metric, _parallel):
        found = special(reading, told, place)
        if found is not None:
            return found
    target, wrong = (*reading.devices, "", "")[:2]
    if not wrong:
        return _explained(reading, "Tensors on different devices met; the message does not say which.")
    if not wrong.startswith(("cpu", "meta")):
        what = f"Tensors on {target} and {wrong} met; a text does not tell which one is right."
        return _explained(reading, what)
    role, other = _sides(reading, wrong)
    name, beside = (_name(one, place) for one in (role, other))
    verb = "are" if role.words.split(" of ")[0].endswith(("labels", "indices", "weights")) else "is"
    who = f"{name}, {role.words}," if name else f"{role.words[0].upper()}{role.words[1:]}"
    device = f'"{target.partition(":")[0]}"'
    return _explained(
        reading,
        f"{who} {verb} on {wrong}, but {target} is needed here.",
        name or role.words,
        fix=f"{name} = {name}.to({device})" if name else PLACEMENT,
        blames=_blames(reading, target, wrong),
        met=(Met(name, wrong), Met(beside, target)) if name and beside and name != beside else (),
    )


def _explained(
    reading: Reading,
    what: str,
    culprit: str | None = None,
    why: str = WHY,
    fix: str = PLACEMENT,
    **more: object,
) -> Explanation:
    return Explanation(reading.family, what, culprit, why, fix, seen=False, **more)  # type: ignore[arg-type]


def _sides(reading: Reading, wrong: str) -> tuple[Role, Role]:
    """Return who stayed behind and who did not."""
    if reading.argument is None:
        return _SOMEBODY, Role("")
    first, last = reading.argument in ("mat1", "input", "index"), reading.argument == "target"
    blamed_place, rest_place = ("first", "function") if first else ("last" if last else "", "")
    unknown = (
        Role(f"the argument {reading.argument}", blamed_place),
        Role(f"what meets {reading.argument}", rest_place),
    )
    operator = reading.operator or _ONLY_IN.get(reading.argument, "")
    blamed, rest = _ROLES.get(operator, {}).get(reading.argument, unknown)
    return (blamed, rest) if reading.argument_device == wrong else (rest, blamed)


def _name(role: Role, place: AnyFrame | None) -> str:
    """Return the learner's name for a role, where the line is one call that shows it."""
    call = call_in(place.code) if place else None
    if call is None or not role.place:
        return ""
    if role.place == "function":
        return call.function
    if not call.arguments:
        return ""
    return call.arguments[0 if role.place == "first" else -1]


def _blames(reading: Reading, target: str, wrong: str) -> str:
    if reading.blames and reading.argument_device == target and wrong == "cpu":
        return (
            f"it names {reading.argument}, which is on {target} as it should be; look at what is on the CPU"
        )
    return ""


def _optimizer(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """The step of an optimizer whose state stayed behind."""
    if not _is_in_step(told) or len(reading.devices) < 2:
        return None
    target, wrong = reading.devices[:2]
    found = re.search(r"([\w.\[\]]+)\.step\(", place.code if place else "")
    name = found[1] if found else "optimizer"
    return _explained(
        reading,
        f"The state of {name} (momentum or averages) is on {wrong}, but its parameters are on {target}.",
        f"the state of {name}",
        "state that was made or loaded while the parameters were elsewhere stays there; load a checkpoint after "
        "model.to(device), and load_state_dict puts each state beside its parameter",
        f"{name}.load_state_dict({name}.state_dict())",
        fix_at="after the model was moved",
    )


def _is_in_step(told: Told) -> bool:
    """Whether the step of an optimizer failed, torch's or another's, and not what its closure computes."""
    paths = [frame.path.replace("\\", "/") for frame in told.frames]
    torchs = [number for number, path in enumerate(paths) if re.search(r"(?:^|/)torch/optim/", path)]
    if not torchs or re.search(r"/torch/nn/", paths[-1]):
        return False
    below = told.frames[torchs[-1] + 1 :]
    return not below or any(re.search(r"(?:^|\.)step(?:$|\()", frame.function) for frame in below)


def _script(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """A tensor in a traced function: tracing writes the device of each tensor down that the function makes."""
    if not told.script or len(reading.devices) < 2:
        return None
    made = re.search(r"torch\.(\w+)\([^\n]{0,300}?device=torch\.device\(\"(\w+(?::\d+)?)\"\)", told.script)
    answer = _made(reading, *made.groups()) if made and made[2] in reading.devices else _traced(reading)
    shown = next(
        (frame.code for frame in told.frames if frame.marked), ""
    )  # where only the serialized code is shown
    return replace(
        answer,
        line=place.line if place else None,
        file=place.file if place else None,
        code=(place.code if place else "") or shown,
    )


def _made(reading: Reading, function: str, wrong: str) -> Explanation:
    target = next(one for one in reading.devices if one != wrong)
    return _explained(
        reading,
        f"A tensor that the traced function makes (torch.{function}) is on {wrong}, but {target} is needed here.",
        f"torch.{function}(...) in the traced function",
        f"torch.jit.trace wrote the device {wrong} down when it ran the function; another input does not change it",
        f"torch.{function}(..., device=x.device)",
        fix_at="in the function, x being its input; then trace it again",
    )


def _traced(reading: Reading) -> Explanation:
    target, wrong = reading.devices[:2]
    device = target.partition(":")[0]
    return _explained(
        reading,
        f"A tensor in the traced function is on {wrong}, but {target} is needed here.",
        "a tensor in the traced function",
        f"torch.jit.trace writes the device down of each tensor that the function makes; or torch.jit.load, without map_location, "
        f"left the weights on {wrong}",
        f'traced = torch.jit.trace(model.to("{device}"), x.to("{device}"))',
        fix_at="trace it on the device on which it will run",
    )


def _indexing(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """An index that is neither on the CPU nor beside the tensor: the message says where the tensor is."""
    if not reading.message.lstrip().startswith("indices should be") or not reading.argument_device:
        return None
    where = reading.argument_device
    pairs = elements_in(place.code) if place else []
    tensors, indices = (sorted({pair[side] for pair in pairs}, key=len) for side in (0, 1))
    tensor, index = " or ".join(tensors) or "the indexed tensor", " or ".join(indices) or "the index"
    elsewhere = "an accelerator" if where == "cpu" else "another card"
    move = (
        f"{tensors[0]} = {tensors[0]}.to({indices[0]}.device)"
        if tensors and indices
        else "tensor = tensor.to(index.device)"
    )
    fix = (
        f"{indices[0]} = {indices[0]}.cpu()"
        if len(indices) == 1 and indices[0].isidentifier()
        else "index = index.cpu()"
    )
    return _explained(
        reading,
        f"{tensor} is on {where}, and {index}, by which it is indexed, on {elsewhere}.".replace(
            "the indexed", "The indexed", 1
        ),
        tensor,
        f"an index may be on the CPU or where the tensor is; so that the work stays on the accelerator, move the tensor: {move}",
        move if len(tensors) == 1 and tensors[0].isidentifier() else fix,
    )


def _metric(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """torchmetrics' own words, which name the class."""
    found = re.search(r"metric=(\w+)\(\.\.\.\)", reading.message)
    if "Encountered different devices in metric calculation" not in reading.message:
        return None
    call = call_in(place.code) if place else None
    name = call.function if call else "metric"
    kind = f" ({found[1]})" if found else ""
    return _explained(
        reading,
        f"The state of {name}{kind} and what it was given are on different devices.",
        name,
        "a metric of torchmetrics is a module with buffers: it must be moved as the model is",
        f"{name} = {name}.to(device)",
    )


def _parallel(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """DataParallel, which copies the model from the first of its cards."""
    message = reading.message
    if "(device_ids[0])" not in message and "must be on devices[0]" not in message:
        return None
    target, wrong = (*reading.devices, "cuda:0", "")[:2] if reading.devices else ("device_ids[0]", "")
    where = f"on {wrong}" if wrong else "elsewhere"
    device = f'"{target}"' if target.startswith("cuda") else "device_ids[0]"
    return _explained(
        reading,
        f"DataParallel needs the whole model on {target}, the first of its cards; a part of it is {where}.",
        "a parameter or buffer of the model",
        "it copies the model from its first card to the others; what was made or replaced after the move stayed behind, "
        "or the first card of device_ids is not the one that the model was moved to",
        f"model = model.to({device})",
        fix_at="before nn.DataParallel(model, device_ids=...)",
    )
