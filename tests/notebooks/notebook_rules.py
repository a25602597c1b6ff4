"""What must hold in every notebook: functions that yield a sentence a fault; test_style shows that each can fail."""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from tools.notebooks.links import COLAB
from tools.notebooks.nbfiles import IGNORED, is_code, read, tags

MOST_LINES = 20  # of a code cell
MOST_COLUMNS = 100  # of a line of code: what JupyterLab shows of it beside its file browser
MOST_WORDS = 45  # of a prose cell, beyond which we warn
MOST_PROSE = 120  # words of a prose cell, beyond which it is cut
MOST_BYTES = 400_000
KNOWN_TAGS = {
    "parameters",  # the cell that papermill changes
    "article",  # the source article's code as it stands, however long
    "guess",  # asks before it runs
    "change",  # a line that the learner changes
    "in-order",  # not run out of order by tools.proof.modes; the metadata `in_order` say why
    IGNORED,
    "wrong-answer",
    "other-right-answer",
    "solution-only",
}
PICTURE = re.compile(r"<img\b[^>]*>|<svg\b[^>]*>", re.IGNORECASE)
MARKDOWN_PICTURE = re.compile(r"!\[(.*?)\]\((.*?)\)")
LINK = re.compile(
    r"(?<!!)\[(?:[^\[\]]|!?\[[^\]]*\](?:\([^)]*\))?)*\]\(([^)\s]+)[^)]*\)|(?:href|src)=\"([^\"]+)\""
)
ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*:", re.IGNORECASE)


@dataclass(frozen=True)
class Page:
    """One notebook and where it lies."""

    path: Path
    notebook: NotebookNode

    @classmethod
    def load(cls, path: Path) -> "Page":
        """Read a notebook."""
        return cls(path, read(path))

    @property
    def code(self) -> list[NotebookNode]:
        """The code cells that hold anything."""
        return [cell for cell in self.notebook.cells if is_code(cell)]

    @property
    def prose(self) -> list[NotebookNode]:
        """The Markdown cells."""
        return [cell for cell in self.notebook.cells if cell.cell_type == "markdown"]


Rule = Callable[[Page], Iterator[str]]


def without_code(source: str) -> str:
    """Return Markdown without its code blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"```.*?```", "", source, flags=re.DOTALL))


def headings(page: Page) -> list[tuple[int, str]]:
    """Return level and text of each heading, in order."""
    lines = "\n".join(without_fences(cell.source) for cell in page.prose)
    return [(len(m[1]), m[2].strip()) for m in re.finditer(r"^(#{1,6}) +(.+)$", lines, re.MULTILINE)]


def without_fences(source: str) -> str:
    """Return Markdown without its code blocks: a comment there is no heading."""
    return re.sub(r"```.*?```", "", source, flags=re.DOTALL)


def output_texts(cell: NotebookNode) -> Iterator[tuple[str, str]]:
    """Yield kind and text of everything readable in a cell's outputs."""
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            yield "text/plain", output.text
        for line in output.get("traceback", []):
            yield "text/plain", line
        for kind, value in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield kind, str(value)


# --- every notebook ---------------------------------------------------------------------------------------------


def one_title(page: Page) -> Iterator[str]:
    """One first-level heading, in the first prose cell; no level is left out below it."""
    found = headings(page)
    if [level for level, _ in found].count(1) != 1 or found[0][0] != 1:
        yield "exactly one title (# ...) is wanted, as the first heading"
    for (before, _), (level, text) in itertools.pairwise(found):
        if level > before + 1:
            yield f"the heading {text!r} leaves out a level"


def no_empty_cells(page: Page) -> Iterator[str]:
    """No cell is empty."""
    for number, cell in enumerate(page.notebook.cells):
        if not cell.source.strip():
            yield f"cell {number} is empty"


