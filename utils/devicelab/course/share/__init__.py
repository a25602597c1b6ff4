"""One machine's results for a class, and a class's results together.

own        this machine's: timed now, with the bets and the progress that are kept
command    `python -m devicelab share`: shown first, written when the person says so
classroom  the files of a room, read with care, and what they say together
"""

from .classroom import Classroom, classroom

__all__ = ["Classroom", "classroom"]
