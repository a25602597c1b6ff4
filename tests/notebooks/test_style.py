"""The style of every notebook, and a made-up bad notebook for every rule, so that no rule is empty."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from lesson_rules import EXERCISE, LESSON, SOLUTION, judged_three_ways, untouched
from menu_rules import alike
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_rules import Page, Rule, long_prose, narrow_code, order_faults, short_cells, short_prose

from tools.notebooks.alive import PICTURES, STATE
from tools.notebooks.nbfiles import EXERCISES, LESSONS, ROOT, SOLUTIONS, find, short
from tools.notebooks.parameters import FIRST


def faults(page: Page, rules: tuple[Rule, ...]) -> list[str]:
    """Return every fault that the rules find."""
    return [f"{rule.__name__}: {fault}" for rule in rules for fault in rule(page)]


@pytest.mark.parametrize("path", find(LESSONS), ids=short)
def test_lesson(path):
    assert faults(Page.load(path), LESSON) == []


@pytest.mark.parametrize("path", find(SOLUTIONS), ids=short)
def test_solution(path):
    assert faults(Page.load(path), SOLUTION) == []


@pytest.mark.parametrize("path", find(EXERCISES), ids=short)
def test_exercise(path):
    assert faults(Page.load(path), EXERCISE) == []


@pytest.mark.parametrize("path", find(LESSONS, SOLUTIONS), ids=short)
def test_long_prose_is_warned_about(path):
    found = list(long_prose(Page.load(path)))
    if found:
        warnings.warn(f"{short(path)}: {', '.join(found)}", stacklevel=1)


def test_neighbours_that_open_alike_are_warned_about():
    for pair in alike([Page.load(path) for path in find(LESSONS)]):
        warnings.warn(pair, stacklevel=1)


def test_lessons_are_in_order():
    assert list(order_faults([path.name for path in find(LESSONS)])) == []


def test_each_solution_belongs_to_a_lesson():
    lessons = {path.name[:2] for path in find(LESSONS)}
    assert [short(path) for path in find(SOLUTIONS) if path.name[:2] not in lessons] == []


# --- the proof that each rule can fail ------------------------------------------------------------------------------

BOOTSTRAP = 'import sys\n\nif "google.colab" in sys.modules:\n    %pip install -q --no-deps git+https://a.org/b/c@main'
BADGES = "".join(
    f"[![go]({site}/badge.svg)](https://{site}/gh/a/b?{name}) "
    for site, name in [("mybinder.org", "00_good.ipynb"), ("colab.research.google.com", "00_good.ipynb")]
)
PARAMETERS = "\n".join([*FIRST, "epochs = 5"])
PICTURE = '<figure><img alt="The loss falls in every epoch" src="data:image/png;base64,AAAA"></figure>'


def code(source: str, *tags: str, out: str | None = None, **data: str) -> NotebookNode:
    """Return a code cell with printed text, or with the data of a display."""
    cell = new_code_cell(source, metadata={"tags": list(tags)} if tags else {})
    if out is not None:
        cell.outputs.append(new_output("stream", name="stdout", text=out))
    if data:
        kinds = {"html": "text/html", "plain": "text/plain", "png": "image/png"}
        cell.outputs.append(new_output("display_data", data={kinds[k]: v for k, v in data.items()}))
    return cell


STUCK = (
    "**If you are stuck:** *Restart Kernel and Run All Cells*, look into [the symptoms](../docs/symptoms.md), or paste "
    "what `python -m devicelab doctor` prints into an [issue](https://a.org/issues). Next: [01](00_good.ipynb)."
)


def asked() -> NotebookNode:
    """Return a guess that the cell with lab.start settles, its source folded."""
    source = "lab.guess('Where?', ['here', 'there'], until='lab.start')"
    cell = code(source, "guess", "nbval-ignore-output", out="Where? here, there")
    cell.metadata.jupyter = {"source_hidden": True}
    return cell


def hidden(cell: NotebookNode) -> NotebookNode:
    """Hide what the cell shows, as tools.notebooks.tidy stores it."""
    cell.metadata["jupyter"] = {"outputs_hidden": True}
    cell.outputs.insert(0, new_output("display_data"))
    return cell


def good_lesson() -> NotebookNode:
    """Return a small notebook that keeps all the rules of a lesson."""
    cells = [
        new_markdown_cell(
            "# Does it?\n\nYou see [the next](00_good.ipynb#does-it). ![A diagram of it](x.png)"
        ),
        new_markdown_cell(BADGES),
        code(BOOTSTRAP),
        code(PARAMETERS, "parameters"),
        code("show()", html=PICTURE, plain="The loss of five epochs falls from 1 to 0.5"),
        code("print(1)", "nbval-ignore-output", out="0.1 s"),
        code("print(2, seed, epochs)", "change", out="cpu"),
        asked(),
        hidden(code("lab.start(card)", "change", out="there")),
        code("lab.tally()", plain="No bet to look back on"),
        new_markdown_cell(STUCK),
    ]
    return numbered(new_notebook(cells=cells))


def numbered(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook as if it had been run once, with ids that do not change."""
    code_cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code_cells, start=1):
        cell.execution_count = number
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    notebook.nbformat_minor = 5
    return notebook