def stable_ids(page: Page) -> Iterator[str]:
    """Every cell has an id of its own, stored in the file (nbformat 4.5)."""
    stored = json.loads(page.path.read_text(encoding="utf-8"))  # nbformat mends ids while it reads
    if (stored["nbformat"], stored["nbformat_minor"]) < (4, 5):
        yield "the format is older than 4.5, which stores no ids"
    ids = [cell.get("id") for cell in stored["cells"]]
    if None in ids:
        yield "a cell has no id"
    for name in sorted({name for name in ids if name and ids.count(name) > 1}):
        yield f"the id {name} is used twice"


def known_tags(page: Page) -> Iterator[str]:
    """Only tags that some tool or test reads; a cell that may not run out of order says why."""
    for cell in page.notebook.cells:
        for tag in sorted(tags(cell) - KNOWN_TAGS):
            yield f"{cell.id}: unknown tag {tag!r}"
        if "in-order" in tags(cell) and not str(cell.metadata.get("in_order", "")).strip():
            yield f"{cell.id}: tagged in-order, but its metadata `in_order` do not say why"


def short_cells(page: Page) -> Iterator[str]:
    """No code cell shows more than 20 lines, the article's own code aside."""
    for cell in page.code:
        if (lines := lines_shown(cell)) > MOST_LINES and "article" not in tags(cell):
            yield f"{cell.id}: {lines} lines of code, at most {MOST_LINES} are wanted"


def lines_shown(cell: NotebookNode) -> int:
    """Count the lines of a code cell, the empty ones too: a cell is as long as it looks.

    Two kinds of cell count by their code alone: a file that is written or a script that is run whole, with a file's empty
    lines, and the answer of a solution, which holds what learners get in its place as well.
    """
    lines = cell.source.rstrip().split("\n")
    if cell.source.startswith(("%%writefile", "%%elsewhere")) or "### BEGIN SOLUTION" in cell.source:
        lines = [line for line in lines if line.strip() and not line.strip().startswith("#")]
    return len(lines)


def short_prose(page: Page) -> Iterator[str]:
    """No prose cell has more than 120 words, those of its tables and code blocks aside: they are looked at, not read through."""
    for cell in page.prose:
        lines = [
            line for line in without_fences(cell.source).split("\n") if not line.lstrip().startswith("|")
        ]
        words = len(re.sub(r"<!--.*?-->|\]\([^)]*\)", " ", "\n".join(lines), flags=re.DOTALL).split())
        if words > MOST_PROSE:
            yield f"{cell.id}: {words} words, at most {MOST_PROSE} are wanted"


def article_lines() -> set[str]:
    """Return the lines of the source article's examples, which stand in the lessons as they are."""
    examples = (Path(__file__).parents[1] / "data" / "article").glob("*.txt")
    return {line.strip() for path in examples for line in path.read_text(encoding="utf-8").splitlines()}


def narrow_code(page: Page) -> Iterator[str]:
    """No line of code has more than 100 characters, the article's and the closed cell for Colab (tools.notebooks.links) aside."""
    for cell in page.code:
        for line in [] if cell.get("id") == COLAB else cell.source.split("\n"):
            if len(line) > MOST_COLUMNS and line.strip() not in article_lines():
                yield f"{cell.get('id')}: a line of {len(line)} characters, at most {MOST_COLUMNS} are wanted"


def small_file(page: Page) -> Iterator[str]:
    """The file is smaller than 400 KB."""
    size = page.path.stat().st_size
    if size >= MOST_BYTES:
        yield f"{size:,} bytes, less than {MOST_BYTES:,} are wanted"


def sober(page: Page) -> Iterator[str]:
    """No exclamation marks in prose, unless a message is quoted."""
    for cell in page.prose:
        if re.search(
            r"!(?!\[)", re.sub(r'<!--.*?-->|"[^"\n]*"', "", without_code(cell.source), flags=re.DOTALL)
        ):
            yield f"{cell.id}: an exclamation mark"


def plain_imports(page: Page) -> Iterator[str]:
    """The package is installed, so no cell bends sys.path or imports the folder."""
    for cell in page.code:
        if re.search(r"\bsys\.path\b|\butils\.devicelab\b|(?:from|import) utils\b", cell.source):
            yield f"{cell.id}: imports devicelab by a path instead of as an installed package"


