"""A guess before a cell is run: noted, never marked, answered when the learner has seen the outcome."""

from collections.abc import Sequence
from functools import cache
from importlib import resources

import yaml

from devicelab import html
from devicelab.errors import InputError, listed

NOT_SURE = "not sure"
PROMPT = "Your guess first: choose with the mouse, or with Tab and the space bar. Then run the next cell."


def guess(question: str, options: Sequence[str]) -> None:
    """Ask `question` with its `options` (and "not sure"); the reply waits, folded, for the outcome.

    Where widgets cannot be shown, the question and the options are shown as text.
    """
    if isinstance(options, str) or len(options) < 2:
        raise InputError(f"guess needs a list of at least two options, but it got {options!r}.")
    if len(set(options)) < len(options) or NOT_SURE in options:
        raise InputError(
            f"Each option must differ, and {NOT_SURE!r} is added by itself; it got {listed(options)}."
        )
    choices = [*options, NOT_SURE]
    if not _in_notebook():
        print(_plain(question, choices))
        return
    from IPython.display import HTML, display

    display(HTML(f"<p><b>{html.escape(question)}</b><br>{PROMPT}</p>"))
    try:
        from devicelab import widgets
    except ImportError:
        print(_plain(question, choices))
    else:
        display(widgets.choice(question, choices, lambda choice: reply(question, choice)))


def reply(question: str, choice: str) -> str:
    """Return what is said to a choice, as HTML: it was noted, and a folded sentence for after the run."""
    noted = f"<p>Noted: {html.escape(choice)}. Now run the next cell.</p>"
    answers = replies().get(question, {})
    if choice == NOT_SURE:
        words = answers.get(NOT_SURE, "A good place to start: the next cell shows it.")
    else:
        words = answers.get(choice, "Compare the output with your guess.")
    return noted + html.details("You have run it? Open this.", words)


@cache
def replies() -> dict[str, dict[str, str]]:
    """Return the reply to each option of each question of the lessons."""
    return yaml.safe_load(resources.files(__package__).joinpath("guesses.yaml").read_text("utf-8"))


def _plain(question: str, choices: Sequence[str]) -> str:
    return "\n".join([question, *(f"  - {choice}" for choice in choices)])


def _in_notebook() -> bool:
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")
