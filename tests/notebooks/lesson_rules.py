"""What must hold in lessons, solutions and exercises beyond notebook_rules: they were run, or are free of answers."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from menu_rules import MENU
from nbformat import NotebookNode
from notebook_rules import EVERYWHERE, LINK, Page, Rule, narrow_code, output_texts

from devicelab.widgets import modules
from tools.notebooks.alive import PICTURES, models, strays
from tools.notebooks.nbfiles import IGNORED, ROOT, tags
from tools.notebooks.parameters import FIRST, ORDER

DRAWN_BY = ROOT / "utils" / "devicelab" / "widgets"
MODULES = [file.stem for file in DRAWN_BY.glob("*.js") if "export default" in file.read_text("utf-8")]
MACHINE_PATH = re.compile(
    r"(?<![\w.])(?:/home/|/root\b|/Users/|/tmp/|/var/folders/|/private/|/opt/|/usr/)[\w./-]*|\b[A-Za-z]:\\\w+"
)
RAW_WIDGET = re.compile(
    r"^(?:interactive|[VH]Box|Output|\w+Slider|\w+Buttons|Dropdown|\w+Text|Checkbox|Button)\("
)


# --- lessons and solutions: run, and stored with what came out ---------------------------------------------------


def was_run(page: Page) -> Iterator[str]:
    """Every code cell was run once, in order: nbval passes a stripped notebook without comparing anything."""
    counts = [cell.execution_count for cell in page.code]
    if not counts:
        yield "there is no code cell"
    if counts != list(range(1, len(counts) + 1)):
        yield f"the cells were not run once in order: {counts}"


def something_compared(page: Page) -> Iterator[str]:
    """At least one stored output is compared, and each ignored one is followed by a compared one."""
    compared = [bool(cell.outputs) and IGNORED not in tags(cell) for cell in page.code]
    if not any(compared):
        yield "no output is compared"
    for number, cell in enumerate(page.code):
        if IGNORED in tags(cell) and "guess" not in tags(cell) and not any(compared[number + 1 : number + 3]):
            yield f"{cell.id}: ignored by nbval, and no compared output follows"


def no_errors(page: Page) -> Iterator[str]:
    """No stored output is an error: expected ones are shown by expect_error."""
    for cell in page.code:
        if any(output.output_type == "error" for output in cell.outputs):
            yield f"{cell.id}: an error is stored"


def no_machine_paths(page: Page) -> Iterator[str]:
    """No output holds a path of the machine that made it."""
    for cell in page.code:
        for _, text in output_texts(cell):
            plain = re.sub(r"data:[\w/+;=-]+,[^\"')\s]*", "", text)
            found = [match[0] for match in MACHINE_PATH.finditer(plain)]
            found += [
                place
                for place in (str(ROOT), str(Path.home()), sys.prefix)
                if len(place) > 1 and place in plain
            ]
            for place in found:
                yield f"{cell.id}: the path {place}"


def no_raw_widgets(page: Page) -> Iterator[str]:
    """No output falls back to a widget's raw text, such as interactive(children=(...)."""
    for cell in page.code:
        for output in cell.outputs:
            data = output.get("data", {})
            if RAW_WIDGET.match(str(data.get("text/plain", ""))) and "text/html" not in data:
                yield f"{cell.id}: a saved widget shows as {data['text/plain'][:30]!r}"


def pictures_of_now(page: Page) -> Iterator[str]:
    """The pictures that are stored alive are drawn by the modules of now."""
    for name, model in models(page.notebook).items():
        drawn_by = model["state"].get("_esm", "")
        if model["model_module"] == PICTURES and drawn_by not in map(modules.standalone, MODULES):
            yield f"the picture {name} is drawn by an older module: run python -m tools.notebooks.remake on it"


