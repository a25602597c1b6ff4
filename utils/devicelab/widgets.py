"""Widgets for notebooks; only what ipywidgets 7.7.1 (Colab's) and 8 have in common."""

from collections.abc import Callable, Sequence

import ipywidgets


def choice(label: str, options: Sequence[str], reply: Callable[[str], str]) -> ipywidgets.Widget:
    """Return radio buttons with nothing chosen yet; `reply` gives the HTML shown below once one is."""
    buttons = ipywidgets.RadioButtons(
        options=list(options), value=None, description="Your guess:", layout=ipywidgets.Layout(width="auto")
    )
    buttons.tooltip = label
    answer = ipywidgets.HTML()

    def chosen(change: dict) -> None:
        answer.value = reply(change["new"])

    buttons.observe(chosen, names="value")
    return ipywidgets.VBox([buttons, answer])
