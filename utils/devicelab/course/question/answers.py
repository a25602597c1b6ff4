"""What belongs to each question by its key: code, as the solutions have it, and words.

The code, the reference answer and what learners are given in its place, is written into answers.json by `python course.py
exercises`; the words, praise and hints and others, stand in questions.yaml.
"""

import json
from functools import cache
from importlib import resources
from typing import Any

import yaml

FILES = resources.files(__package__)


@cache
def texts() -> dict[str, dict[str, str]]:
    """Return the two texts, "answer" and "given", of each question by its key, such as "01.q1"."""
    found = json.loads(FILES.joinpath("answers.json").read_text("utf-8"))
    return {key: {name: "\n".join(lines) for name, lines in pair.items()} for key, pair in found.items()}


@cache
def words() -> dict[str, dict[str, Any]]:
    """Return the words of each question by its key: "praise", "hints", and "kind", "thing", "start_here" where it has them."""
    return yaml.safe_load(FILES.joinpath("questions.yaml").read_text("utf-8"))


def keys() -> dict[int, list[str]]:
    """Return the keys of all questions, by exercise."""
    found: dict[int, list[str]] = {}
    for key in texts():
        found.setdefault(int(key.partition(".")[0]), []).append(key)
    return found
