"""The pictures of a stored notebook: alive without a kernel, because their state lies in its metadata.

A picture's output has a widget's view, the still and the text. JupyterLab shows the view in a notebook that it trusts; everybody
else shows the still. Other widgets need their kernel, and are not kept.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

from nbformat import NotebookNode

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
PICTURES = "anywidget"  # the module of their models


def is_picture(output: NotebookNode) -> bool:
    """Say whether an output is a picture that moves: a widget that something else can stand for."""
    data = output.get("data", {})
    return VIEW in data and "text/html" in data


def models(notebook: NotebookNode) -> dict[str, Any]:
    """Return the state of the notebook's widgets, by their ids."""
    return notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})


def views(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Yield each picture's view with the id that it is stored under: always the same for one cell's first, second, ..."""
    for cell in notebook.cells:
        pictures = [output for output in cell.get("outputs", []) if is_picture(output)]
        for number, output in enumerate(pictures):
            yield hashlib.md5(f"{cell.id} {number}".encode()).hexdigest(), output.data[VIEW]


def keep_pictures(notebook: NotebookNode) -> None:
    """Keep the state of the pictures alone, under ids that stay; where none is there the notebook has no widgets."""
    before = models(notebook)
    kept: dict[str, Any] = {}
    for name, view in views(notebook):
        model = before.get(view["model_id"], {})
        if model.get("model_module") == PICTURES:
            layout = before.get(model["state"].get("layout", "").removeprefix("IPY_MODEL_"))
            kept[name] = NotebookNode(
                model | {"state": model["state"] | {"layout": f"IPY_MODEL_{name[::-1]}"}}
            )
            kept[name[::-1]] = layout
        view["model_id"] = name
    notebook.metadata.pop("widgets", None)
    if kept:
        notebook.metadata["widgets"] = {STATE: {"state": kept, "version_major": 2, "version_minor": 0}}


def strays(notebook: NotebookNode) -> list[str]:
    """Return the ids of widgets whose state is stored although no picture shows them, and of pictures without their state."""
    shown = {view["model_id"] for _, view in views(notebook)}
    stored = {name for name, model in models(notebook).items() if model["model_module"] == PICTURES}
    layouts = {name[::-1] for name in stored}
    return sorted((shown ^ stored) | (set(models(notebook)) - stored - layouts))
