"""`course.py report`: parameters of the right name and kind, a failure that stops no other lesson, and what ran is kept."""

from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.notebooks import alive
from tools.notebooks.nbfiles import read, write
from tools.setup.say import Stop
from tools.site import report

KNOWN = {
    Path("00_a.ipynb"): {"card": "Tesla T4", "seed": 0, "script": "", "rate": 0.5, "fast": True},
    Path("01_b.ipynb"): {"card": "Tesla T4", "seed": 0, "rows": 10, "epochs": 5},
    Path("02_c.ipynb"): {"seed": 0, "rows": 8192},
}
LANGUAGE = {
    "kernelspec": {"name": "python3", "display_name": "Python 3"},
    "language_info": {"name": "python"},
}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("seed=3", 3),
        ("script=my file.py", "my file.py"),
        ("rate=1", 1),
        ("rate=0.25", 0.25),
        ("fast=False", False),
        ("card=NVIDIA L4", "NVIDIA L4"),
        ("card=l4", "l4"),
        ("02.rows=4096", 4096),
    ],
)
def test_a_value_of_the_right_kind_is_taken(pair, value):
    assert report.chosen([pair], KNOWN) == {pair.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        (
            ["seeds=3"],
            r'No lesson here has a parameter "seeds".\n.*rows: lesson 01, 02\n.*seed: lesson 00, 01',
        ),
        (["03.seed=1"], 'No lesson here has a parameter "03.seed"'),
        (["00.rows=1"], 'No lesson here has a parameter "00.rows"'),
        (
            ["rows=4"],
            r"another size in each lesson.\s+Say of which:\s+01.rows=10, as it is .*\s+02.rows=8192, as",
        ),
        (["02.rows=0"], "rows must be 1 or more, but it is 0"),
        (["epochs=-3"], "epochs must be 1 or more, but it is -3"),
        (["seed=-1"], r"seed must be 0 or more and below 2\*\*63, but it is -1"),
        ([f"seed={2**63}"], "seed must be 0 or more and below"),
        (["card=GTX 9000"], 'No card is called "GTX 9000". Known are .*Tesla T4'),
        (["card="], 'No card is called "". Known are'),
        (["seed"], 'NAME=VALUE, such as seed=1, but it is "seed"'),
        (["seed=three"], 'seed must be a whole number, such as 0, but it is "three"'),
        (["seed=1.5"], "seed must be a whole number"),
        (["seed=True"], "seed must be a whole number"),
        (["rate=fast"], 'rate must be a number, such as 0.5, but it is "fast"'),
        (["fast=1"], "fast must be True or False"),
        (["seed=1", "seed=2"], "seed is given twice"),
    ],
)
def test_a_mistyped_parameter_is_refused_in_a_sentence(pairs, sentence):
    with pytest.raises(Stop, match=f"(?s){sentence}"):
        report.chosen(pairs, KNOWN)


def test_a_value_for_one_lesson_goes_before_that_for_all():
    values = report.chosen(["01.seed=7", "seed=3", "card=NVIDIA L4", "02.rows=64"], KNOWN)
    each = {path.name[:2]: report.of_lesson(path, values, KNOWN) for path in KNOWN}
    assert each == {
        "00": {"seed": 3, "card": "NVIDIA L4"},
        "01": {"seed": 7, "card": "NVIDIA L4"},
        "02": {"seed": 3, "rows": 64},
    }


@pytest.fixture
def two_lessons(tmp_path, monkeypatch):
    """A lesson that fails where n is 0, and one that runs; the report goes to a folder of its own."""
    monkeypatch.setattr(report, "RAN", tmp_path / "ran")
    for name, line in {"00_divides": "print('a tenth:', 1 / n)", "01_runs": "print('n is', n)"}.items():
        parameters = new_code_cell("n = 10", metadata={"tags": ["parameters"]})
        cells = [
            new_markdown_cell(f"# {name}"),
            parameters,
            new_code_cell(line),
            new_code_cell("'last' + ' cell'"),
        ]
        write(tmp_path / f"{name}.ipynb", new_notebook(cells=cells, metadata=LANGUAGE))
    return sorted(tmp_path.glob("*.ipynb"))


def test_a_failure_is_named_and_stops_no_other_and_what_ran_is_kept(two_lessons):
    zero = {path: {"n": 0} for path in two_lessons}
    failed, ran = report.run(two_lessons, zero)
    assert failed.fault == "cell [3]: ZeroDivisionError: division by zero" and ran.fault is None
    again, kept = report.run(two_lessons, zero)
    assert again.fault and not again.kept and kept.kept and kept.seconds == pytest.approx(ran.seconds)
    page = report.page([again, kept], {"n": 0})
    assert "1 of 2 lessons failed." in page and "n is 0" in page and "ZeroDivisionError" in page
    assert "cdn" not in page.lower() and "<script src" not in page


def test_other_values_or_another_lesson_are_run_anew(two_lessons):
    path = two_lessons[1]
    assert not report.run([path], {path: {}})[0].kept
    assert report.run([path], {path: {}})[0].kept
    assert not report.run([path], {path: {}}, renew=True)[0].kept
    assert report.kept(path, report.key_of(path, {"n": 1})) is None
    before = report.key_of(path, {})
    path.write_text(path.read_text("utf-8").replace("n is", "n was"), "utf-8")
    assert report.key_of(path, {}) != before


def test_a_picture_is_shown_still_on_the_page(two_lessons):
    path = two_lessons[1]
    outcome = report.run([path], {path: {}})[0]
    done = read(report.RAN / path.name)
    data = {
        alive.VIEW: {"model_id": "m", "version_major": 2, "version_minor": 0},
        "text/html": "<b>the still</b>",
    }
    done.cells[-1].outputs = [new_output("display_data", data=data)]
    write(report.RAN / path.name, done)
    page = report.page([outcome], {})
    assert "<b>the still</b>" in page and "widget-view+json" not in page


def test_the_lessons_own_parameters_are_found():
    known = report.defaults(report.find(report.LESSONS))
    assert all(known.values()) and {
        type(value) for found in known.values() for value in found.values()
    } <= set(report.KINDS)
