"""The same training step over many sizes on CPU and GPU: where does the lead change?"""

from .line import Crossover, Line, Point
from .result import Sweep
from .run import sweep

__all__ = ["Crossover", "Line", "Point", "Sweep", "sweep"]