def page_of(notebook: NotebookNode, folder: Path, name: str = "00_good.ipynb") -> Page:
    """Store a made-up notebook and return it as the rules see it."""
    (folder / "x.png").touch()
    (folder.parent / "docs").mkdir(exist_ok=True)
    (folder.parent / "docs" / "symptoms.md").touch()
    (folder / name).write_text(json.dumps(notebook))  # nbformat would refuse some of the bad ones
    return Page(folder / name, notebook)


def test_the_good_lesson_has_no_fault(tmp_path):
    assert faults(page_of(good_lesson(), tmp_path), LESSON) == []


def test_a_wide_line_is_the_articles_or_the_colab_cells(tmp_path, monkeypatch):
    wide = code(f"x = '{'x' * 95}'")  # 101 characters
    page = page_of(new_notebook(cells=[wide]), tmp_path)
    assert list(narrow_code(page)) == [f"{wide.id}: a line of 101 characters, at most 100 are wanted"]
    monkeypatch.setattr("notebook_rules.article_lines", lambda: {wide.source})
    assert list(narrow_code(page)) == []
    monkeypatch.undo()
    wide.id = "colab"
    assert list(narrow_code(page)) == []


def test_empty_lines_of_a_file_and_of_a_solutions_answer_do_not_count(tmp_path):
    spaced = "x = 1\n\n\n" * 10
    answer = f"### BEGIN SOLUTION\n{spaced}### END SOLUTION\n### STUB: x = ..."
    cells = [code(f"%%writefile a.py\n{spaced}"), code(answer), code("x = 1\n" * 20)]
    assert list(short_cells(page_of(numbered(new_notebook(cells=cells)), tmp_path))) == []


def test_words_of_tables_and_addresses_are_not_read_through(tmp_path):
    table = "| a b | c d |\n" * 60
    long = f"{table}\n[here](https://example.org) {'word ' * 119}"
    page = page_of(numbered(new_notebook(cells=[new_markdown_cell(long)])), tmp_path)
    assert list(short_prose(page)) == []


def text(source: str) -> Callable[[NotebookNode], object]:
    """Return a change that appends a prose cell."""
    return lambda nb: nb.cells.append(new_markdown_cell(source, id="new"))


def append(cell: NotebookNode) -> Callable[[NotebookNode], object]:
    """Return a change that appends a code cell that was run."""

    def change(notebook: NotebookNode) -> None:
        notebook.cells.append(cell)
        numbered(notebook)

    return change


def put(place: int, source: str) -> Callable[[NotebookNode], object]:
    """Return a change that gives a cell another source."""
    return lambda nb: nb.cells[place].update(source=source)


