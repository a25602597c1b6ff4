"""The errors about devices that are no mismatch of two tensors: NumPy, pinning, lengths, generators, loading."""

import ast
import re
from collections.abc import Sequence
from dataclasses import replace

import torch

from . import catalogue, environment
from .containers import moved_each
from .environment import Answer, Answering
from .frames import Frame
from .loading import at_load
from .names import View, name_of
from .operands import Operand
from .reading import Reading
from .result import Explanation, Met
from .sources import call_in, changed, elements_in, suffixed, word_for
from .told import AnyFrame
from .verdict import device_text
from .wordings import CPU_ONLY, MISPLACED


def other_family(frames: Sequence[AnyFrame], reading: Reading) -> Explanation:
    """Explain an error by its family; a text's `frames` hold no tensors."""
    own = [frame for frame in reversed(frames) if frame.is_learners]
    own.sort(key=lambda frame: getattr(frame, "is_checkout", False))
    live = [frame for frame in frames if isinstance(frame, Frame)]
    operand = _operand(live, reading.family) if reading.family in CPU_ONLY else None
    subject = _subject(operand, [View(frame) for frame in own if isinstance(frame, Frame)])
    answer = _ANSWERS[reading.family](reading, subject, own)
    if reading.family == "ordinal" and answer.culprit == environment.A_CARD and any(map(_is_spawns, frames)):
        answer = environment.fewer_processes(answer)
    place = own[0] if own else None
    return Explanation(
        reading.family,
        answer.what,
        answer.culprit,
        answer.why,
        answer.fix,
        line=place.line if place else None,
        file=place.file if place else None,
        code=place.code if place else "",
        fix_at=answer.at,
        met=(Met(subject, str(operand.device), operand.shape),) if operand and subject else (),
        seen=bool(live),
    )


def _is_spawns(frame: AnyFrame) -> bool:
    """Whether a frame is that by which torch.multiprocessing.spawn calls a function in a new process."""
    return frame.function == "_wrap" and frame.path.replace("\\", "/").endswith(
        "torch/multiprocessing/spawn.py"
    )


def from_catalogue(message: str, exception: str | None = None, code: str = "") -> Explanation | None:
    """Explain what is no matter of tensors by the catalogue of what goes wrong on the way to a GPU, if it is there."""
    found = catalogue.find(message, exception, code)
    if found is None:
        return None
    fix = moved_each(message, code) if found.id == "container moved" else ""
    return Explanation(
        found.kind,
        found.means,
        why=found.why,
        fix=fix or found.do["any"],
        seen=False,
        note="",
        tell=found.tell,
        elsewhere=found.elsewhere,
        sure=found.confidence,
        source=found.source[0],
    )


def documented(found: Explanation, message: str, exception: str = "") -> Explanation:
    """Return a family's answer with what the catalogue says of the same words: how to tell causes apart, how sure, where from."""
    known = catalogue.find(message, exception or None)
    if known is None or found.source:
        return found
    of_tensors = found.kind in MISPLACED and found.kind != "generator"  # their answers name the cause
    return replace(
        found,
        tell=() if of_tensors else known.tell,
        elsewhere=() if of_tensors else known.elsewhere,
        sure=known.confidence,
        source=known.source[0],
    )


def _operand(frames: list[Frame], family: str) -> Operand | None:
    """Return the tensor that an accelerator holds and this call cannot take."""
    for frame in reversed(frames):
        found = [one for one in View(frame).operands if one.device.type not in ("cpu", "meta")]
        if found:
            if family in ("sections", "scalars"):
                return found[-1]
            return next((one for one in found if "lengths" in one.text), found[0])
    return None


def _subject(operand: Operand | None, views: list[View]) -> str:
    """Return the learner's own words for the tensor."""
    if operand is None:
        return ""
    if operand.tensor is not None and not operand.made:
        named = name_of(operand.tensor, views)
        if named:
            return named.text
    same = (one.text for view in views for one in view.operands if one.device == operand.device)
    return next(same, "")


