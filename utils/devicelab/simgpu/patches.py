"""Attributes of torch that are replaced for a while, and put back exactly as they were."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

_ABSENT = object()


class Patches:
    """What one simulation has replaced, in order; `undo` puts everything back, last one first."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, attribute: str, value: Any) -> None:
        """Replace `owner.attribute`, remembering what the owner itself held there, if anything."""
        before = vars(owner).get(attribute, _ABSENT)
        setattr(owner, attribute, value)
        self._undo.append((owner, attribute, before))

    def everywhere(self, replacements: Mapping[Any, Any]) -> None:
        """Replace functions under every name that a loaded module gave them (`from torch import zeros`)."""
        by_id = {id(original): (original, value) for original, value in replacements.items()}
        wanted = set(by_id)
        for module in list(sys.modules.values()):
            names = getattr(module, "__dict__", {})
            if wanted.isdisjoint(map(id, list(names.values()))):  # nearly all of them, some 100,000 names
                continue
            for name, held in list(names.items()):
                found = by_id.get(id(held))
                if found and found[0] is held:
                    self.set(module, name, found[1])

    def undo(self) -> None:
        """Put everything back, also where one step fails; the first failure is raised at the end."""
        failures = []
        while self._undo:
            owner, attribute, before = self._undo.pop()
            try:
                setattr(owner, attribute, before) if before is not _ABSENT else delattr(owner, attribute)
            except (AttributeError, TypeError) as failure:
                failures.append(failure)
        if failures:
            raise failures[0]


def run_all(callables: list[Callable[[], object]]) -> None:
    """Call all, last one first, emptying the list; what was raised first is raised after the last."""
    failures = []
    while callables:
        try:
            callables.pop()()
        except Exception as failure:
            failures.append(failure)
    if failures:
        raise failures[0]
