"""A mismatch told by a text: what the blamed argument is in the learner's terms, who the others are, and who stayed behind."""

from dataclasses import dataclass

from .reading import Reading
from .result import Explanation, Met
from .sources import call_in, changed, product_in
from .special import SPECIAL, explained, placement_of
from .told import AnyFrame, Told


@dataclass(frozen=True)
class Role:
    """What a tensor is in words, and its place in the learner's line: "first", "last", "function", "left", "right" or ""."""

    words: str
    place: str = ""

    @property
    def is_certain(self) -> bool:
        """Whether the words lead to one tensor or layer."""
        return not self.words.startswith(("one of", "what meets", "the argument"))


_INPUT = Role("the input of the layer", "first")
_LAYER = Role("the layer", "function")
_LEFT = Role("the left operand of the product", "left")
_RIGHT = Role("the right operand of the product", "right")
_SOMEBODY = Role("one of the tensors in this line")
# For each argument that a message can blame: what it is, and who the others are.
_ROLES: dict[str, dict[str, tuple[Role, Role]]] = {
    "matrix product": {
        "mat1": (_INPUT, _LAYER),
        "mat2": (Role("the weight of the layer", "function"), _INPUT),
        "self": (Role("the bias of the layer", "function"), _INPUT),
    },
    "product": {
        "self": (_LEFT, _RIGHT),
        "mat1": (_LEFT, _RIGHT),
        "mat2": (_RIGHT, _LEFT),
        "vec": (_RIGHT, _LEFT),
        "tensor": (_RIGHT, _LEFT),
        "other": (_RIGHT, _LEFT),
    },
    "layer without bias": {"self": (_INPUT, _LAYER), "mat2": (Role("the weight of the layer", "function"), _INPUT)},
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
    role, other = _sides(reading, wrong, place)
    name, beside = (_name(one, place) for one in (role, other))
    verb = "are" if role.words.split(" of ")[0].endswith(("labels", "indices", "weights")) else "is"
    who = f"{name}, {role.words}," if name else f"{role.words[0].upper()}{role.words[1:]}"
    fix, at = _move(name, role, target.partition(":")[0], place)
    return explained(
        reading,
        f"{who} {verb} on {wrong}, but {target} is needed here.",
        name or role.words,
        fix=fix,
        fix_at=at,
        blames=_blames(reading, target, wrong),
        met=(Met(name, wrong), Met(beside, target)) if name and beside and name != beside else (),
    )


def _move(name: str, role: Role, target: str, place: AnyFrame | None) -> tuple[str, str]:
    """Return what moves a tensor, and where to type it; where it has no name, what to type behind it, or how to look."""
    move = f'.to("{target}")'
    if name:
        return changed(name, move, place.line if place else None)
    if role.is_certain:
        return move, f"behind {role.words}" + (", where it is made" if role.place == "function" else "")
    return placement_of(place.code if place else ""), ""


def _sides(reading: Reading, wrong: str, place: AnyFrame | None) -> tuple[Role, Role]:
    """Return who stayed behind and who did not."""
    operator = reading.operator or _ONLY_IN.get(reading.argument or "", "")
    if operator == "product" and place is not None and _calls_a_layer(place.code):
        operator = "layer without bias"
    if reading.argument is None:
        return _SOMEBODY, Role("")
    first, last = reading.argument in ("mat1", "input", "index"), reading.argument == "target"
    blamed_place, rest_place = ("first", "function") if first else ("last" if last else "", "")
    unknown = (
        Role(f"the argument {reading.argument}", blamed_place),
        Role(f"what meets {reading.argument}", rest_place),
    )
    blamed, rest = _ROLES.get(operator, {}).get(reading.argument, unknown)
    return (blamed, rest) if reading.argument_device == wrong else (rest, blamed)


def _calls_a_layer(code: str) -> bool:
    """Whether a line calls something, and does not compute a product itself."""
    return product_in(code) is None and call_in(code) is not None


def _name(role: Role, place: AnyFrame | None) -> str:
    """Return the learner's own words for a role, where the line is one call, or one product, that shows it."""
    code = place.code if place else ""
    if role.place in ("left", "right"):
        factors = product_in(code)
        return factors[role.place == "right"] if factors else ""
    call = call_in(code)
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
