"""Widgets for notebooks; only what ipywidgets 7.7.1 (Colab's) and 8 have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets

from devicelab import html


def choice(
    label: str, options: Sequence[str], before: str | None, reply: Callable[[str], str]
) -> ipywidgets.Widget:
    """Return radio buttons; `reply` gives the HTML shown below once one is chosen.

    `before` is what was chosen when the cell was run before; None: nothing yet.
    """
    buttons = ipywidgets.RadioButtons(
        options=list(options), value=None, description="Your guess:", layout=ipywidgets.Layout(width="auto")
    )
    buttons.tooltip = label
    answer = ipywidgets.HTML()

    def chosen(change: dict) -> None:
        answer.value = said(reply, change["new"])

    buttons.observe(chosen, names="value")
    buttons.value = before  # after observe, so that its reply is shown again
    return ipywidgets.VBox([buttons, answer])


def number(
    label: str, unit: str, before: str, not_sure: str, reply: Callable[[str], str]
) -> ipywidgets.Widget:
    """Return a box for a number of `unit` and a button for `not_sure`; `reply` gives the HTML shown below.

    Enter places the bet, so that the keyboard is enough. `before` is what was bet when the cell was run before.
    """
    wide = {"description_width": "initial"}
    box = ipywidgets.Text(
        value="",
        placeholder="a number",
        description=f"Your bet ({unit}):",
        continuous_update=False,  # only Enter, or leaving the box, counts
        style=wide,
        layout=ipywidgets.Layout(width="24em"),
    )
    button = ipywidgets.Button(description=not_sure)
    box.tooltip = button.tooltip = label
    answer = ipywidgets.HTML()

    def placed(text: str) -> None:
        if text.strip():
            answer.value = said(reply, text)

    box.observe(lambda change: placed(change["new"]), names="value")

    def unsure(_: object) -> None:
        box.value = ""  # so that the same number may be bet again
        placed(not_sure)

    button.on_click(unsure)
    if before == not_sure:
        placed(before)
    else:
        box.value = before
    return ipywidgets.VBox([ipywidgets.HBox([box, button]), answer])


def buttons(replies: Mapping[str, Callable[[], str]]) -> ipywidgets.Widget:
    """Return a button for each name; the HTML that its function gives is shown below them."""
    answer = ipywidgets.HTML()

    def button(name: str, reply: Callable[[], str]) -> ipywidgets.Button:
        made = ipywidgets.Button(description=name)
        made.on_click(lambda _: setattr(answer, "value", said(reply)))
        return made

    return ipywidgets.VBox([ipywidgets.HBox([button(*pair) for pair in replies.items()]), answer])


def said(reply: Callable[..., str], *asked: str) -> str:
    """Return a reply as HTML; an error of its own is said in its place, for one inside a callback is seen by nobody."""
    try:
        return reply(*asked)
    except Exception as error:
        return html.paragraphs(
            f"This could not be answered ({type(error).__name__}: {error}). Run the cell again."
        )


def view(widget: ipywidgets.Widget, plain: str = "") -> dict[str, Any]:
    """Return what a notebook's output holds of a widget; where none can be drawn, the plain text is shown, if there is any."""
    reference = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"application/vnd.jupyter.widget-view+json": reference, **({"text/plain": plain} if plain else {})}