def _numpy(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    subject = subject or (_read_by_numpy(own[0].code) if own else "")
    name = subject or word_for("tensor", own[0].code if own else "")
    what = f"{subject or 'The tensor'} is on {reading.argument_device}, and NumPy sees only the CPU's memory."
    why = "NumPy, matplotlib and pandas cannot read a GPU's memory; a copy on the CPU can be converted"
    if own and own[0].function.startswith("__getitem__") and subject.isidentifier():
        why += "; an index that is on a GPU was drawn there, because torch.set_default_device made the GPU the default"
        return Answer(what, subject, why, f"{name} = {name}.cpu()")
    whole = _list_of(name, own[0]) if own else ""
    if whole:
        what = (
            f"The tensors in {whole} are on {reading.argument_device}, and NumPy sees only the CPU's memory."
        )
        fix = f"[t.detach().cpu() for t in {whole}]"
        return Answer(what, whole, why, fix, f"in place of {whole} in line {own[0].line}")
    direct = not own or ".numpy()" in own[0].code
    detach = "" if name.endswith(".detach()") else ".detach()"
    fix = suffixed(name, f"{detach}.cpu(){'.numpy()' if direct else ''}")
    place = "" if name else "behind the tensor that NumPy is to read"
    if own and not direct and name.endswith("]") and name in own[0].code:
        place = f"in place of {name} in line {own[0].line}"
    return Answer(what, subject or None, why, fix, place)


def _list_of(element: str, frame: AnyFrame) -> str:
    """Return the list that a line hands to NumPy as a whole, where the tensor that was refused is an element of it, else ""."""
    found = re.fullmatch(r"(.+)\[\d+\]", element)
    nodes = ast.walk(frame.statement) if found and frame.statement else ()
    said = {ast.unparse(node) for node in nodes if isinstance(node, ast.expr)}
    return found[1] if found and found[1] in said and element not in said else ""


def _read_by_numpy(code: str) -> str:
    """Return what a line that is only read hands to NumPy: what `.numpy()` is asked of, a single argument, or an index."""
    found = re.search(r"([\w.]{1,80})\.numpy\(\)", code)
    if found:
        return found[1]
    call, indices = call_in(code), [index for _, index in elements_in(code)]
    if len(indices) == 1 and indices[0].isidentifier():
        return indices[0]
    return call.arguments[0] if call and len(call.arguments) == 1 else ""


def _pin(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    what = f"{subject or 'A tensor'} is on the GPU already and cannot be pinned."
    why = "pinned memory is the CPU's memory, held ready for copies to the GPU; what is on the GPU needs none"
    if own and "pin_memory(" in own[0].code and subject:
        return Answer(what, subject, why, changed(subject, ".cpu().pin_memory()", own[0].line)[0])
    return Answer(what, subject or "the data set's tensors", why, "DataLoader(..., pin_memory=False)")


# Who reads what on the CPU, and why the rest may stay on the GPU.
_READ_ON_CPU = {
    "lengths": (
        "pack_padded_sequence reads the lengths",
        "the lengths steer a loop on the CPU; the padded data itself may stay on the GPU",
    ),
    "sections": (
        "tensor_split reads where to split",
        "the places steer a loop on the CPU; the tensor that is split may stay on the GPU",
    ),
    "scalars": (
        "the operation reads its scalars",
        "they are handed to the kernels as numbers; the tensors that are changed may stay on the GPU",
    ),
}


def _read_on_cpu(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    name = subject or reading.argument or reading.family
    reads, why = _READ_ON_CPU[reading.family]
    verb = "are" if name in ("lengths", "scalars") else "is"
    written = subject or word_for(name, own[0].code if own else "")
    return Answer(
        f"{subject or f'The {name}'} {verb} on {reading.argument_device}, but {reads} on the CPU.",
        name,
        why,
        suffixed(written, ".cpu()"),
        "" if written else f"behind what the line gives for {name}",
    )


def _generator(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    wanted, given = reading.other_device or "cuda", reading.argument_device
    made = f'torch.Generator(device="{wanted}")'
    name = _generator_name(own)
    if name:
        why = f"a generator draws numbers on one device only, and {name} draws on {given}"
        return Answer(
            f"{name} is a generator of {given}, but {wanted} is needed here.", name, why, f"{name} = {made}"
        )
    call = _drawing(own[0].code) if own else ""
    default = f"torch.set_default_device, or set_default_tensor_type, makes the numbers come from {wanted}"
    if call:
        why = f"{default}, and without a generator of its own the call uses the one of {given}"
        what = f"The generator of {call} is one of {given}, but {wanted} is where its numbers are drawn."
        line, at = _with_generator(own[0], call, made) or (f"{call}(..., generator={made})", "")
        return Answer(what, f"the generator of {call}", why, line, at)
    why = (
        f"a generator draws on one device only, that of the tensor it fills; if no line of yours makes one, it is that of "
        f"random_split, randperm or a shuffling DataLoader, and {default}"
    )
    what = f"A generator of {given} was asked for numbers on {wanted}."
    return Answer(what, "the generator", why, f"generator={made}")


def _drawing(code: str) -> str:
    """Return what draws in a line: random_split, a shuffling DataLoader, a function of torch's."""
    found = re.search(
        r"\b((?:torch\.)?(?:random_split|randperm|rand\w*|multinomial|normal|bernoulli))\(", code
    )
    if found:
        return found[1]
    return "DataLoader" if re.match(r"(?:for|async for)\b|.*\bnext\(|.*\biter\(|.*\.fit\(", code) else ""


def _with_generator(frame: AnyFrame, call: str, made: str) -> tuple[str, str] | None:
    """Return the statement that calls, or that makes the DataLoader, with a generator, and where it stands."""
    loader = call == "DataLoader"
    tree = frame.tree if loader and isinstance(frame, Frame) else None if loader else frame.statement
    statements = [one for one in ast.walk(tree) if isinstance(one, (ast.Assign, ast.Expr))] if tree else []
    found = [
        (one, part)
        for one in statements
        for part in ast.walk(one)
        if isinstance(part, ast.Call) and ast.unparse(part.func).endswith(call)
    ]
    if len(found) != 1 or any(word.arg == "generator" for word in found[0][1].keywords):
        return None
    statement, part = found[0]
    whole, inner = ast.unparse(statement), ast.unparse(part)
    line = statement.lineno if isinstance(frame, Frame) else frame.line
    fix = whole.replace(inner, f"{inner[:-1]}, generator={made})")
    return fix, f"in place of line {line}" if line else ""


def _generator_name(own: list[AnyFrame]) -> str | None:
    """Return the learner's variable that holds the generator, if the failing line mentions it."""
    for frame in own[:1]:
        for name, value in frame.names().items():
            if isinstance(value, torch.Generator) and re.search(rf"\b{name}\b", frame.code):
                return name
    return None


def _alias(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    what = f"The tensor is on {reading.argument_device}, and copy=False forbids the copy to {reading.other_device}."
    why = "two devices share no memory: what is asked for on another one is a copy"
    return Answer(what, None, why, "leave out copy=False")


def _meta(reading: Reading, subject: str, own: list[AnyFrame]) -> Answer:
    name = _receiver(own) or "model"
    frame = own[0] if own else None
    device = device_text(View(frame), torch.device("cuda", 0)) if isinstance(frame, Frame) else '"cuda"'
    what = f"{name} is on the meta device: it has shapes but no values, so there is nothing to copy."
    why = "it was made under torch.device('meta') or init_empty_weights, and its values were never loaded"
    return Answer(what, name, why, f"{name}.to_empty(device={device}); {name}.load_state_dict(state)")


def _receiver(own: list[AnyFrame]) -> str | None:
    """Return `model` where the failing call is `model.to(...)`."""
    node = own[0].node if own else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return ast.unparse(node.func.value)
    return None


_ANSWERS: dict[str, Answering] = {
    **environment.ANSWERS,
    "numpy": _numpy,
    "pin": _pin,
    "alias": _alias,
    **dict.fromkeys(_READ_ON_CPU, _read_on_cpu),
    "generator": _generator,
    "meta": _meta,
    "no gpu at load": at_load,
    "fewer gpus at load": at_load,
}
FAMILIES = tuple(_ANSWERS)