def alt_text(page: Page) -> Iterator[str]:
    """Every picture has an alternative text, and a sentence beside it."""
    for cell in page.notebook.cells:
        for alt, _ in MARKDOWN_PICTURE.findall(cell.source if cell.cell_type == "markdown" else ""):
            if not alt.strip():
                yield f"{cell.id}: a picture without alternative text"
        texts = list(output_texts(cell))
        for picture in PICTURE.findall(" ".join(text for kind, text in [*texts] if kind == "text/html")):
            if not re.search(r"(?:alt|aria-label)=(\"[^\"]{15,}\"|'[^']{15,}')", picture):
                yield f"{cell.id}: a picture whose alternative text is missing or says too little"
        if any(
            kind.startswith("image/") for output in cell.get("outputs", []) for kind in output.get("data", {})
        ):
            yield f"{cell.id}: a bare picture; show it as HTML with an alternative text"


def picture_with_sentence(page: Page) -> Iterator[str]:
    """The outputs of a cell that shows a picture also say in words what is seen."""
    for cell in page.code:
        texts = list(output_texts(cell))
        if any(PICTURE.search(text) for _, text in texts):
            words = " ".join(re.sub(r"<[^>]*>", " ", text) for _, text in texts)
            words = re.sub(r"\bIPython\.core\.display\.\w+ object\b", "", words)
            if len(words.split()) < 5:
                yield f"{cell.id}: a picture without a sentence"


def links_resolve(page: Page) -> Iterator[str]:
    """Every relative link leads to a file of the repository, and to a heading where it names one."""
    for cell in page.prose:
        for match in LINK.finditer(without_code(cell.source)):
            address = match[1] or match[2]
            if not ADDRESS.match(address) and not resolves(page.path, address):
                yield f"{cell.id}: the link {address} leads nowhere"


def resolves(origin: Path, address: str) -> bool:
    """Say whether a relative link from the file `origin` leads to a file, and to a heading in it."""
    place, _, anchor = address.partition("#")
    target = (origin.parent / place).resolve() if place else origin
    if not target.exists() or not anchor:
        return target.exists()
    text = target.read_text(encoding="utf-8")
    if target.suffix == ".ipynb":
        text = "\n".join(cell.source for cell in read(target).cells if cell.cell_type == "markdown")
    return slug(anchor) in {slug(heading) for heading in re.findall(r"^#{1,6} +(.+)$", text, re.MULTILINE)}


def slug(heading: str) -> str:
    """Return a heading as both JupyterLab (dashes for spaces) and GitHub (lower case) link it."""
    words = re.sub(r"[`*?:.,;()'\"/]", "", heading.replace("%20", " ").lower())
    return re.sub(r"[\s-]+", "-", words).strip("-")


def long_prose(page: Page) -> Iterator[str]:
    """Prose cells with more than 45 words outside lists, tables and code: worth a second look, never a failure."""
    for cell in page.prose:
        lines = [line for line in without_fences(cell.source).split("\n") if not re.match(r"\s*[-*|>]", line)]
        words = len(re.sub(r"<[^>]*>|\]\([^)]*\)", " ", "\n".join(lines)).split())
        if words > MOST_WORDS:
            yield f"{cell.id} has {words} words"


def order_faults(names: list[str]) -> Iterator[str]:
    """The lessons are numbered 00, 01, 02 ... without doubles or gaps."""
    numbers = [name[:2] for name in names]
    if numbers != [f"{number:02d}" for number in range(len(names))]:
        yield f"the lessons are numbered {', '.join(numbers)}"
    for name in names:
        if not re.fullmatch(r"\d\d_[a-z0-9_]+\.ipynb", name):
            yield f"{name} is not named as 00_lower_case.ipynb"


EVERYWHERE: tuple[Rule, ...] = (
    one_title,
    no_empty_cells,
    stable_ids,
    known_tags,
    short_cells,
    short_prose,
    small_file,
    sober,
    plain_imports,
    alt_text,
    links_resolve,
    picture_with_sentence,
)
