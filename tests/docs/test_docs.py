"""The pages for looking things up: the cheat sheet runs and prints on one page, links lead somewhere, lists are in order."""

import ast
import re
import time
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from devicelab import simulate_gpu
from tools.notebooks.nbfiles import LESSONS, find, read, short

DOCS = Path(__file__).parents[2] / "docs"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
README = (DOCS.parent / "README.md").read_text("utf-8")
CHEATS = (DOCS / "cheat-sheet.md").read_text("utf-8")
LINES, COLUMNS = 66, 150  # of an A4 page, with the fonts in which browsers and editors print Markdown


def code_blocks(text: str) -> list[str]:
    """Return the Python blocks of a Markdown text."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_links_to_files_lead_somewhere(page):
    targets = [target for target in LINK.findall(page.read_text("utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_cheat_sheet_is_one_page():
    lines = CHEATS.splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS


class Normalised(nn.Module):
    """A model whose __init__ holds the cheat sheet's line about buffers."""

    def __init__(self, line: str, mean: torch.Tensor) -> None:
        super().__init__()
        exec(line, {"self": self, "mean": mean})
        self.fc = nn.Linear(10, 2)


@pytest.mark.parametrize("simulated", [True, False], ids=["simulated", "cpu"])
def test_the_placing_lines_run_and_place(simulated, tmp_path):
    placing = code_blocks(CHEATS)[0]
    buffer = next(line for line in placing.splitlines() if "register_buffer" in line)
    path = tmp_path / "checkpoint.pt"
    torch.save({"mean": torch.zeros(10)}, path)
    loader = [(torch.zeros(4, 10), torch.zeros(4, 2))]
    given = {
        "torch": torch,
        "model": Normalised(buffer, torch.zeros(10)),
        "loader": loader,
        "path": path,
        "n": 4,
    }
    with simulate_gpu("Tesla T4") if simulated else nullcontext():
        given = ran(placing.replace(buffer, ""), given)
        tensors = [given[name] for name in ("x", "batch", "labels", "mask")]
        tensors += [given["checkpoint"]["mean"], *given["model"].state_dict().values()]
        assert {tensor.device.type for tensor in tensors} == {"cuda" if simulated else "cpu"}


def ran(source: str, names: dict) -> dict:
    """Return the names after the source ran."""
    names = dict(names)
    exec(source, names)
    return names


def test_the_timing_lines_run():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(8, device="cuda")
        given = {"torch": torch, "time": time, "work": lambda: x + x}
        assert ran(code_blocks(CHEATS)[1], given)["seconds"] > 0


def test_the_glossary_is_in_alphabetical_order():
    rows = re.findall(
        r"^\| ([^|]+) \| .* \| \[\d\d\]", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) > 20
    assert rows == sorted(rows, key=str.lower)


TWICE = {"kernel"}  # the notebook's kernel is met first


@pytest.mark.parametrize(
    ("word", "number"),
    re.findall(r"^\| ([^|]+) \| .* \| \[(\d\d)\]", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE),
)
def test_a_word_of_the_glossary_is_met_first_in_the_lesson_that_it_names(word, number):
    used = [path.name[:2] for path in find(LESSONS) if is_used(word, prose_of(path))]
    assert number in used if word in TWICE else used[:1] == [number]


def prose_of(path) -> str:
    """Return a lesson's prose, without what it links to and the tables of others' measurements."""
    cells = [cell.source for cell in read(path).cells if cell.cell_type == "markdown" and cell.id != "badges"]
    return re.sub(
        r"\]\([^)]*\)|<!-- published:begin.*?published:end -->", "]", "\n".join(cells), flags=re.DOTALL
    )


def is_used(word: str, text: str) -> bool:
    """Say whether one of the forms of a word stands in a text."""
    forms = "|".join(re.escape(form.strip().removesuffix(" device")) for form in word.split(","))
    return bool(re.search(rf"(?<![\w.])(?:{forms})(?:e?s|e?d|ing|ly)?(?![\w(])", text, re.IGNORECASE))


def test_the_readme_lists_the_lessons_and_each_leads_to_the_next():
    lessons = [(path.name, read(path).cells) for path in find(LESSONS)]
    listed = re.findall(r"(?m)^\| \[(\d\d)\]\(notebooks/([^)]+)\) \|", README)
    assert listed == [(name[:2], name) for name, _ in lessons]
    for (name, cells), (following, _) in pairwise(lessons):
        assert f"]({following})" in cells[-1].source, f"{name} does not end with a link to {following}"


CAPSTONE = "10"  # as long as it takes
TEACHING = (DOCS / "teaching.md").read_text("utf-8")
MINUTES = {"guess": 2, "change": 4}  # any other code cell: 1


@pytest.mark.parametrize("path", find(LESSONS), ids=short)
def test_the_teaching_notes_know_each_guess_and_the_minutes(path):
    cells = [cell for cell in read(path).cells if cell.cell_type == "code" and cell.id != "colab"]
    notes = re.search(rf"^## {path.name[:2]} · .*?(?=^## |\Z)", TEACHING, re.MULTILINE | re.DOTALL)
    assert notes, f"docs/teaching.md has no section for {path.name}"
    missing = [
        question for question in map(question_of, cells) if question and f"| {question} |" not in notes[0]
    ]
    assert missing == []
    if path.name[:2] != CAPSTONE:
        assert f"\n{sum(map(minutes_of, cells))} minutes." in notes[0]


def test_an_agenda_fills_its_minutes_and_gives_each_lesson_its_own():
    agendas = re.findall(r"^### (\d+) minutes: .*?\n\n(.*?)(?=\n\n)", TEACHING, re.MULTILINE | re.DOTALL)
    lessons = dict(re.findall(r"^## (\d\d) · .*?\n\n(\d+) minutes\.", TEACHING, re.MULTILINE))
    assert [total for total, _ in agendas] == ["45", "90", "240"]
    for total, rows in agendas:
        given = re.findall(r"^\| (\d+) \| (.*) \|$", rows, re.MULTILINE)
        assert sum(int(minutes) for minutes, _ in given) == int(total)
        named = [(minutes, re.fullmatch(r"lesson (\d\d)", what)) for minutes, what in given]
        assert all(lessons[lesson[1]] == minutes for minutes, lesson in named if lesson)
        assert any(lesson for _, lesson in named)


def question_of(cell) -> str | None:
    """Return the question of a cell's guess."""
    calls = (
        [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
        if "lab.guess(" in cell.source
        else []
    )
    questions = [ast.literal_eval(call.args[0]) for call in calls if ast.unparse(call.func) == "lab.guess"]
    return questions[0] if questions else None


def minutes_of(cell) -> int:
    """Return what a learner needs for a code cell."""
    return max((MINUTES.get(tag, 1) for tag in cell.metadata.get("tags", [])), default=1)
