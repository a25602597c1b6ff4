"""PyTorch's sentence of refusal in parts: which words mean which tensors, and which the operator."""

import re
from typing import NamedTuple

from .hears import Refusal

MOST = 600  # characters of a message that are shown
_DEVICE = r"(?:cpu|meta|cuda(?::\d+)?|mps(?::\d+)?|xpu(?::\d+)?)"
_PARTS = re.compile(
    rf"(?P<argument>\w+) is on (?P<its>{_DEVICE})"
    rf"|other tensors on (?P<others>{_DEVICE})"
    r"|wrapper_\w+?_(?=\w)(?P<operator>\w+)"
    rf"|\b(?P<device>{_DEVICE})\b(?! device type)"
)


class Part(NamedTuple):
    """A piece of the message; what it means: the memories of some operands, the operator, or nothing of the two."""

    text: str
    memories: tuple[int, ...] = ()
    is_operator: bool = False


def parts(refusal: Refusal) -> list[Part]:
    """Return the message in pieces that together are its beginning."""
    text = refusal.message[:MOST] + ("…" if len(refusal.message) > MOST else "")
    found, end = [], 0
    for match in _PARTS.finditer(text):
        part = _part(match, refusal)
        if part is not None:
            found += [Part(text[end : match.start()]), part]
            end = match.end()
    return [part for part in (*found, Part(text[end:])) if part.text]


def _part(match: re.Match[str], refusal: Refusal) -> Part | None:
    """Return the piece, or None where nothing is known of what it names."""
    if match["operator"]:
        return Part(match[0], is_operator=True) if refusal.operator else None
    device = match["its"] or match["others"] or match["device"]
    there = [one for one in refusal.operands if _same(one.device, device)]
    if match["argument"]:
        there = [one for one in there if one.name.partition("[")[0] == match["argument"]] or there
    return Part(match[0], tuple(dict.fromkeys(one.memory for one in there))) if there else None


def _same(one: str, other: str) -> bool:
    """Whether two devices are the same, where a message may give only the type of one."""
    return one == other or (":" not in other and one.partition(":")[0] == other)
