"""A mismatch told by a text: what the blamed argument is in the learner's terms, who the others are, and who stayed behind."""

from dataclasses import dataclass

from .reading import Reading
from .result import Explanation, Met
from .sources import call_in
from .special import PLACEMENT, SPECIAL, explained
from .told import AnyFrame, Told


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
_ONLY_IN = {
    "mat1": "matrix product",
    "mat2": "matrix product",
    "target": "nll_loss",
    "index": "index_select",
    "tensors": "cat",
}


def mismatch_told(reading: Reading, told: Told, place: AnyFrame | None) -> Explanation:
    """Say who stayed behind as far as the message and the line allow: whatever is on the CPU, the blamed one or the others."""
    for special in SPECIAL:
        found = special(reading, told, place)
        if found is not None:
            return found
    target, wrong = (*reading.devices, "", "")[:2]
    if not wrong:
        return explained(reading, "Tensors on different devices met; the message does not say which.")
    if not wrong.startswith(("cpu", "meta")):
        what = f"Tensors on {target} and {wrong} met; a text does not tell which one is right."
        return explained(reading, what)
    role, other = _sides(reading, wrong)
    name, beside = (_name(one, place) for one in (role, other))
    verb = "are" if role.words.split(" of ")[0].endswith(("labels", "indices", "weights")) else "is"
    who = f"{name}, {role.words}," if name else f"{role.words[0].upper()}{role.words[1:]}"
    device = f'"{target.partition(":")[0]}"'
    return explained(
        reading,
        f"{who} {verb} on {wrong}, but {target} is needed here.",
        name or role.words,
        fix=f"{name} = {name}.to({device})" if name else PLACEMENT,
        blames=_blames(reading, target, wrong),
        met=(Met(name, wrong), Met(beside, target)) if name and beside and name != beside else (),
    )


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
