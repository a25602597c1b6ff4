"""Hint and solution as buttons below a check's reply, in a notebook; `q1.hint()` and `q1.solution()` work everywhere."""

from typing import Any, Protocol

from devicelab.picture import in_notebook

from .outcome import Outcome


class Helping(Protocol):
    """A question that can help."""

    passed: bool

    def hint(self) -> Outcome:
        """Return the next hint."""

    def solution(self) -> Outcome:
        """Return the solution, or what to do before it."""


_checked: list[Helping] = []  # in the cell that is running
_listening: list[Any] = []  # the shells that tell when it has ended


def offer(question: Helping) -> None:
    """Show the buttons once the running cell has shown its result; nothing outside a notebook."""
    if not in_notebook():
        return
    from IPython.core.getipython import get_ipython

    shell: Any = get_ipython()
    if shell not in _listening:
        _listening.append(shell)
        shell.events.register("post_run_cell", after_cell)
    _checked.append(question)


def after_cell(_: Any = None) -> None:
    """Show the buttons of the question that was checked last; nothing where no widget can be drawn."""
    if not _checked:
        return
    question = _checked[-1]
    _checked.clear()
    try:
        from devicelab import widgets
    except ImportError:
        return
    from IPython.display import display

    replies = {} if question.passed else {"Hint": lambda: _said(question.hint())}
    replies["Solution"] = lambda: _said(question.solution())
    display(widgets.view(widgets.buttons(replies)), raw=True)


def _said(outcome: Outcome) -> str:
    return f'<div role="status">{outcome._repr_html_()}</div>'