def no_stamps(page: Page) -> Iterator[str]:
    """No trace of the run besides the outputs: times, papermill's notes, the state of widgets other than pictures."""
    if "papermill" in page.notebook.metadata:
        yield "the notebook's metadata hold 'papermill'"
    if found := strays(page.notebook):
        yield f"the state of widgets and the pictures do not match (remake it): {', '.join(found)}"
    for cell in page.notebook.cells:
        for name in ("papermill", "execution", "ExecuteTime"):
            if name in cell.metadata:
                yield f"{cell.id}: the metadata hold {name!r}"


# --- lessons only -------------------------------------------------------------------------------------------------


def parameters_cell(page: Page) -> Iterator[str]:
    """One cell is tagged parameters and holds nothing but names set to literals."""
    found = [cell for cell in page.code if "parameters" in tags(cell)]
    if len(found) != 1:
        yield f"one cell tagged parameters is wanted, there are {len(found)}"
    for cell in found:
        for line in ast.parse(cell.source).body:
            simple = isinstance(line, ast.Assign) and len(line.targets) == 1
            if not (simple and isinstance(line.targets[0], ast.Name) and is_literal(line.value)):
                yield f"{cell.id}: {ast.unparse(line)!r} is no name set to a literal"


def parameters_by_convention(page: Page) -> Iterator[str]:
    """Card and seed first, in the same words in every lesson, then sizes, then the lesson's own; each used, none overwritten."""
    cell = next((cell for cell in page.code if "parameters" in tags(cell)), None)
    if cell is None:
        return
    if tuple(cell.source.split("\n")[: len(FIRST)]) != FIRST:
        yield f"{cell.id}: the first lines are not {' and '.join(map(repr, FIRST))}"
    names = [target.id for target in stored(ast.parse(cell.source))]
    for name in names:
        if name not in ORDER:
            yield f"{cell.id}: {name} is no name of tools/notebooks/parameters.py"
    if names != sorted(names, key=[*ORDER, *names].index):
        yield f"{cell.id}: the order is not {', '.join(ORDER)}"
    magic = re.compile(r"^\s*%", re.MULTILINE)  # %%writefile, %pip: no Python
    later = [
        ast.parse(other.source) for other in page.code if other is not cell and not magic.search(other.source)
    ]
    used = {node.id for tree in later for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for name in names:
        if name not in used:
            yield f"{cell.id}: no cell uses {name}"
        if any(target.id == name for tree in later for target in stored(tree)):
            yield f"{cell.id}: a later cell gives {name} another value, so that a run out of order goes wrong"


def stored(tree: ast.AST) -> Iterator[ast.Name]:
    """Yield the names that a cell binds in the notebook itself: not those of a function, class or comprehension within."""
    inner = (
        ast.FunctionDef,
        ast.ClassDef,
        ast.Lambda,
        ast.ListComp,
        ast.SetComp,
        ast.DictComp,
        ast.GeneratorExp,
    )
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node
        if not isinstance(node, inner):
            yield from stored(node)


def is_literal(value: ast.expr) -> bool:
    """Say whether the expression is a plain value."""
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return True


def badges_after_the_title(page: Page) -> Iterator[str]:
    """The title comes first, and right after it the launch badges of this very lesson."""
    title, first = page.notebook.cells[:2]
    if not title.source.startswith("# "):
        yield "the first cell is not the title"
    for site in ("mybinder.org", "colab.research.google.com"):
        links = [m[1] or m[2] for m in LINK.finditer(first.source) if site in (m[1] or m[2] or "")]
        if not any(page.path.name in link for link in links):
            yield f"the second cell has no badge that opens this lesson on {site}"


def guarded_bootstrap(page: Page) -> Iterator[str]:
    """One cell installs devicelab on Colab: guarded, without dependencies, never touching torch, before its import."""
    cells = page.code
    found = [number for number, cell in enumerate(cells) if "pip install" in cell.source]
    if len(found) != 1:
        yield f"one cell that installs devicelab on Colab is wanted, there are {len(found)}"
        return
    source = cells[found[0]].source
    guard = re.search(r'^if "google\.colab" in sys\.modules:', source, re.MULTILINE)
    installs = [line for line in source.split("\n") if "pip install" in line]
    if not guard or any(not line.startswith((" ", "\t")) for line in installs):
        yield 'the install is not guarded by if "google.colab" in sys.modules:'
    if any("--no-deps" not in line for line in installs):
        yield "the install lacks --no-deps"
    if any(re.search(r"\btorch", line) for line in installs):
        yield "the install touches torch"
    if any(re.search(r"(?:import|from) devicelab", cell.source) for cell in cells[: found[0]]):
        yield "devicelab is imported before it is installed"


# --- solutions ----------------------------------------------------------------------------------------------------


def outcome(cell: NotebookNode) -> str:
    """Return what a check said in this cell's last output, such as "Not yet. ..."."""
    texts = [text.strip() for kind, text in output_texts(cell) if kind == "text/plain"]
    return texts[-1] if texts else ""


def checks(page: Page) -> dict[str, list[NotebookNode]]:
    """Return, for each question, the cells that check an answer to it."""
    found: dict[str, list[NotebookNode]] = {}
    for cell in page.code:
        for name in sorted(set(re.findall(r"\b(\w+)\.check\(", cell.source))):
            found.setdefault(name, []).append(cell)
    return found


def judged_three_ways(page: Page) -> Iterator[str]:
    """Each question accepts the reference and another answer, and says something different to three wrong ones."""
    if not checks(page):
        yield "no question is checked"
    for name, cells in checks(page).items():
        wrong = [outcome(cell) for cell in cells if "wrong-answer" in tags(cell)]
        other = [outcome(cell) for cell in cells if "other-right-answer" in tags(cell)]
        reference = [
            outcome(cell) for cell in cells if not tags(cell) & {"wrong-answer", "other-right-answer"}
        ]
        if len(set(wrong)) < 3:
            yield f"{name}: three wrong answers with three different replies are wanted, there are {len(set(wrong))}"
        if not all(text.startswith("Not yet.") for text in wrong):
            yield f"{name}: a wrong answer is not rejected"
        if not other or not all(text.startswith("Passed.") for text in other):
            yield f"{name}: no other right answer, or one that does not pass"
        if not reference or not all(text.startswith("Passed.") for text in reference):
            yield f"{name}: no reference answer, or it does not pass"


def untouched(page: Page) -> Iterator[str]:
    """In an exercise that was run as it is given out, every check says that nothing was attempted."""
    for name, cells in checks(page).items():
        for cell in cells:
            if not outcome(cell).startswith("Not attempted."):
                yield f"{name} says {outcome(cell)[:60]!r} to an untouched exercise"


# --- exercises ----------------------------------------------------------------------------------------------------


def not_run(page: Page) -> Iterator[str]:
    """An exercise is given out without outputs."""
    for cell in page.code:
        if cell.outputs or cell.execution_count is not None:
            yield f"{cell.id}: has outputs"


def no_answers(page: Page) -> Iterator[str]:
    """Nothing of the solution is left in an exercise."""
    for cell in page.notebook.cells:
        if re.search(r"### (?:BEGIN|END|STUB)", cell.source):
            yield f"{cell.id}: a marker of the solution is left"
        for tag in sorted(tags(cell) & {"wrong-answer", "other-right-answer", "solution-only"}):
            yield f"{cell.id}: tagged {tag}"
    if not any(re.search(r"\.check\(", cell.source) for cell in page.code):
        yield "no question is checked"


RUN: tuple[Rule, ...] = (
    was_run,
    something_compared,
    no_errors,
    no_machine_paths,
    no_raw_widgets,
    no_stamps,
    pictures_of_now,
)
LESSON: tuple[Rule, ...] = (
    *EVERYWHERE,
    *RUN,
    *MENU,
    narrow_code,
    parameters_cell,
    parameters_by_convention,
    badges_after_the_title,
    guarded_bootstrap,
)
SOLUTION: tuple[Rule, ...] = (*EVERYWHERE, *RUN, judged_three_ways)
EXERCISE: tuple[Rule, ...] = (*EVERYWHERE, not_run, no_answers)
