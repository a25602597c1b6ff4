"""The form in which a run notebook is stored, and what nbval would compare of it."""

import copy
import itertools
import re
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_output

from tools.notebooks.alive import VIEW, drawn_alike, is_picture, keep_data, keep_pictures
from tools.notebooks.nbfiles import IGNORED, ROOT, is_code, sanitize_rules, tags

WIDGET_NOTE = "(Run this cell: what appears here needs a running kernel.)"
REPR = re.compile(r"\w+\(")  # what a widget prints unless it brings words of its own
UNCOMPARED = ("image/png", "image/jpeg", VIEW)
# What tools leave in cells they ran.
STAMPS = ("papermill", "execution", "ExecuteTime", "scrolled", "trusted")


def without_paths(text: str) -> str:
    """Return the text without any path of this machine."""
    for rule, replacement in sanitize_rules("written"):
        text = rule.sub(replacement, text)
    places = {str(ROOT): "course", sys.prefix: "venv", tempfile.gettempdir(): "tmp", str(Path.home()): "~"}
    for place in sorted(places, key=len, reverse=True):
        if len(place) > 1:
            text = re.sub(re.escape(place) + r"(?![\w.-])", places[place], text)
    return text


def is_bar(output: NotebookNode) -> bool:
    """Say whether this output is the widget of a progress bar, which shows nothing any more once it has ended."""
    data = output.get("data", {})
    return VIEW in data and "%|" in data.get("text/plain", "")


def is_fleeting(output: NotebookNode) -> bool:
    """Say whether this output is nothing but a widget that needs its kernel, such as the buttons below a check's reply."""
    return set(output.get("data", {})) == {VIEW}


def tidy_output(output: NotebookNode) -> NotebookNode:
    """Return one output without paths, without the random id of a widget, and without transient metadata."""
    output = copy.deepcopy(output)
    output.pop("transient", None)
    if "text" in output:
        output.text = without_paths(output.text)
    for kind, value in list(output.get("data", {}).items()):
        if kind == VIEW and not is_picture(output):  # its model is gone when the notebook is opened again
            said = str(output.data.get("text/plain", ""))
            output.data = NotebookNode(
                {"text/plain": WIDGET_NOTE if REPR.match(said) else said or WIDGET_NOTE}
            )
            break
        elif kind.startswith("text/") and isinstance(value, str):
            output.data[kind] = without_paths(value)
    if "traceback" in output:
        output.traceback = [without_paths(line) for line in output.traceback]
    return output


def merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return the outputs with neighbouring pieces of stdout in one, then those of stderr: cuts and order depend on timing."""
    joined: list[NotebookNode] = []
    for is_stream, group in itertools.groupby(outputs, lambda output: output.output_type == "stream"):
        if not is_stream:
            joined += group
            continue
        pieces = list(group)
        for name in ("stdout", "stderr"):
            if text := "".join(piece.text for piece in pieces if piece.name == name):
                joined.append(new_output("stream", name=name, text=text))
    return joined


def is_hidden(cell: NotebookNode) -> bool:
    """Say whether the cell's output is collapsed when the notebook is opened; running the cell opens it."""
    return bool(cell.metadata.get("jupyter", {}).get("outputs_hidden"))


def is_curtain(output: NotebookNode) -> bool:
    """Say whether this output is the empty one that stands before a hidden answer."""
    return output.output_type == "display_data" and not output.data


def curtained(cell: NotebookNode) -> list[NotebookNode]:
    """Return the outputs of a cell; an empty one comes first where they are hidden, and nowhere else.

    JupyterLab shows the first line of a collapsed cell's first output, which would give the answer away.
    """
    outputs = [output for output in cell.outputs if not is_curtain(output)]
    return [new_output("display_data"), *outputs] if is_hidden(cell) and outputs else outputs


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Return the notebook without what a run leaves behind besides its outputs; the ids of its cells stay."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("papermill", None)
    keep_pictures(notebook)
    notebook.metadata["language_info"] = NotebookNode(name="python")
    for cell in notebook.cells:
        for stamp in STAMPS:
            cell.metadata.pop(stamp, None)
        if cell.cell_type == "code":
            kept = [output for output in cell.outputs if not (is_bar(output) or is_fleeting(output))]
            cell.outputs = merged([tidy_output(output) for output in kept])
            cell.outputs = curtained(cell)
    return notebook


def keep_ignored(new: NotebookNode, old: NotebookNode, fresh: Collection[str] = ()) -> None:
    """Put the old outputs of ignored cells back, but for those with the ids `fresh`: they differ in every run and say the same.

    Not those of a bet, which no run changes; nor a picture whose data have other names now.
    """
    before = {cell.id: cell for cell in old.cells}
    for cell in new.cells:
        stored = before[cell.id]
        if cell.cell_type != "code" or IGNORED not in tags(cell) or "guess" in tags(cell):
            continue
        if cell.id not in fresh and stored.outputs and drawn_alike(new, old, stored):
            cell.outputs = stored.outputs
            keep_data(new, old, stored)
    # An execute_result repeats the number of its cell.
    for cell in new.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count


def compared(cell: NotebookNode) -> list[tuple[str, str]]:
    """Return what nbval compares of a cell's outputs: kind and text, without pictures and tracebacks."""
    found = []
    for output in cell.outputs:
        found += [(output.name, output.text)] if output.output_type == "stream" else []
        found += [(key, output[key]) for key in ("ename", "evalue") if key in output]
        data = output.get("data", {}).items()
        found += [(kind, str(value)) for kind, value in data if kind not in UNCOMPARED]
    for rule, replacement in sanitize_rules():
        found = [(kind, rule.sub(replacement, text)) for kind, text in found]
    return sorted(found, key=lambda pair: pair[0])


def differences(old: NotebookNode, new: NotebookNode) -> list[str]:
    """Return the ids of the cells whose outputs differ; cells tagged nbval-ignore-output are left out."""
    pairs = zip(old.cells, new.cells, strict=True)
    return [a.id for a, b in pairs if is_code(a) and IGNORED not in tags(a) and compared(a) != compared(b)]
