"""Re-making outputs: what is stored, what is kept, and what is refused."""

import os
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools.notebooks import remake, run_notebooks
from tools.notebooks.alive import STATE, VIEW, strays
from tools.notebooks.nbfiles import ROOT, NoNotebooks, find, named, read, sanitize_rules, write
from tools.notebooks.tidy import WIDGET_NOTE, differences, keep_ignored, tidy, without_paths

PRIVATE = "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "DEVICELAB_HOME"


@pytest.fixture(autouse=True)
def restored_environment():
    """Put the environment back: the tool gives its whole process private folders."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def stored(folder: Path, *sources: str, tag: str | None = None, name: str = "00_a.ipynb") -> Path:
    """Store a notebook of these code cells and return its path."""
    metadata = {"tags": [tag]} if tag else {}
    cells = [new_code_cell(s, id=f"cell-{n}", metadata=metadata) for n, s in enumerate(sources)]
    write(folder / name, new_notebook(cells=cells))
    return folder / name


def texts(path: Path) -> list[str]:
    """Return what each cell printed."""
    return ["".join(output.text for output in cell.outputs) for cell in read(path).cells]


def shown(path: Path) -> list[tuple[str, str]]:
    """Return the view and the text of each picture that is stored."""
    outputs = [output.data for cell in read(path).cells for output in cell.outputs if "data" in output]
    return [(data[VIEW]["model_id"], data["text/plain"]) for data in outputs if VIEW in data]


def test_a_run_is_private_simulated_and_stored_once(tmp_path):
    show = f"import os\nfor name in {PRIVATE}:\n    print(os.environ[name] != {str(Path.home())!r}, name)"
    path = stored(
        tmp_path, show, "print(os.environ['DEVICELAB_GPU'], os.getcwd() == " + repr(str(tmp_path)) + ")"
    )
    assert remake.main([str(path)]) == 0
    assert texts(path) == ["".join(f"True {name}\n" for name in PRIVATE), "simulated True\n"]
    assert [cell.execution_count for cell in read(path).cells] == [1, 2]
    first = path.read_bytes()
    assert remake.main([str(path)]) == 0
    assert path.read_bytes() == first


def test_ignored_outputs_are_kept_unless_refreshed(tmp_path, monkeypatch):
    now = "import time\nprint(time.perf_counter_ns())"
    path = stored(tmp_path, now, now, tag="nbval-ignore-output")
    remake.main([str(path)])
    first = texts(path)
    remake.main([str(path)])
    assert texts(path) == first
    remake.main(["--fresh", "cell-0", str(path)])
    assert texts(path)[0] != first[0] and texts(path)[1] == first[1]
    monkeypatch.setenv("REFRESH", "1")
    remake.main([str(path)])
    assert texts(path)[1] != first[1]


PICTURE = """import random
from devicelab.widgets.picture import alive
from IPython.display import display
number = random.random()
views, metadata = alive("crossover", {"number": number})
display({"text/plain": f"{number}", "text/html": f"<b>{number}</b>"} | views, raw=True)"""


def test_the_text_and_the_data_of_a_kept_picture_are_of_one_run(tmp_path):
    path = stored(tmp_path, PICTURE, tag="nbval-ignore-output")
    remake.main([str(path)])
    before = path.read_bytes()
    remake.main([str(path)])
    assert path.read_bytes() == before
    ((_, said),) = shown(path)
    assert f"{said}" in str(read(path).metadata.widgets)


@pytest.mark.parametrize(("key", "is_kept"), [("_esm", True), ("data", False)])
def test_a_picture_is_kept_with_its_data_where_the_module_of_now_can_draw_them(key, is_kept, tmp_path):
    path = stored(tmp_path, PICTURE, tag="nbval-ignore-output")
    remake.main([str(path)])
    notebook = read(path)
    for model in notebook.metadata.widgets[STATE]["state"].values():
        if key in model["state"]:
            model["state"][key] = {"_esm": "an older module", "data": {"an older name": 1}}[key]
    write(path, notebook)
    ((_, before),) = shown(path)
    remake.main([str(path)])
    ((_, said),) = shown(path)
    state = str(read(path).metadata.widgets)
    assert (said == before) is is_kept and said in state and "an older" not in state


def test_a_bet_is_stored_as_it_is_asked_now(tmp_path):
    path = stored(tmp_path, "print('How much?')")
    notebook = read(path)
    notebook.cells[0].metadata["tags"] = ["guess", "nbval-ignore-output"]
    notebook.cells[0].outputs = [new_output("stream", name="stdout", text="How many?")]
    write(path, notebook)
    remake.main([str(path)])
    assert texts(path) == ["How much?\n"]


def test_check_writes_nothing_and_finds_an_outdated_output(tmp_path, capsys):
    path = stored(tmp_path, "print(1)")
    before = path.read_bytes()
    assert remake.main(["--check", str(path)]) == 1
    assert "differs in cell-0" in capsys.readouterr().out
    assert path.read_bytes() == before
    remake.main([str(path)])
    assert remake.main(["--check", str(path)]) == 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import os\nos._exit(1)", "kernel died"),
        ("import time\ntime.sleep(60)", "longer than"),
    ],
)
def test_a_failing_notebook_is_reported_and_left_alone(source, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(remake, "CELL_SECONDS", 3)
    path = stored(tmp_path, source)
    before = path.read_bytes()
    assert remake.main([str(path)]) == 1
    assert words in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_notebook_that_is_edited_while_it_runs_is_left_alone(tmp_path, capsys):
    path = stored(tmp_path, "print(1)")
    stored(tmp_path, f"open({str(path)!r}, 'a').write(' ')\nprint(1)")
    edited = path.read_bytes() + b" "
    assert remake.main([str(path)]) == 1
    assert "NOT WRITTEN" in capsys.readouterr().out
    assert path.read_bytes() == edited


def test_one_failure_among_several_is_a_failure(tmp_path):
    stored(tmp_path, "1 / 0", name="00_a.ipynb")
    good = stored(tmp_path, "print(1)", name="01_b.ipynb")
    assert remake.main([str(tmp_path)]) == 1
    assert texts(good) == ["1\n"]


def test_no_notebook_is_a_failure(tmp_path, capsys):
    assert remake.main([str(tmp_path)]) == 1
    assert "no notebook" in capsys.readouterr().out
    with pytest.raises(NoNotebooks):
        find(tmp_path)
    with pytest.raises(NoNotebooks):
        named([str(tmp_path / "missing.ipynb")])


def test_a_fresh_cell_that_is_nowhere_is_told(tmp_path, capsys):
    assert remake.main(["--fresh", "cell-1", str(stored(tmp_path, "print(1)"))]) == 1
    assert "a cell cell-1" in capsys.readouterr().out


def test_no_path_of_this_machine_is_stored():
    text = f"{ROOT}/data.csv {Path.home()}/x.py {ROOT}/utils/devicelab/timing.py"
    assert without_paths(text) == "course/data.csv ~/x.py utils/devicelab/timing.py"
    assert without_paths('File "/tmp/ipykernel_12/34.py", line 1') == 'File "notebook cell", line 1'
    assert without_paths("/a/b/site-packages/torch/nn/x.py") == "site-packages/torch/nn/x.py"
    assert without_paths("no path, and/or either one") == "no path, and/or either one"


def cell_with(*outputs: NotebookNode, **metadata: object) -> NotebookNode:
    """Return a notebook of one cell with these outputs."""
    return new_notebook(cells=[new_code_cell("x", id="a", outputs=list(outputs), metadata=metadata)])


def test_what_a_run_leaves_behind_is_removed():
    view = {VIEW: {"model_id": "0"}, "text/plain": "VBox(children=())"}
    stream = [new_output("stream", name="stdout", text=text) for text in ("a\n", "b\n")]
    notebook = cell_with(
        *stream, new_output("display_data", data=view), execution={"iopub.status.idle": "2026"}, papermill={}
    )
    notebook.metadata.update(papermill={}, widgets={}, language_info={"name": "python", "version": "3.11.7"})
    tidied = tidy(notebook)
    cell = tidied.cells[0]
    assert [dict(o.get("data", {})) or o.text for o in cell.outputs] == [
        "a\nb\n",
        {"text/plain": WIDGET_NOTE},
    ]
    assert cell.id == "a" and not cell.metadata
    assert tidied.metadata == {"language_info": {"name": "python"}}


def test_whichever_stream_came_first_what_is_stored_is_the_same():
    pieces = [new_output("stream", name=name, text=f"{name}\n") for name in ("stderr", "stdout", "stderr")]
    for outputs in (pieces, pieces[1:] + pieces[:1]):
        kept = tidy(cell_with(*outputs)).cells[0].outputs
        assert [(one.name, one.text) for one in kept] == [
            ("stdout", "stdout\n"),
            ("stderr", "stderr\nstderr\n"),
        ]


def test_a_progress_bar_that_has_ended_is_not_kept():
    bar = {VIEW: {"model_id": "0"}, "text/plain": "sizes:  33%|###3      | 1/3 [00:01<00:02]"}
    notebook = cell_with(
        new_output("display_data", data=bar), new_output("display_data", data={"text/plain": "5%|x"})
    )
    assert [dict(output.data) for output in tidy(notebook).cells[0].outputs] == [{"text/plain": "5%|x"}]


def test_a_kept_result_has_the_number_of_its_cell():
    old = cell_with(
        new_output("execute_result", data={"text/plain": "1"}, execution_count=7),
        tags=["nbval-ignore-output"],
    )
    new = cell_with(
        new_output("execute_result", data={"text/plain": "2"}, execution_count=3),
        tags=["nbval-ignore-output"],
    )
    new.cells[0].execution_count = 3
    keep_ignored(new, old)
    assert new.cells[0].outputs[0].data["text/plain"] == "1"
    assert new.cells[0].outputs[0].execution_count == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("loss 1.2391716241836548", "loss 1.2391798", True),
        ("loss 1.2391", "loss 1.2401", False),
        ("<x at 0x7f3a5c001d90>", "<x at 0x7f00aa001d90>", True),
        ("<Figure size 640x480 with 1 Axes>", "<Figure size 320x240 with 1 Axes>", True),
        (
            'File "/a/site-packages/torch/nn/x.py", line 12',
            'File "/b/c/site-packages/torch/nn/x.py", line 99',
            True,
        ),
        (
            'File "/a/site-packages/torch/nn/x.py", line 12',
            'File "/a/site-packages/torch/nn/y.py", line 12',
            False,
        ),
        (
            '<img alt="x" src="data:image/png;base64,AAAA">',
            '<img alt="x" src="data:image/png;base64,BB+/">',
            True,
        ),
        (
            '<img alt="x" src="data:image/png;base64,AAAA">',
            '<img alt="y" src="data:image/png;base64,AAAA">',
            False,
        ),
        ("<svg a>1\n2</svg>", "<svg b>3</svg>", True),
        ("cuda:0", "cuda:1", False),
    ],
)
def test_what_is_taken_for_the_same_output(one, other, same):
    pages = [cell_with(new_output("stream", name="stdout", text=text)) for text in (one, other)]
    assert (differences(*pages) == []) is same


def test_the_rules_are_those_that_nbval_reads():
    from nbval.plugin import get_sanitize_patterns

    from tools.notebooks.nbfiles import SANITIZE

    ours = [(rule.pattern, replacement) for rule, replacement in sanitize_rules()]
    assert ours == get_sanitize_patterns(SANITIZE.read_text()) and len(ours) >= 8
    assert sanitize_rules("written") + sanitize_rules("compared") == sanitize_rules()


def test_a_hidden_answer_stands_behind_an_empty_output_that_nothing_compares():
    stream = new_output("stream", name="stdout", text="42\n")
    shown = cell_with(stream)
    hidden = tidy(cell_with(stream, jupyter={"outputs_hidden": True}, collapsed=True))
    assert [output.output_type for output in hidden.cells[0].outputs] == ["display_data", "stream"]
    assert hidden.cells[0].outputs[0].data == {}
    assert hidden.cells[0].metadata == {"jupyter": {"outputs_hidden": True}, "collapsed": True}
    assert differences(shown, hidden) == []
    assert tidy(hidden) == hidden
    hidden.cells[0].metadata.clear()
    assert tidy(hidden).cells[0].outputs == [stream]


def test_nbval_takes_an_answer_behind_a_curtain_for_the_same(tmp_path):
    cell = tidy(cell_with(new_output("stream", name="stdout", text="42\n"), jupyter={"outputs_hidden": True}))
    cell.cells[0].update(source="print(6 * 7)", execution_count=1)
    write(tmp_path / "hidden.ipynb", cell)
    assert run_notebooks.main([str(tmp_path / "hidden.ipynb")]) == 0
    cell.cells[0].source = "print(6 * 8)"
    write(tmp_path / "hidden.ipynb", cell)
    assert run_notebooks.main([str(tmp_path / "hidden.ipynb")]) == 1


def picture_notebook(*, module: str = "anywidget", extra: bool = False) -> NotebookNode:
    """Return a notebook as a kernel leaves it: a picture's output, its model and its layout under random ids."""
    view = {VIEW: {"model_id": "1f"}, "text/html": "<img>", "text/plain": "a picture"}
    notebook = cell_with(new_output("display_data", data=view))
    state = {
        "1f": {"model_module": module, "state": {"step": 0, "layout": "IPY_MODEL_2e"}},
        "2e": {"model_module": "@jupyter-widgets/base", "state": {}},
    }
    if extra:
        state["3d"] = {"model_module": "@jupyter-widgets/controls", "state": {}}
    notebook.metadata["widgets"] = {STATE: {"state": state, "version_major": 2, "version_minor": 0}}
    return notebook


