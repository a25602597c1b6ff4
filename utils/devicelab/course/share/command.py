"""`python -m devicelab share`: everything that would be written is shown, and nothing is written before a yes."""

import json
import sys
from pathlib import Path

from devicelab import datafiles, session
from devicelab.errors import InputError
from devicelab.private import private

from .own import own

NAME = "share.json"
QUESTION = "Write this to {}? [y/N] "


def main(out: str | None, name: str | None, card: str | None, yes: bool) -> int:
    """Show this machine's results and, with the person's consent, write them; 0 written, 1 not written."""
    place = _place(out)
    print(session.prepare(card, use_mps=True))
    print("Timing the article's examples and a few sizes; half a minute at most.\n", flush=True)
    text = json.dumps(own(name), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    print(text)
    print("This is all; nothing else leaves this machine, and nothing is sent anywhere.")
    if not (yes or _agreed(place)):
        print("Nothing was written.")
        return 1
    try:
        datafiles.write(place, text)
    except OSError as fault:
        raise InputError(f"{place} cannot be written: {fault.strerror}. Choose another with --out.") from None
    print(private(f"Written to {place}. Give that file to your instructor, if you like."))
    return 0


def _place(out: str | None) -> Path:
    """Return where to write; what is there is never overwritten, and that is said before anything is timed."""
    place = Path(out or NAME)
    if place.is_dir():
        place /= NAME
    if not place.parent.is_dir():
        raise InputError(f"There is no folder {place.parent}. Make it, or choose another file with --out.")
    if place.exists():
        raise InputError(f"{place} exists. Choose another file with --out.")
    return place


def _agreed(place: Path) -> bool:
    if not sys.stdin or not sys.stdin.isatty():
        print("Nobody can be asked here: add --yes to write it.")
        return False
    try:
        return input(QUESTION.format(place)).strip().lower() in ("y", "yes")
    except EOFError:
        return False
