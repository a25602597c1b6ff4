"""Who works when: a lane for the CPU, one for each card, on one time axis. Solid is work, hatched is waiting.

scene   bars, lanes and tracks as plain data
still   one frame as a picture
result  the picture that moves
"""

from .result import Lanes
from .scene import KINDS, WAIT, Bar, Lane, Track, busy

__all__ = ["KINDS", "WAIT", "Bar", "Lane", "Lanes", "Track", "busy"]