def test_a_picture_keeps_its_state_under_ids_that_stay_and_no_other_widget_does():
    one, again = tidy(picture_notebook(extra=True)), tidy(tidy(picture_notebook()))
    assert one == again and strays(one) == []
    view = one.cells[0].outputs[0].data[VIEW]
    state = one.metadata.widgets[STATE]["state"]
    layout = state[view["model_id"]]["state"]["layout"].removeprefix("IPY_MODEL_")
    assert set(state) == {view["model_id"], layout} and view["model_id"] != "1f"


def test_two_pictures_of_a_cell_have_two_ids():
    notebook = picture_notebook()
    notebook.cells[0].outputs += picture_notebook().cells[0].outputs
    tidied = tidy(notebook)
    first, second = (output.data[VIEW]["model_id"] for output in tidied.cells[0].outputs)
    assert first != second


def test_a_view_alone_makes_no_difference():
    assert differences(tidy(picture_notebook()), tidy(cell_with(*picture_notebook().cells[0].outputs))) == []


def test_a_picture_without_its_state_and_a_widget_without_a_picture_are_strays():
    lost = tidy(picture_notebook())
    del lost.metadata["widgets"]
    assert len(strays(lost)) == 1
    assert strays(picture_notebook(extra=True)) != []
    assert tidy(picture_notebook(module="@jupyter-widgets/controls")).metadata.get("widgets") is None
