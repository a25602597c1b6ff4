"""`python -m devicelab explain`: the text of an error, from a file or piped in, put in words for people or programs."""

import codecs
import json
import locale
import os
import sys
from pathlib import Path

from devicelab.errors import InputError
from devicelab.private import private, private_data

from . import explain
from .pasted import is_no_text
from .result import Explanation

KNOWN, OTHER = 0, 1  # exit codes
SCHEMA = "devicelab/explain"
VERSION = 1  # rises when a key changes its meaning or goes away
STDIN = "-"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # of Windows' PowerShell


def main(source: str | None, as_json: bool) -> int:
    """Print the explanation of a text; return 0 where it is about devices or dtypes, 1 where it is about something else.

    Raises InputError for what cannot be read, is empty or no text, and where the answer cannot be written.
    """
    text = text_from(source)
    if not text.strip() or is_no_text(text):
        raise InputError(
            "this is no text that could hold an error." if text.strip() else "the text is empty."
        )
    found = explain(text)
    _written(json.dumps(as_data(found), indent=2) if as_json else private(str(found)))
    return KNOWN if found.helps else OTHER


def _written(answer: str) -> None:
    """Print an answer; what a full disk keeps from being written is not tried again when Python ends."""
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise InputError(f"the answer cannot be written: {error.strerror}.") from None


def text_from(source: str | None) -> str:
    """Read a file, or what is piped in; raises InputError where there is neither."""
    if source in (None, STDIN):
        if sys.stdin is None or (source is None and sys.stdin.isatty()):
            raise InputError("explain needs a file with the error's text, or - and the text piped in.")
        return decoded(sys.stdin.buffer.read())
    if Path(str(source)).suffix == ".py":
        raise InputError(
            f"{source} is a script, not the text of an error; run it: python -m devicelab run {source}"
        )
    try:
        return decoded(Path(str(source)).read_bytes())
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror}.") from None


def decoded(data: bytes) -> str:
    """Return bytes as text, whatever wrote them; what is no text is not made to be one."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        own = locale.getpreferredencoding(False)
        return data.decode("utf-8" if b"\x00" in data else own, errors="replace")


def as_data(found: Explanation) -> dict[str, object]:
    """Return an explanation as plain data for JSON: `devicelab/schemas/explain.json` says what each key means."""
    return {"schema": SCHEMA, "version": VERSION, **private_data(found.to_dict())}
