"""How long a call takes on the device it really runs on, and what naive clocks would have said."""

from .calls import check_function, devices_used
from .naive import NaiveTiming, timeit_naive
from .timer import timeit

__all__ = ["NaiveTiming", "check_function", "devices_used", "timeit", "timeit_naive"]