BAD_LESSONS: dict[str, tuple[str, Callable[[NotebookNode], object]]] = {
    "second title": ("one_title", text("# Another")),
    "title missing": ("one_title", put(0, "## Only a section")),
    "level left out": ("one_title", text("### Deep")),
    "empty cell": ("no_empty_cells", text(" ")),
    "same id": ("stable_ids", lambda nb: nb.cells[5].update(id="cell-6")),
    "missing id": ("stable_ids", lambda nb: nb.cells[5].pop("id")),
    "old format": ("stable_ids", lambda nb: nb.update(nbformat_minor=4)),
    "unknown tag": ("known_tags", append(code("1", "nbval-ignore-outputs", out="1"))),
    "in order for nothing": ("known_tags", append(code("1", "in-order", out="1"))),
    "long cell": ("short_cells", append(code("x = 1\n" * 21, out="1"))),
    "a cell long by its empty lines": ("short_cells", append(code("x = 1\n\n" * 10 + "x = 1", out="1"))),
    "a long file": ("short_cells", append(code("%%writefile a.py\n" + "x = 1\n" * 20, out="1"))),
    "long prose": ("short_prose", text("word " * 121)),
    "wide line": ("narrow_code", append(code(f"x = '{'x' * 95}'", out="1"))),
    "large file": ("small_file", append(code("1", out="x" * 400_000))),
    "exclamation": ("sober", text("It works!")),
    "sys.path": ("plain_imports", append(code("import sys\nsys.path.insert(0, '..')"))),
    "folder import": ("plain_imports", append(code("from utils.devicelab import start"))),
    "no alt text": ("alt_text", text("![](x.png)")),
    "no alt text in HTML": (
        "alt_text",
        append(code("1", html='<img src="x.png">', plain="five words are in here")),
    ),
    "thin alt text": ("alt_text", append(code("1", html='<img alt="plot">', plain="five words are in here"))),
    "bare picture": ("alt_text", append(code("1", png="AAAA", plain="<Figure size 640x480 with 1 Axes>"))),
    "picture without words": ("picture_with_sentence", append(code("1", html=PICTURE))),
    "dead link": ("links_resolve", text("[next](01_missing.ipynb)")),
    "dead heading": ("links_resolve", text("[up](#no-such-heading)")),
    "dead HTML link": ("links_resolve", text('<a href="nowhere.md">there</a>')),
    "stripped": ("was_run", lambda nb: [c.update(execution_count=None, outputs=[]) for c in nb.cells[2:3]]),
    "out of order": ("was_run", lambda nb: nb.cells[6].update(execution_count=9)),
    "nothing compared": ("something_compared", lambda nb: nb.update(cells=nb.cells[:4] + nb.cells[5:6])),
    "ignored at the end": ("something_compared", append(code("1", "nbval-ignore-output", out="0.2 s"))),
    "stored error": (
        "no_errors",
        lambda nb: nb.cells[6].outputs.append(new_output("error", ename="E", evalue="v")),
    ),
    "home": ("no_machine_paths", append(code("1", out="/home/ada/course/x.py"))),
    "root": ("no_machine_paths", append(code("1", html="<pre>/root/x</pre>"))),
    "windows": ("no_machine_paths", append(code("1", out=r"C:\Users\ada"))),
    "this machine": ("no_machine_paths", append(code("1", out=f"{ROOT}/x.py"))),
    "raw widget": ("no_raw_widgets", append(code("1", plain="interactive(children=(IntSlider(value=3),))"))),
    "papermill stamp": ("no_stamps", lambda nb: nb.metadata.update(papermill={"duration": 1})),
    "a widget's state without its picture": (
        "no_stamps",
        lambda nb: nb.metadata.update(widgets={STATE: {"state": {"0": {"model_module": "x", "state": {}}}}}),
    ),
    "an old picture": (
        "pictures_of_now",
        lambda nb: nb.metadata.update(
            widgets={STATE: {"state": {"0": {"model_module": PICTURES, "state": {"_esm": "old"}}}}}
        ),
    ),
    "cell stamp": (
        "no_stamps",
        lambda nb: nb.cells[6].metadata.update(execution={"iopub.status.idle": "2026"}),
    ),
    "no parameters": ("parameters_cell", lambda nb: nb.cells[3].metadata.clear()),
    "computed parameter": ("parameters_cell", put(3, "epochs = 5 * 2 + int(3)")),
    "another seed": ("parameters_by_convention", put(3, PARAMETERS.replace("seed = 0", "seed = 1"))),
    "no card": ("parameters_by_convention", put(3, PARAMETERS.partition("\n")[2])),
    "a name of nobody's": ("parameters_by_convention", put(3, PARAMETERS.replace("epochs", "rounds"))),
    "the lesson's own first": (
        "parameters_by_convention",
        put(3, PARAMETERS.replace("epochs", "script = ''\nepochs")),
    ),
    "a parameter for nothing": ("parameters_by_convention", put(6, "print(2, seed)")),
    "a parameter overwritten": (
        "parameters_by_convention",
        put(6, "for seed in range(epochs):\n    print(seed)"),
    ),
    "badges first": ("badges_after_the_title", lambda nb: nb.cells.insert(0, nb.cells.pop(1))),
    "no badge": ("badges_after_the_title", put(1, "[binder](https://mybinder.org/v2/x?00_good.ipynb)")),
    "another's badge": ("badges_after_the_title", put(1, BADGES.replace("00_good", "01_other"))),
    "no bootstrap": ("guarded_bootstrap", put(2, "import sys")),
    "unguarded": ("guarded_bootstrap", put(2, "%pip install --no-deps git+https://a.org/b")),
    "with dependencies": ("guarded_bootstrap", put(2, BOOTSTRAP.replace("--no-deps ", ""))),
    "torch too": ("guarded_bootstrap", put(2, BOOTSTRAP + "\n    %pip install --no-deps torch")),
    "answer in sight": ("answers_hidden", lambda nb: nb.cells[8].metadata.pop("jupyter")),
    "a guess in sight": ("guesses_settle", lambda nb: nb.cells[7].metadata.pop("jupyter")),
    "settled before": ("guesses_settle", put(5, "lab.start(card)")),
    "settled nowhere": ("guesses_settle", put(8, "lab.begin()")),
    "settled by a guess": (
        "guesses_settle",
        lambda nb: nb.cells.insert(8, code("lab.guess('lab.start')", "guess")),
    ),
    "settled in sight": ("guesses_settle", lambda nb: nb.cells[8].metadata.pop("jupyter")),
    "settled by nothing": (
        "guesses_settle",
        put(7, "lab.guess('Where?', ['here', 'there'])"),
    ),
    "another bet is stored": ("bets_as_asked", lambda nb: nb.cells[7].outputs[0].update(text="Where? here")),
    "no tally": ("looked_back_on", put(9, "print(3)")),
    "a tally too early": ("looked_back_on", lambda nb: nb.cells.insert(10, code("print(3)"))),
    "too long": ("short_enough", lambda nb: nb.cells.extend(code("1") for _ in range(13))),
    "hidden for nothing": ("hidden_after_a_guess", lambda nb: hidden(nb.cells[6])),
    "first line in sight": ("hidden_after_a_guess", lambda nb: nb.cells[8].outputs.pop(0)),
    "a later tool": ("one_new_tool", put(6, "lab.trace()")),
    "an unknown tool": ("one_new_tool", put(6, "lab.magic()")),
    "one change": ("enough_changes", lambda nb: nb.cells[6].metadata.clear()),
    "no help": ("ends_with_help", put(10, "Next: [01](00_good.ipynb)")),
    "no restart": ("ends_with_help", put(10, STUCK.replace("Restart", "Start"))),
    "no symptoms": ("ends_with_help", put(10, STUCK.replace("symptoms.md", "glossary.md"))),
    "no report": ("ends_with_help", put(10, STUCK.replace("doctor", "nurse"))),
    "nobody to ask": ("ends_with_help", put(10, STUCK.replace("issue", "matter"))),
    "no way on": ("ends_with_help", put(10, STUCK.replace("00_good.ipynb", "#does-it"))),
    "import first": ("guarded_bootstrap", lambda nb: nb.cells.insert(1, code("import devicelab as lab"))),
}


