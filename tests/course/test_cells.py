"""An answer that is not the one of now is told apart, in a real IPython, and the cell to run again is named."""

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from devicelab import simulate_gpu
from devicelab.course.question import cells

SETUP = """
from devicelab.course.question import NotYet, exercise

def judge(f):
    if f() != 4:
        raise NotYet("That is not 4.")

q1, q2 = exercise(1, judge, judge)
"""
RIGHT = "def four():\n    return 4"
CHECK = "q1.check(four)"


@pytest.fixture(scope="module")
def a_gpu():
    if torch.cuda.is_available():
        yield
        return
    with simulate_gpu("Tesla T4"):
        yield


@pytest.fixture
def cell(a_gpu, monkeypatch, tmp_path):
    """Return a function that runs a cell in a shell of its own and returns what its last line shows."""
    monkeypatch.setenv("DEVICELAB_HOME", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setattr(cells, "_cells", cells.Cells())
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()

    def run(source, cell_id=None):
        return shell.run_cell(source, store_history=True, cell_id=cell_id).result

    run(SETUP)
    yield run
    InteractiveShell.clear_instance()


def test_the_plain_way_is_not_disturbed(cell):
    cell(RIGHT)
    assert cell(CHECK).state == "passed"
    assert cell(CHECK).state == "passed"


def test_a_cell_that_failed_before_it_set_the_name_is_named(cell):
    cell(RIGHT)
    cell(f"missing_name\n\n{RIGHT}")
    outcome = cell(CHECK)
    assert outcome.state == "not yet" and "`four` is left from an earlier run" in outcome.text
    assert "the cell that begins with `missing_name` stopped with NameError" in outcome.text


def test_a_cell_that_failed_after_it_set_the_name_is_current(cell):
    cell("def four():\n    return 5")
    cell(f"{RIGHT}\n\nmissing_name")
    assert cell(CHECK).state == "passed"


def test_a_cell_that_could_not_be_read_is_named(cell):
    cell(RIGHT)
    cell("def four()\n    return 4")
    assert "could not be read (a SyntaxError)" in cell(CHECK).text
    cell(RIGHT)
    assert cell(CHECK).state == "passed"


def test_a_cell_that_no_longer_sets_the_name_is_named(cell):
    cell(RIGHT, cell_id="a")
    cell("def fuor():\n    return 4", cell_id="a")
    assert "begins with `def fuor():` no longer sets it" in cell(CHECK).text


def test_the_answer_to_another_question_is_told(cell):
    cell(RIGHT)
    assert cell(CHECK).state == "passed"
    outcome = cell("q2.check(four)")
    assert outcome.state == "not yet" and "as the answer to question 1" in outcome.text


def test_an_answer_that_did_not_change_is_said_to_be_the_same(cell):
    cell("def four():\n    return 5")
    assert str(cell(CHECK)) == "Not yet. That is not 4."
    assert "The same `four` as in your last check" in str(cell(CHECK))


PAIR = """
def judge_two(f, g):
    if f() + g() != 4:
        raise NotYet("No.")

(q3,) = exercise(2, judge_two)

def one():
    return 1
"""


def test_an_answer_in_two_parts_is_the_same_only_when_both_are(cell):
    cell(PAIR)
    cell("def two():\n    return 9")
    assert "The same" not in str(cell("q3.check(one, two)"))
    assert "The same `one` and `two` as in your last check" in str(cell("q3.check(one, two)"))
    cell("def two():\n    return 8")
    assert "The same" not in str(cell("q3.check(one, two)"))
    assert "The same" not in str(cell("q3.check(two, one)"))


def test_a_function_beside_another_number_is_not_the_same_answer(cell):
    cell(PAIR.replace("g()", "g"))
    assert "The same" not in str(cell("q3.check(one, 7)"))
    assert "The same" not in str(cell("q3.check(one, 8)"))
    assert "The same `one` as in your last check" in str(cell("q3.check(one, 8)"))
    cell("def four():\n    return 6")
    assert str(cell(CHECK)) == "Not yet. That is not 4."


def test_an_answer_in_the_cell_of_the_check_is_always_current(cell):
    cell("missing_name\nfour = 1")
    assert cell(f"{RIGHT}\n\n{CHECK}").state == "passed"


def test_old_values_are_not_kept_alive(cell):
    import gc
    import weakref

    class Big:
        pass

    big = Big()
    cells._cells.namespace["big"] = big
    cell("big = 2")
    gone = weakref.ref(big)
    del big
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("a = b, c = 1, 2", {"a", "b", "c"}),
        ("%time x = 1\ny = 2", {"y"}),
        ("def f():\n    z = 1\nclass G: pass", {"f", "G"}),
        ("for i in range(3):\n    last = i", {"i", "last"}),
        ("with open('x') as file: pass", {"file"}),
        ("not python", set()),
    ],
)
def test_the_names_that_a_cell_sets(source, names):
    assert cells.set_names(source) == names


def test_a_check_that_is_interrupted_ends_in_one_sentence(cell, capsys):
    cell("def four():\n    raise KeyboardInterrupt")
    assert cell(CHECK) is None
    said = capsys.readouterr().out.strip()
    assert said.startswith("You stopped the check while your code was still running in line 2, in four.")
    assert len(said.splitlines()) == 1 and "Traceback" not in said


STUB = "def f(x):\n    x.to('cuda')\n    return x"


def test_a_function_that_still_reads_as_the_stub_is_known(cell):
    cell(f"# a comment\n{STUB}")
    f = cells._cells.namespace["f"]
    assert cells.reads_like(f, STUB)
    cell("def f(x):\n    return x.to('cuda')")
    assert not cells.reads_like(cells._cells.namespace["f"], STUB)
    assert not cells.reads_like(len, STUB) and not cells.reads_like(3, STUB)


def test_a_class_and_its_object_that_still_read_as_the_stub_are_known(cell):
    stub = "class Model:\n    def forward(self):\n        return 1"
    cell(f"{stub}\n\nmodel = Model()")
    space = cells._cells.namespace
    assert cells.reads_like(space["Model"], stub) and cells.reads_like(space["model"], stub)
