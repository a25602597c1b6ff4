"""One machine's results for a class, and a class's results together.

own      this machine's: measured now, with the bets and the progress that are kept
command  `python -m devicelab share`: shown first, written when the person says so
room     the files of a room, read with care, and what they say together
"""

from .room import Room, room

__all__ = ["Room", "room"]
