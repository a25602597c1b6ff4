"""A question of an exercise: it lets its judge look at an answer, and says what came of it.

question  a question: check, hint, solution        outcome   what it says: not attempted, not yet, passed
cells     whether an answer is the one of now      progress  which questions were passed, in a small file
answers   what belongs to a question: its reference answer, praise and hints
"""

from .outcome import NotAttempted, NotYet, Outcome
from .question import Question, exercise

__all__ = ["NotAttempted", "NotYet", "Outcome", "Question", "exercise"]
