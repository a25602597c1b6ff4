"""The buttons below a check's reply: after the result, in a notebook only, the solution alone once it was passed."""

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from devicelab import widgets
from tools.notebooks.tidy import tidy

VIEW = "application/vnd.jupyter.widget-view+json"
START = "from devicelab.course.question.question import Question\nq = Question(lambda answer: None, key='', hints=['Look.'])"


def test_the_buttons_come_after_the_reply_and_are_not_stored():
    cells = [new_code_cell(source) for source in (START, "q.check(...)", "q.check(1)", "q.hint()")]
    notebook = new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    _, untouched, passed, hint = (cell.outputs for cell in notebook.cells)
    assert [list(output.data) for output in untouched][1:] == [[VIEW]]
    assert "Not attempted." in untouched[0].data["text/plain"]
    assert [output.output_type for output in passed] == ["execute_result", "display_data"]
    assert len(hint) == 1
    assert [len(cell.outputs) for cell in tidy(notebook).cells] == [0, 1, 1, 1]


def test_each_button_says_what_its_function_gives():
    said = iter(["first", "second"])
    box = widgets.buttons({"Hint": lambda: next(said), "Solution": lambda: "one way"})
    (hint, solution), answer = box.children[0].children, box.children[1]
    for button, words in ((hint, "first"), (hint, "second"), (solution, "one way")):
        button.click()
        assert answer.value == words
