"""The machine of the running simulation, for the functions that stand in for torch's own."""

from .machine import Machine

current: Machine | None = None
