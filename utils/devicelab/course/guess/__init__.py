"""A guess before a cell is run: noted, never marked, answered under the result that settles it.

guess         the question with its widget, a choice or a number
settling      which cell settles a bet, and the reply that opens there
tally         the bets of a lesson, looked back on
bet           what was bet, and what is said to it
numbers       numbers as learners write them, and by what factor one is off
guesses.yaml  the reply to each option of each question of the lessons
"""

from .guess import guess
from .tally import tally

__all__ = ["guess", "tally"]
