"""A prediction of where tensors are, compared with what running the lines showed."""

from collections.abc import Mapping
from typing import Any

from devicelab.course.question.outcome import NotAttempted, NotYet

from .words import short


def compare_places(places: Any, truth: Mapping[str, str], why: Mapping[str, str]) -> None:
    """Raise unless `places` names, for each key of `truth`, the kind of device that running the lines showed."""
    if not isinstance(places, dict) or set(places) != set(truth):
        raise NotYet(f"The answer is a dict with the keys {', '.join(truth)}, as in the cell.")
    if all(place is ... for place in places.values()):
        raise NotAttempted
    for name, wanted in truth.items():
        place = str(places[name]).removesuffix(":0")
        if place not in ("cpu", "cuda"):
            raise NotYet(f"For {name} you wrote {short(places[name])}; 'cpu' or 'cuda' was asked for.")
        if place != wanted:
            raise NotYet(f"The lines were run, and {name} was not on {place}: {why[name]}")
