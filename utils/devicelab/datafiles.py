"""JSON files that somebody else wrote, or will read: read within bounds, checked by a schema, written whole or not at all."""

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from .errors import InputError


def read(path: Path, most: int | None = None) -> Any:
    """Return the data of a JSON file of at most `most` bytes; ValueError or OSError says why it cannot be read."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no plain file")  # a pipe would be waited for without an end
    if most is not None and found.st_size > most:
        raise ValueError(f"it has {found.st_size:,} bytes, and such a file has {most:,} at most")
    try:
        return json.loads(path.read_text("utf-8"), parse_constant=_no_number)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def fault(data: object, schema: dict[str, Any]) -> str:
    """Return where data do not keep to a JSON schema and what is wrong there; nothing where they do."""
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import best_match
    except ImportError:
        raise InputError(
            "Files of others are checked by jsonschema: python -m pip install jsonschema."
        ) from None
    dates = Draft202012Validator.FORMAT_CHECKER
    error = best_match(Draft202012Validator(schema, format_checker=dates).iter_errors(data))
    if error is None:
        return ""
    place = "".join(f"[{part!r}]" for part in error.absolute_path) or "the file"
    return f"at {place}, {error.message}"


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all; its folder exists."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}-", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(partial, 0o644)  # as any file: mkstemp's own are for one user only
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
