"""What is shown to others says nothing of whose machine it is: no home folder, no name of a user or a computer."""

import getpass
import platform
import re
from functools import cache
from pathlib import Path
from typing import Any

# Names of people, at times.
COMMON_WORDS = {"root", "user", "python", "torch", "nvidia", "cuda", "docker", "linux", "windows", "none"}
_HOMES = re.compile(r"(?:/home|/Users|[A-Za-z]:\\+Users)[/\\]+[^/\\\s\"']+")


def private(text: str) -> str:
    """Return the text without home folders, and without the names of the user and the computer."""
    for folder in _own_homes():
        text = text.replace(folder, "~")
    text = _HOMES.sub("~", text)
    for name in _own_names():
        text = name.sub("***", text)
    return text


def private_data(data: Any) -> Any:
    """Return plain data with each of its texts made private; its keys stay."""
    if isinstance(data, str):
        return private(data)
    if isinstance(data, dict):
        return {key: private_data(value) for key, value in data.items()}
    return [private_data(value) for value in data] if isinstance(data, (list, tuple)) else data


def _own_homes() -> tuple[str, ...]:
    home = str(Path.home())
    return tuple(folder for folder in {home, home.replace("\\", "\\\\")} if len(folder) > 1)


def _own_names() -> tuple[re.Pattern[str], ...]:
    names = {_user(), platform.node()}
    return tuple(_word(name) for name in names if len(name) > 2 and name.lower() not in COMMON_WORDS)


@cache
def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(name)}\b")


def _user() -> str:
    try:
        return getpass.getuser()
    except Exception:  # no such user in a container
        return ""
