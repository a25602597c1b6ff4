"""docs/symptoms.md read as data: each symptom leads to a heading of a notebook, where it happens and is gone again.

An entry is a heading `### N. words`, a line in backticks with the text to find in the output, and a link to the notebook's
heading; the cell `confusion-N` shows the text, the cell `confusion-N-gone` shows it gone. An exercise is given out without
outputs: there the solution that it is cut from shows them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from notebook_rules import output_texts, resolves, slug

from tools.notebooks.nbfiles import EXERCISES, SOLUTIONS, read

ENTRY = re.compile(r"^###\s+(\d+)\.\s+(.+)$", re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")
TO_NOTEBOOK = re.compile(r"\]\(([^)\s]+\.ipynb)#([^)\s]+)\)")
TOLD_IN_ONE_CELL = {
    12: "a script that is too late and one that is in time stand side by side",
    18: "only a Mac can show it: the words are read, and nothing happens that could be gone",
}
CONFUSIONS = range(1, 20)  # as the lessons number them


@dataclass(frozen=True)
class Symptom:
    """One entry of the page: its number, its words, what is to be found, and where."""

    number: int
    words: str
    quoted: tuple[str, ...]
    links: tuple[tuple[str, str], ...]


def symptoms(text: str) -> list[Symptom]:
    """Return the entries of the page."""
    heads = list(ENTRY.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    found = []
    for head, end in zip(heads, ends, strict=True):
        body = re.split(r"(?m)^##? ", text[head.end() : end])[0]
        links = tuple((match[1], match[2]) for match in TO_NOTEBOOK.finditer(body))
        found.append(Symptom(int(head[1]), head[2], tuple(QUOTED.findall(body)), links))
    return found


def faults(page: Path) -> Iterator[str]:
    """Yield a sentence for each symptom that is missing, or that its link does not lead to."""
    found = symptoms(page.read_text(encoding="utf-8"))
    numbers = [symptom.number for symptom in found]
    for number in CONFUSIONS:
        if numbers.count(number) != 1:
            yield f"symptom {number} stands {numbers.count(number)} times on the page"
    for symptom in found:
        yield from (f"symptom {symptom.number}: {fault}" for fault in faults_of(symptom, page))


def faults_of(symptom: Symptom, page: Path) -> Iterator[str]:
    """Yield what is wrong with one entry."""
    if not symptom.quoted:
        yield "no text in backticks says what to look for"
    if not symptom.links:
        yield "no link leads to a heading of a notebook"
    for place, anchor in symptom.links[:1]:
        if not resolves(page, f"{place}#{anchor}"):
            yield f"the link {place}#{anchor} leads nowhere"
            continue
        notebook = (page.parent / place).resolve()
        if notebook.parent.name == EXERCISES.name:
            notebook = notebook.parent.with_name(SOLUTIONS.name) / notebook.name
        yield from faults_there(symptom, notebook, anchor)


def faults_there(symptom: Symptom, notebook: Path, anchor: str) -> Iterator[str]:
    """Yield what the notebook lacks: the two cells, below the heading, the first with the quoted text."""
    cells = read(notebook).cells
    ids = [cell.id for cell in cells]
    happens, gone = f"confusion-{symptom.number}", f"confusion-{symptom.number}-gone"
    wanted = (happens,) if symptom.number in TOLD_IN_ONE_CELL else (happens, gone)
    for name in wanted:
        if name not in ids:
            yield f"{notebook.name} has no cell {name}"
    if happens not in ids:
        return
    text = "\n".join(text for _, text in output_texts(cells[ids.index(happens)]))
    if not any(one_line(quoted) in one_line(text) for quoted in symptom.quoted):
        yield f"the cell {happens} of {notebook.name} does not show {' or '.join(symptom.quoted)!r}"
    if slug(anchor) not in headings_above(cells[: ids.index(happens) + 1]):
        yield f"the heading {anchor} does not stand above the cell {happens} of {notebook.name}"


def headings_above(cells: list) -> set[str]:
    """Return the last heading of each level before the end of `cells`, as links name them."""
    last: dict[int, str] = {}
    for cell in cells:
        for marks, words in re.findall(
            r"(?m)^(#{1,6}) +(.+)$", cell.source if cell.cell_type == "markdown" else ""
        ):
            last = {level: name for level, name in last.items() if level < len(marks)} | {
                len(marks): slug(words)
            }
    return set(last.values())


def one_line(text: str) -> str:
    """Return the text without tags and with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))
