"""What makes a notebook a lesson of this course: its guesses, its changes, its one new tool and its end."""

import ast
import html
import itertools
import re
from collections.abc import Iterator

from nbformat import NotebookNode
from notebook_rules import LINK, Page, Rule, output_texts

from devicelab.course.guess.settling import settles
from tools.notebooks.nbfiles import is_code, tags
from tools.notebooks.tidy import is_curtain, is_hidden

# The names of devicelab that a lesson brings; later lessons may use them too. those in FREE always.
BRINGS = {
    "00": {"start", "film"},
    "01": {"placement"},
    "02": {"timeit", "crossover"},  # a clock, and its picture over all sizes
    "03": {"expect_error", "explain"},
    "04": {"trace"},
    # one tool and its relatives: a clock, a sweep by it, and what to hold beside a time
    "05": {
        "clock",
        "queue",
        "sweep",
        "timeit_naive",
        "compare",
        "estimate",
        "gpus",
        "recordings",
        "waste",
    },
    "06": {"monitor", "pipeline"},  # what the monitor shows, and what it would show
    "08": {"doctor"},
    "09": {"memory", "simulate_gpu"},  # the bytes, line by line; what `start` does, by hand: a card to lose
}
FREE = {"start", "guess", "progress", "tally"}
CHANGES = 2
MOST_CELLS = 20  # code cells of a lesson, the folded ones too
OPENING = 6  # cells after the first lab.start() by which two neighbours are compared
STUCK = {
    "Restart Kernel and Run All": r"Restart Kernel and Run All",
    "the symptoms page": r"\]\(\.\./docs/symptoms\.md",
    "a report to paste (python -m devicelab doctor)": r"python -m devicelab doctor",
    "where to ask": r"discuss\.pytorch\.org|/issues|\bissue\b",
}


def is_guess(cell: NotebookNode) -> bool:
    """Say whether this cell asks for a guess."""
    return is_code(cell) and "lab.guess(" in cell.source


def answers(page: Page) -> Iterator[NotebookNode]:
    """Yield, for each guess, the first cell after it that shows something: it holds the answer."""
    waiting = False
    for cell in page.code:
        if is_guess(cell):
            waiting = True
        elif waiting and cell.outputs:
            waiting = False
            yield cell


def answers_hidden(page: Page) -> Iterator[str]:
    """The output that answers a guess is collapsed when the lesson is first opened; running the cell opens it."""
    for cell in answers(page):
        if not is_hidden(cell):
            yield f"{cell.id} answers a guess, but its output is not hidden (metadata jupyter.outputs_hidden)"


def waits_for(cell: NotebookNode) -> str:
    """Return the code that settles the guess of this cell; empty where it names none."""
    calls = (node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call))
    words = (word for call in calls if ast.unparse(call.func) == "lab.guess" for word in call.keywords)
    return next((ast.literal_eval(word.value) for word in words if word.arg == "until"), "")


def guesses_settle(page: Page) -> Iterator[str]:
    """A guess says what settles it, its source folded; the first cell that holds that comes later, its output hidden."""
    for cell in filter(is_guess, page.code):
        until = waits_for(cell)
        if not until:
            yield f"{cell.id}: lab.guess does not say what settles it (until=...)"
            continue
        settling = [other for other in page.code if other is not cell and settles(until, other.source)]
        if not cell.metadata.get("jupyter", {}).get("source_hidden"):
            yield f"{cell.id}: the source of a guess is folded (metadata jupyter.source_hidden)"
        if not settling or page.code.index(settling[0]) < page.code.index(cell) or is_guess(settling[0]):
            found = settling[0].id if settling else "no cell"
            yield f"{cell.id}: {until!r} stands in no cell before the guess and in one after it; it stands first in {found}"
        elif not is_hidden(settling[0]):
            yield f"{settling[0].id} settles {cell.id}, but its output is not hidden"


def words_of(text: str) -> str:
    """Return a text as it reads: without tags, escapes and backticks."""
    return html.unescape(re.sub(r"<[^>]+>", "", text)).replace("`", "")


