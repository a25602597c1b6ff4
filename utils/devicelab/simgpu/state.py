"""The running simulation, for the functions that stand in for torch's own; those that it interrupted lie below it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Simulation

current: "Simulation | None" = None
stack: "list[Simulation]" = []
