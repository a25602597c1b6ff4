"""`course.py catch-up`: every exercise solved beside the learner's own, which is never touched."""

import re
import shutil

import pytest

from tools.notebooks import catch_up
from tools.notebooks.nbfiles import SOLUTIONS, find, read, short
from tools.setup.copies import copy_course, place_of
from tools.setup.say import ROOT


@pytest.fixture
def course(tmp_path):
    for folder in ("solutions", "exercises"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    copy_course(tmp_path)
    return tmp_path


def test_a_solved_copy_stands_beside_the_learner_s_own_and_neither_is_overwritten(course, capsys):
    own = next((course / "my_course" / "exercises").glob("E03_*.ipynb"))
    own.write_text("what the learner wrote")
    assert catch_up.main(["3"], course) == 0
    made = own.with_name(f"{own.stem}_solved.ipynb")
    assert made.name in capsys.readouterr().out and own.read_text() == "what the learner wrote"
    made.write_text("noted there")
    assert catch_up.main(["03"], course) == 0
    assert "is there already and stays" in capsys.readouterr().out
    assert made.read_text() == "noted there" and own.read_text() == "what the learner wrote"


@pytest.mark.parametrize("number", ["00", "x", "99", ""])
def test_an_exercise_that_is_not_there_is_told_with_those_that_are_and_nothing_is_made(
    number, course, capsys
):
    assert catch_up.main(["03", number], course) == 1
    assert re.search(rf'no exercise "{number}".\n.*01, 02, 03', capsys.readouterr().err)
    assert not list(course.glob("my_course/exercises/*_solved.ipynb"))


@pytest.mark.parametrize("path", find(SOLUTIONS), ids=short)
def test_each_exercise_has_its_answers_and_no_mark_output_or_wrong_answer(path):
    original = f"exercises/{path.name}"
    exercise, made = read(ROOT / original), catch_up.solved(read(path), original)
    left = [cell.id for cell in exercise.cells if cell.id not in ("badges", "colab")]
    assert [cell.id for cell in made.cells] == left
    text = "\n".join(cell.source for cell in made.cells)
    assert not re.search(r"^\s*### (BEGIN|END|STUB)", text, re.MULTILINE)
    assert not any(cell.get("outputs") for cell in made.cells)
    answered = [cell.source for cell in made.cells if re.fullmatch(r"q\d+-answer", cell.id)]
    asked = [cell.source for cell in exercise.cells if re.fullmatch(r"q\d+-answer", cell.id)]
    assert answered and all(one != other for one, other in zip(answered, asked, strict=True))


def test_its_links_lead_to_the_learner_s_copies(course):
    catch_up.main(["02"], course)
    made = next(course.glob("my_course/exercises/*_solved.ipynb"))
    text = made.read_text("utf-8")
    lesson = place_of("notebooks/02_what_does_it_take.ipynb").rpartition("/")[2]
    assert f"../lessons/{lesson}" in text and "../notebooks/" not in text


def test_a_damaged_solution_or_a_folder_in_the_way_is_a_sentence(tmp_path, capsys):
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "01_a.ipynb").write_text('{"half')
    assert catch_up.main(["01"], tmp_path) == 1
    assert "solutions/01_a.ipynb is damaged." in capsys.readouterr().err
    shutil.copy(SOLUTIONS / "01_where_does_training_run.ipynb", tmp_path / "solutions" / "01_a.ipynb")
    (tmp_path / "my_course").symlink_to("/nowhere")
    assert catch_up.main(["01"], tmp_path) == 1
    assert "my_course is in the way: it is a link to nothing." in capsys.readouterr().err