def bets_as_asked(page: Page) -> Iterator[str]:
    """What is stored of a bet is what its cell asks now: nbval does not compare it."""
    for cell in filter(is_guess, page.code):
        stored = " ".join(words_of(text) for _, text in output_texts(cell))
        calls = (node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call))
        asked = (
            argument for call in calls if ast.unparse(call.func) == "lab.guess" for argument in call.args
        )
        for node in (node for argument in asked for node in ast.walk(argument)):
            if isinstance(node, ast.Constant) and words_of(str(node.value)) not in stored:
                yield f"{cell.id}: {node.value!r} is asked and not stored; run python -m tools.notebooks.remake on this lesson"


def hidden_after_a_guess(page: Page) -> Iterator[str]:
    """What is hidden waits for a guess, and JupyterLab cannot show its first line beside the three dots."""
    guessed = False
    for cell in page.code:
        guessed |= is_guess(cell)
        if is_hidden(cell) and not guessed:
            yield f"{cell.id}: its output is hidden, but nothing was guessed yet"
        if is_hidden(cell) and cell.outputs and not is_curtain(cell.outputs[0]):
            yield f"{cell.id}: its first line shows; run python -m tools.notebooks.remake on this lesson"


def one_new_tool(page: Page) -> Iterator[str]:
    """Only the names of devicelab that this lesson brings, or one before it brought."""
    number = page.path.name[:2]
    known = FREE.union(*(names for lesson, names in BRINGS.items() if lesson <= number))
    for cell in page.code:
        for name in sorted(set(re.findall(r"\blab\.(\w+)", cell.source)) - known):
            yield f"{cell.id}: lab.{name} is not brought by lesson {number} or an earlier one"


def looked_back_on(page: Page) -> Iterator[str]:
    """A lesson with bets ends by looking back on them: its last code cell is lab.tally()."""
    if any(map(is_guess, page.code)) and page.code[-1].source != "lab.tally()":
        yield f"{page.code[-1].id} is the last code cell; lab.tally() is wanted there"


def short_enough(page: Page) -> Iterator[str]:
    """A lesson has at most twenty code cells; a longer one is two, or says too much."""
    if len(page.code) > MOST_CELLS:
        yield f"there are {len(page.code)} code cells, at most {MOST_CELLS} are wanted"


def enough_changes(page: Page) -> Iterator[str]:
    """The learner changes a line at least twice, in a cell tagged `change` that shows whether it worked."""
    found = [cell for cell in page.code if "change" in tags(cell)]
    if len(found) < CHANGES:
        yield f"{CHANGES} cells tagged change are wanted, there are {len(found)}"


def ends_with_help(page: Page) -> Iterator[str]:
    """The last prose cells say what to do if you are stuck, and where to go on."""
    end = "\n".join(cell.source for cell in page.prose[-2:])
    if "If you are stuck" not in end:
        yield 'the end lacks "If you are stuck"'
    for what, pattern in STUCK.items():
        if not re.search(pattern, end):
            yield f"the end lacks {what}"
    if not any(".ipynb" in (match[1] or match[2]) for match in LINK.finditer(page.prose[-1].source)):
        yield "the last prose cell leads to no other notebook"


def opening(page: Page) -> tuple[str, ...]:
    """Return the kinds of the cells with which a lesson opens, after its start."""
    cells = page.notebook.cells
    starts = (number for number, cell in enumerate(cells) if is_code(cell) and "lab.start(" in cell.source)
    first = next(starts, 0) + 1
    return tuple(kind(cell) for cell in cells[first : first + OPENING])


def kind(cell: NotebookNode) -> str:
    """Return what a cell is to a reader: prose, a heading, a guess, a change or code."""
    if not is_code(cell):
        return "heading" if cell.source.startswith("#") else "prose"
    return "guess" if is_guess(cell) else "change" if "change" in tags(cell) else "code"


def alike(pages: list[Page]) -> Iterator[str]:
    """Two neighbours that open with the same pattern of cells: worth a second look, never a failure."""
    for one, other in itertools.pairwise(pages):
        if opening(one) == opening(other):
            yield f"{one.path.name} and {other.path.name} both open with {', '.join(opening(one))}"


MENU: tuple[Rule, ...] = (
    answers_hidden,
    guesses_settle,
    bets_as_asked,
    hidden_after_a_guess,
    one_new_tool,
    looked_back_on,
    short_enough,
    enough_changes,
    ends_with_help,
)
