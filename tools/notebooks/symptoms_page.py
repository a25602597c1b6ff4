"""Write the catalogue into docs/symptoms.md: every entry, to be found there by its words.

`python -m tools.notebooks.symptoms_page` rewrites what stands below the mark; above it the page is written by hand.
"""

import re
from itertools import groupby

from devicelab.explain.catalogue import Entry, entries

from .nbfiles import ROOT

PAGE = ROOT / "docs" / "symptoms.md"
LESSON_09 = "../notebooks/09_when_the_gpu_says_no.ipynb"
LESSON_11 = "../notebooks/11_beyond_one_device.ipynb"
SHOWN = {  # by the id of an entry: the heading under which a lesson shows it
    "memory full": f"[lesson 09]({LESSON_09}#Where-the-bytes-go)",
    "memory in pieces": f"[lesson 09]({LESSON_09}#Where-the-bytes-go)",
    "device-side assert": f"[lesson 09]({LESSON_09}#Errors-that-come-late)",
    "duplicate gpu": f"[lesson 11]({LESSON_11}#Every-rank-on-one-card)",
    "nccl got a cpu tensor": f"[lesson 11]({LESSON_11}#It-works-on-rank-0)",
    "nccl watchdog": f"[lesson 11]({LESSON_11}#The-rank-that-waits)",
}
MARK = "<!-- from here on written by python -m tools.notebooks.symptoms_page -->"


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")


def page(text: str) -> str:
    """Return the page with the catalogue as it is now."""
    return f"{text.partition(MARK)[0]}{MARK}\n\n{catalogue()}"


def catalogue() -> str:
    """Return the entries by area, each under a heading with its name."""
    areas = [(area, list(found)) for area, found in groupby(entries(), key=lambda one: one.area)]
    lines = ["## All messages, by their words", ""]
    lines += ["Search this page for a part of your message that holds no path and no number.", ""]
    lines += [f"[{area}](#{_anchor(area)}) ({len(found)})  " for area, found in areas]
    for area, found in areas:
        lines += ["", f"## {area}"]
        for one in found:
            lines += ["", *_lines(one)]
    return "\n".join(lines) + "\n"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _lines(one: Entry) -> list[str]:
    """Return an entry: its words and meaning, how to tell causes apart, what to do, the lesson, how sure it is, and sources."""
    words = [f"{_code(text)} ({seen})" for text, seen in one.words.items()]
    lines = [f"### {one.id[0].upper()}{one.id[1:]}", "", ";  \n".join(words), ""]
    lines += [f"**{one.means}** {one.why[0].upper()}{one.why[1:]}.", ""]
    lines += [f"- {text}" for text in one.tell]
    lines += [""] if one.tell else []
    lines += [f"Do: {_code(one.do['any'])}  "]
    lines += [f"{machine}: {_code(one.do[machine])}  " for machine in one.do if machine != "any"]
    sources = ", ".join(f"[{number}]({address})" for number, address in enumerate(one.source, 1))
    if one.id in SHOWN:
        lines.append(f"Seen happening, and mended: {SHOWN[one.id]}  ")
    return [*lines, f"Sure: {one.confidence}. Sources: {sources}"]


def _code(text: str) -> str:
    """Return a text in backticks, of which it may hold some itself."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


if __name__ == "__main__":
    main()