@pytest.mark.filterwarnings("ignore:Non-unique cell id", "ignore:Cell is missing an id")
@pytest.mark.parametrize("name", BAD_LESSONS)
def test_a_bad_lesson_is_found(name, tmp_path):
    rule, change = BAD_LESSONS[name]
    notebook = good_lesson()
    change(notebook)
    assert rule in {fault.partition(":")[0] for fault in faults(page_of(notebook, tmp_path), LESSON)}


def test_every_rule_is_proven():
    proven = {rule for rule, _ in BAD_LESSONS.values()} | {"not_run", "no_answers", "judged_three_ways"}
    assert {rule.__name__ for rule in (*LESSON, *SOLUTION, *EXERCISE)} <= proven


@pytest.mark.parametrize(
    ("rule", "cell"),
    [
        ("not_run", code("print(1)", out="1")),
        ("no_answers", code("### BEGIN SOLUTION\nx = 1")),
        ("no_answers", code("q1.check(1)", "wrong-answer")),
    ],
)
def test_a_bad_exercise_is_found(rule, cell, tmp_path):
    good = new_notebook(
        cells=[new_markdown_cell("# Exercise", id="a"), new_code_cell("q1.check(...)", id="b")]
    )
    assert faults(page_of(good, tmp_path), EXERCISE) == []
    good.cells.append(cell)
    assert rule in {fault.partition(":")[0] for fault in faults(page_of(good, tmp_path), EXERCISE)}


