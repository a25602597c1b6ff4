"""%load_ext devicelab: a box under the traceback, once, for errors about devices only."""

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

import devicelab
from devicelab.ipython import after_cell, load_ipython_extension, unload_ipython_extension
from tools.notebooks import warm

MIXED = "import torch\nx = torch.zeros(3)\ny = torch.zeros(3, device='meta')\nz = x + y"
SHELL = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="NoColor")
for cell in sys.argv[1:]:
    print("==", cell.splitlines()[-1])
    shell.run_cell(cell, store_history=True)
"""


class Events:
    """As much of IPython's events as the extension uses, strict where IPython is."""

    def __init__(self):
        self.callbacks = {"post_run_cell": []}

    def register(self, event, function):
        self.callbacks[event].append(function)

    def unregister(self, event, function):
        self.callbacks[event].remove(function)


class Shell:
    def __init__(self):
        self.events = Events()


def test_switching_on_twice_registers_once_and_off_again_leaves_nothing():
    shell = Shell()
    load_ipython_extension(shell)
    load_ipython_extension(shell)
    assert shell.events.callbacks["post_run_cell"] == [after_cell]
    unload_ipython_extension(shell)
    unload_ipython_extension(shell)
    assert shell.events.callbacks["post_run_cell"] == []


def test_the_callbacks_of_others_stay():
    shell = Shell()
    shell.events.register("post_run_cell", print)
    load_ipython_extension(shell)
    unload_ipython_extension(shell)
    assert shell.events.callbacks["post_run_cell"] == [print]


def test_a_wrapped_callback_as_older_ipython_keeps_it_is_found():
    def wrapped(result):
        return after_cell(result)

    wrapped.__wrapped__ = after_cell
    shell = Shell()
    shell.events.register("post_run_cell", wrapped)
    load_ipython_extension(shell)
    assert shell.events.callbacks["post_run_cell"] == [after_cell]


@pytest.mark.parametrize("result", [None, object()])
def test_a_cell_without_an_error_says_nothing(result, capsys):
    after_cell(result)
    assert capsys.readouterr().out == ""


def test_the_names_that_ipython_asks_for_are_there():
    assert devicelab.load_ipython_extension is load_ipython_extension
    assert devicelab.unload_ipython_extension is unload_ipython_extension


def in_shell(*cells: str) -> list[str]:
    """Return what IPython's own shell printed for each cell."""
    result = warm.run("-c", SHELL, *cells)
    assert result.returncode == 0, result.stderr
    return result.stdout.split("== ")[1:]


def test_in_a_shell_the_words_follow_the_traceback_once():
    out = in_shell(
        "%load_ext devicelab", "%reload_ext devicelab", MIXED, "1 / 0", "%unload_ext devicelab", MIXED
    )
    mixed, division, _, after = out[2:]
    assert mixed.count("y is on meta, but cpu is needed here.") == 1
    assert (
        mixed.index("RuntimeError") < mixed.index("y is on meta") and "line 4 of cell [3]: z = x + y" in mixed
    )
    assert (
        "ZeroDivisionError" in division
        and "is needed here" not in division
        and "not an error about" not in division
    )
    assert "RuntimeError" in after and "is needed here" not in after


def test_in_a_notebook_the_box_stands_under_the_error():
    cells = ["%load_ext devicelab", MIXED, "1 / 0", "import devicelab as lab\nlab.explain()"]
    notebook = new_notebook(cells=[new_code_cell(source) for source in cells])
    NotebookClient(notebook, timeout=120, allow_errors=True, kernel_name="python3").execute()
    _, mixed, division, asked = notebook.cells
    assert [output.output_type for output in mixed.outputs] == ["error", "display_data"]
    box = mixed.outputs[1].data["text/html"]
    assert "y is on meta" in box and "line 4 of cell [2]" in box
    assert "<style" not in box and "<svg" not in box and "class=" not in box and "<script" not in box
    assert [output.output_type for output in division.outputs] == ["error"]
    assert "ZeroDivisionError" in asked.outputs[0].data["text/plain"]  # without an argument: the last error
    nbformat.validate(notebook)
