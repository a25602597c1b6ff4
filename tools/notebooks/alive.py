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


def views_of(cell: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Yield the view of each picture of a cell with the id that it is stored under: always the same for its first, second, ..."""
    pictures = [output for output in cell.get("outputs", []) if is_picture(output)]
    for number, output in enumerate(pictures):
        yield hashlib.md5(f"{cell.id} {number}".encode()).hexdigest(), output.data[VIEW]


def views(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    """Yield all that `views_of` yields of the notebook's cells."""
    for cell in notebook.cells:
        yield from views_of(cell)


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


def shape(data: Any) -> Any:
    """Return what a module relies on in its data: the names and how they lie in each other, not the values."""
    if isinstance(data, dict):
        return frozenset((name, shape(value)) for name, value in data.items())
    return frozenset(map(shape, data)) if isinstance(data, list) else None


def drawn_alike(new: NotebookNode, old: NotebookNode, stored: NotebookNode) -> bool:
    """Say whether the modules of `new` can draw the data of the pictures of a cell that is `stored` in `old`."""
    now, before = models(new), models(old)
    names = [name for name, _ in views_of(stored)]
    return all(
        name in now
        and name in before
        and shape(now[name]["state"]["data"]) == shape(before[name]["state"]["data"])
        for name in names
    )


def keep_data(new: NotebookNode, old: NotebookNode, stored: NotebookNode) -> None:
    """Give the pictures of a cell that is `stored` in `old` their data of then: text, still and data are of one run."""
    for name, _ in views_of(stored):
        models(new)[name]["state"]["data"] = models(old)[name]["state"]["data"]


def strays(notebook: NotebookNode) -> list[str]:
    """Return the ids of widgets whose state is stored although no picture shows them, and of pictures without their state."""
    shown = {view["model_id"] for _, view in views(notebook)}
    stored = {name for name, model in models(notebook).items() if model["model_module"] == PICTURES}
    layouts = {name[::-1] for name in stored}
    return sorted((shown ^ stored) | (set(models(notebook)) - stored - layouts))
