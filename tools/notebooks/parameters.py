"""The parameters of the lessons: the cell that papermill and a learner change, the same in each. CONTRIBUTING.md says how."""

from typing import Any

from devicelab.errors import InputError
from devicelab.gpus import find

FIRST = (  # of the cell in every lesson, word for word
    'card = "Tesla T4"  # the GPU that is simulated where there is none',
    "seed = 0  # where all random numbers start",
)
SIZES = (
    "epochs",
    "rows",
    "width",
    "size",
)  # rounds, examples at once, features of each, rows and columns of a square
OWN = ("birthday", "script", "python")  # of one lesson
ORDER = ("card", "seed", *SIZES, *OWN)
LARGEST_SEED = 2**63 - 1  # torch.manual_seed takes a little more, random and NumPy take less or more


def refused(name: str, value: Any) -> str | None:
    """Return the sentence that refuses a value of the right kind, or None."""
    if name == "card":
        try:
            find(value)
        except InputError as error:
            return str(error)
    if name == "seed" and not 0 <= value <= LARGEST_SEED:
        return f"seed must be 0 or more and below 2**63, but it is {value}."
    if name in SIZES and value < 1:
        return f"{name} must be 1 or more, but it is {value}."
    return None