def test_an_exercise_without_checks_is_found(tmp_path):
    page = page_of(new_notebook(cells=[new_markdown_cell("# Exercise", id="a")]), tmp_path)
    assert faults(page, EXERCISE) == ["no_answers: no question is checked"]


def answers(said: dict[str, str]) -> NotebookNode:
    """Return a solution in which the check of q1 said this to the answers with these names."""
    tag = {"w": "wrong-answer", "o": "other-right-answer"}
    cells = [code(f"q1.check({n})", *filter(None, [tag.get(n[0])]), plain=said[n]) for n in said]
    return numbered(new_notebook(cells=[new_markdown_cell("# Solution"), *cells]))


GOOD = {"r": "Passed. Yes.", "w1": "Not yet. A", "w2": "Not yet. B", "w3": "Not yet. C", "o": "Passed. Yes."}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"r": "Not yet. A"}, "reference"),
        ({"w1": "Passed. Yes."}, "not rejected"),
        ({"w1": "Not yet. B"}, "three wrong answers"),
        ({"o": "Not yet. A"}, "other right answer"),
    ],
)
def test_a_bad_solution_is_found(changes, word, tmp_path):
    assert faults(page_of(answers(GOOD), tmp_path), SOLUTION) == []
    found = faults(page_of(answers(GOOD | changes), tmp_path), SOLUTION)
    assert len(found) == 1 and word in found[0]


@pytest.mark.parametrize("missing", GOOD)
def test_a_missing_answer_is_found(missing, tmp_path):
    some = {name: text for name, text in GOOD.items() if name != missing}
    assert len(faults(page_of(answers(some), tmp_path), SOLUTION)) == 1


def test_a_solution_without_checks_is_found(tmp_path):
    assert faults(page_of(answers({}), tmp_path), (judged_three_ways,)) == [
        "judged_three_ways: no question is checked"
    ]


def test_an_exercise_that_already_passes_is_found(tmp_path):
    page = page_of(answers({"r": "Passed. Yes."}), tmp_path)
    assert faults(page, (untouched,)) == ["untouched: q1 says 'Passed. Yes.' to an untouched exercise"]
    silent = page_of(answers({"r": ""}), tmp_path)
    assert faults(silent, (untouched,)) == ["untouched: q1 says '' to an untouched exercise"]


@pytest.mark.parametrize(
    "names",
    [
        ["01_a.ipynb"],
        ["00_a.ipynb", "02_b.ipynb"],
        ["00_a.ipynb", "00_b.ipynb"],
        ["00_A.ipynb"],
        [f"{number:02d}_a.ipynb" for number in (*range(9), 10)],
    ],
)
def test_wrong_order_is_found(names):
    assert list(order_faults(names))


def test_lessons_without_a_gap_are_in_order():
    assert list(order_faults([f"{number:02d}_a.ipynb" for number in range(11)])) == []


def test_long_prose_is_found(tmp_path):
    prose = ["word " * 46, "word " * 45, "- word\n" * 46, "| word |\n" * 46]
    notebook = new_notebook(cells=[new_markdown_cell(source) for source in prose])
    assert len(list(long_prose(page_of(notebook, tmp_path)))) == 1


def test_neighbours_that_open_alike_are_found(tmp_path):
    same = [page_of(good_lesson(), tmp_path, name) for name in ("00_a.ipynb", "01_b.ipynb")]
    assert "both open with code, prose" in next(alike(same))
    same[1].notebook.cells.insert(9, code("1"))
    assert list(alike(same)) == []
