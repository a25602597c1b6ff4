"""The reference answer of each question, and the code that learners are given in its place, as the solutions have them.

`python course.py exercises` writes both into answers.json.
"""

import json
from functools import cache
from importlib import resources


@cache
def texts() -> dict[str, dict[str, str]]:
    """Return the two texts, "answer" and "given", of each question by its key, such as "01.q1"."""
    found = json.loads(resources.files(__package__).joinpath("answers.json").read_text("utf-8"))
    return {key: {name: "\n".join(lines) for name, lines in pair.items()} for key, pair in found.items()}


def keys() -> dict[int, list[str]]:
    """Return the keys of all questions, by exercise."""
    found: dict[int, list[str]] = {}
    for key in texts():
        found.setdefault(int(key.partition(".")[0]), []).append(key)
    return found
