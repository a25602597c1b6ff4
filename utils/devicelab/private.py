"""What is shown to others says nothing of whose machine it is: no home folder, no name of a user or a computer."""

import getpass
import os
import platform
import re
from functools import cache
from pathlib import Path
from typing import Any

# Names of users and computers that tell nothing, or that are words of every report.
COMMON_WORDS = {
    "admin", "administrator", "colab", "cpu", "cuda", "data", "device", "docker", "gpu", "jovyan", "kaggle", "linux", "localhost",
    "main", "model", "none", "nvidia", "python", "root", "test", "torch", "train", "ubuntu", "user", "vscode", "windows",
}  # fmt: skip
_VARIABLES = ("USER", "USERNAME", "LOGNAME", "SUDO_USER", "JUPYTERHUB_USER", "COMPUTERNAME", "HOSTNAME")
_SEPARATOR, _LETTER = r"[\\/]+", r"[^\\/\s\"'<>|:*?]"
# A name can hold blanks where a separator tells its end: C:\Users\Ann Lee\train.py
_NAME = rf"(?:{_LETTER}+(?: {_LETTER}+){{0,3}}(?=[\\/])|{_LETTER}+)"
_HOMES = re.compile(
    rf"(?:\b[A-Za-z]:|[\\/]mnt[\\/][a-z])?{_SEPARATOR}(?:home\d*|users){_SEPARATOR}{_NAME}|(?<![\w.])/root(?![\w.-])",
    re.IGNORECASE,
)


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
    try:
        home = str(Path.home())
    except RuntimeError:  # a user without one, in a container
        return ()
    return tuple(folder for folder in {home, home.replace("\\", "\\\\")} if len(folder) > 1)


def _own_names() -> tuple[re.Pattern[str], ...]:
    computer = platform.node()
    names = {
        _user(),
        computer,
        computer.partition(".")[0],
        *(os.environ.get(name, "") for name in _VARIABLES),
    }
    ordered = sorted(names, key=len, reverse=True)
    return tuple(_word(name) for name in ordered if len(name) > 2 and name.lower() not in COMMON_WORDS)


@cache
def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.IGNORECASE)


def _user() -> str:
    try:
        return getpass.getuser()
    except Exception:  # no such user in a container
        return ""
