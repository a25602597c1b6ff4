"""Out of memory: who holds what, what grows from step to step and at which line, and what to type against just that."""

from .answer import out_of_memory

__all__ = ["out_of_memory"]
