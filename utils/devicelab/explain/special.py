"""Mismatches told by a text whose place says more than the blamed argument: an optimizer's step, a traced function, an index."""

import builtins
import re
from dataclasses import replace

from .reading import Reading
from .result import Explanation
from .sources import call_in, changed, elements_in, names_in, suffixed
from .told import AnyFrame, Told

WHY = "an operation computes on one device; whatever was not moved there stays where it was made"
INDEX_WORDS = "indices should be"
THE_TENSOR = "the indexed tensor"
INDEX_WHY = (
    "an index may be on the CPU or where the tensor is; with the index moved to the CPU the work is done there, with the "
    "tensor moved it stays on the accelerator"
)
PLACEMENT = "import devicelab as lab; print(lab.placement({}))"
_NO_TENSORS = {"torch", "nn", "F", "np", "numpy", "self", "print", "math", *dir(builtins)}


def placement_of(code: str) -> str:
    """Return the line that shows where everything is that a line of code names."""
    found = [name for name in names_in(code) if name not in _NO_TENSORS]
    return PLACEMENT.format(", ".join(found or ("model", "optimizer", "batch")))


def explained(
    reading: Reading,
    what: str,
    culprit: str | None = None,
    why: str = WHY,
    fix: str = "",
    **more: object,
) -> Explanation:
    """Return the explanation of a text, with what most of them have in common."""
    return Explanation(reading.family, what, culprit, why, fix or placement_of(""), seen=False, **more)  # type: ignore[arg-type]


