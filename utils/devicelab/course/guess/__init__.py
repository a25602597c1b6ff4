"""A guess before a cell is run: noted, never marked, answered when the outcome is there.

guess         the question with its widget, a choice or a number
bet           the guess that is a number: how far off it was
guesses.yaml  the reply to each option of each question of the lessons
"""

from .guess import guess

__all__ = ["guess"]
