"""Find the entry whose words stand in a text."""

import re
from functools import cache
from importlib import resources
from typing import Any

import yaml

from .entry import Entry

GAP = 160  # letters that "..." stands for, at most: so the time of a search grows as the text does, and not faster
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML was built with it


@cache
def entries() -> tuple[Entry, ...]:
    """Return all entries, in the order of the files' names."""
    files = (file for file in resources.files(__package__).iterdir() if file.name.endswith(".yaml"))
    found: list[Entry] = []
    for file in sorted(files, key=lambda one: one.name):
        page = yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER)
        found += [_entry(page["area"], given) for given in page["entries"]]
    return tuple(found)


def _entry(area: str, given: dict[str, Any]) -> Entry:
    do = given["do"] if isinstance(given["do"], dict) else {"any": given["do"]}
    listed = {"source": tuple(given["source"]), "tell": tuple(given.get("tell", ()))}
    return Entry(**{"area": area, "kind": given["id"], **given, **listed, "do": do})


def entry(name: str) -> Entry:
    """Return the entry of a name."""
    return next(one for one in entries() if one.id == name)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], Entry], ...]:
    """The words of all entries: those of special entries first, those of general ones last, else the longest first."""
    words = [(text, one) for one in entries() for text in one.words]
    words.sort(key=lambda pair: (pair[1].special, not pair[1].general, len(pair[0])), reverse=True)
    return tuple((_compiled(text), one) for text, one in words)


def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(f".{{0,{GAP}}}?".join(re.escape(part) for part in re.split(r" ?\.\.\. ?", text)))


def find(message: str, exception: str | None = None, code: str = "") -> Entry | None:
    """Return the entry whose words stand in a message, or None; the longest words win.

    `exception` is the name of the error's class, if it is known: words may begin with it, or in `code`, the line that raised
    it; what stands in the code alone does not count.
    """
    text = " ".join(f"{exception}: {message}".split() if exception else message.split())
    line = " ".join(code.split()) + " " if code else ""
    return next(
        (
            one
            for pattern, one in _patterns()
            if any(at.end() > len(line) for at in pattern.finditer(line + text))
        ),
        None,
    )