def _optimizer(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """The step of an optimizer whose state stayed behind."""
    if not _is_in_step(told) or len(reading.devices) < 2:
        return None
    target, wrong = reading.devices[:2]
    found = re.search(r"([\w.\[\]]+)\.step\(", place.code if place else "")
    name = found[1] if found else "optimizer"
    return explained(
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
    return explained(
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
    return explained(
        reading,
        f"A tensor in the traced function is on {wrong}, but {target} is needed here.",
        "a tensor in the traced function",
        f"torch.jit.trace writes down the device of each tensor that the function makes; or torch.jit.load without map_location "
        f"left the weights on {wrong}",
        f'traced = torch.jit.trace(model.to("{device}"), x.to("{device}"))',
        fix_at="trace it on the device on which it will run",
    )


def _indexing(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """An index that is neither on the CPU nor beside the tensor: the message says where the tensor is."""
    if not reading.message.lstrip().startswith(INDEX_WORDS) or not reading.argument_device:
        return None
    where = reading.argument_device
    pairs = elements_in(place.code) if place else []
    tensors, indices = (sorted({pair[side] for pair in pairs}, key=len) for side in (0, 1))
    tensor, index = " or ".join(tensors) or THE_TENSOR, " or ".join(indices) or "the index"
    elsewhere = "an accelerator" if where == "cpu" else "another card"
    one = len(tensors) == 1 and len(indices) == 1
    move = f".to({suffixed(indices[0], '.device')})" if indices else ".to(index.device)"
    fix, at = (
        changed(tensor, move, place.line if place else None)
        if one
        else changed(index, ".cpu()", None)
        if len(indices) == 1
        else (".cpu()", "behind the index")
    )
    return explained(
        reading,
        by_index(tensor, where, index, elsewhere),
        tensor,
        INDEX_WHY + (f": {changed(tensors[0], move, None)[0]}" if tensors and not one else ""),
        fix,
        fix_at=at,
    )


def by_index(tensor: str, where: str, index: str, elsewhere: str) -> str:
    """Return that a tensor is indexed by one on another device."""
    name = tensor.capitalize() if tensor == THE_TENSOR else tensor
    return f"{name} is on {where}, and {index}, by which it is indexed, on {elsewhere}."


def _metric(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """torchmetrics' own words, which name the class."""
    found = re.search(r"metric=(\w+)\(\.\.\.\)", reading.message)
    if "Encountered different devices in metric calculation" not in reading.message:
        return None
    call = call_in(place.code) if place else None
    name = call.function if call else "metric"
    kind = f" ({found[1]})" if found else ""
    return explained(
        reading,
        f"The state of {name}{kind} and what it was given are on different devices.",
        name,
        "a metric of torchmetrics is a module with buffers: it must be moved as the model is",
        f"{name} = {name}.to(device)",
    )


def _parallel(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """DataParallel, which copies the model from the first of its cards."""
    if "must be on devices[0]" in reading.message:
        return _broadcast(reading)
    if "(device_ids[0])" not in reading.message:
        return None
    target, wrong = (*reading.devices, "cuda:0", "")[:2] if reading.devices else ("device_ids[0]", "")
    where = f"on {wrong}" if wrong else "elsewhere"
    device = f'"{target}"' if target.startswith("cuda") else "device_ids[0]"
    return explained(
        reading,
        f"DataParallel needs the whole model on {target}, the first of its cards; a part of it is {where}.",
        "a parameter or buffer of the model",
        "it copies the model from its first card to the others; what was made or replaced after the move stayed behind, "
        "or the first card of device_ids is not the one that the model was moved to",
        f"model = model.to({device})",
        fix_at="before nn.DataParallel(model, device_ids=...)",
    )


def _broadcast(reading: Reading) -> Explanation:
    return explained(
        reading,
        "DataParallel copies from the first of its cards, device_ids[0], and gathers there; a tensor is on another card.",
        "a tensor on another card than device_ids[0]",
        "model, inputs and what is given to the loss must be on that card; two parts with unlike device_ids do not meet",
        "model = model.to(device_ids[0])",
        fix_at="before nn.DataParallel(model, device_ids=device_ids); one list for the whole program",
    )


def _embedding(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """An embedding of torch 1.5 to 1.9, which names no device."""
    if "indices must be on the current device" not in reading.message:
        return None
    call = call_in(place.code) if place else None
    name = call.arguments[0] if call and call.arguments else "ids"
    layer = call.function if call else "model"
    return explained(
        reading,
        f"{name} and the embedding of {layer} are on two devices, or on a card that is not the current one.",
        name,
        "most often the indices stayed on the CPU; with several cards, torch.cuda.set_device was not called in this process",
        f"{name} = {name}.to(next({layer}.parameters()).device)",
    )


def _replica(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """A replica of DataParallel's on one card, in which something is on the first one."""
    within = any(frame.path.endswith("parallel_apply.py") for frame in told.frames)
    if not within or len(reading.devices) < 2 or "cpu" in reading.devices:
        return None
    first, own = sorted(reading.devices)
    return explained(
        reading,
        f"In DataParallel's replica on {own} something stayed on {first}.",
        "a part of the model that is not replicated",
        "only parameters and buffers are copied to the other cards; a tensor kept as a plain attribute, modules in a list, and "
        ".cuda() or torch.zeros(..., device=...) in forward stay on one",
        "self.register_buffer(name, tensor)",
        fix_at="for tensors; nn.ModuleList for modules in a list, device=x.device for what forward makes",
    )


def _graph(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation | None:
    """DGL's graph, which has a device of its own, and a feature of its nodes or edges."""
    if "to a graph on device" not in reading.message or len(reading.devices) < 2:
        return None
    target, wrong = reading.devices[:2]
    feature = f"the feature {reading.argument}"
    name, other = ("the graph", feature) if reading.other_device == wrong else (feature, "the graph")
    device = f'"{target.partition(":")[0]}"'
    return explained(
        reading,
        f"{name[0].upper()}{name[1:]} is on {wrong}, {other} on {target}.",
        name,
        "a graph of DGL is moved as a tensor is; features given to it must be where it is",
        f"graph = graph.to({device})" if name == "the graph" else f"feature = feature.to({device})",
    )


SPECIAL = (_optimizer, _script, _indexing, _metric, _parallel, _embedding, _replica, _graph)
