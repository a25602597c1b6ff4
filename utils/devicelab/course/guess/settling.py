"""When a bet is settled: by the first cell that holds the code it names, runs to its end and comes after the question.

The reply then opens under that cell's result, once for each time that the question was asked. Where IPython runs no cells
(a script, a test) nothing is settled.
"""

import re
import sys
from dataclasses import dataclass
from typing import Any

from devicelab import html
from devicelab.course import kept
from devicelab.errors import InputError
from devicelab.picture import Shown

from .bet import Bet, Settled

bets: dict[str, Bet] = {}  # by question, in the order in which they were first asked
_BAR = "border-left:4px solid #767676;padding:0 0 0 12px;margin:8px 0"
_UNSEEN = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap"


@dataclass(frozen=True, repr=False)
class Reply(Shown):
    """What is said to a bet under the result that settles it: the bet itself, then a sentence each; empty ones are left out."""

    parts: tuple[str, ...]

    def __str__(self) -> str:
        head, own, *rest = (*self.parts, "")
        return "\n".join(filter(None, (f"{head} {own}".strip(), *rest)))

    def _repr_html_(self) -> str:
        head, own, *rest = (html.prose(words) for words in (*self.parts, ""))
        below = "".join(f"<p>{words}</p>" for words in rest if words)
        return f'<div style="{_BAR}"><p><b>{head}</b> {own}</p>{below}</div>'


def listen() -> None:
    """Hear of each cell that IPython runs, once."""
    shell = _shell()
    if shell is None or after_cell in [
        getattr(c, "__wrapped__", c) for c in shell.events.callbacks["post_run_cell"]
    ]:
        return
    shell.events.register("post_run_cell", after_cell)


def _shell() -> Any:
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def after_cell(result: Any = None) -> None:
    """Settle what the cell that just ran settles, and show the reply to each bet that was placed before."""
    source = getattr(getattr(result, "info", None), "raw_cell", None)
    asked = [bet for bet in bets.values() if bet.fresh]
    for bet in asked:
        bet.fresh = False
    if source is None or not result.success or _skipped():
        return
    for bet in bets.values():
        if bet not in asked and not bet.settled and settles(bet.until, source):
            _settle(bet)


def settles(until: str, source: str) -> bool:
    """Say whether a cell with this source settles what waits for the code `until`: whole words, whatever stands around."""
    return bool(until) and re.search(rf"(?<!\w){re.escape(until)}(?!\w)", source) is not None


def _skipped() -> bool:
    """Say whether the cell was skipped, or its rest, because DEVICELAB_GPU is off."""
    skipper = getattr(getattr(_shell(), "run_code", None), "__self__", None)
    return bool(getattr(skipper, "skipped", False))


def _settle(bet: Bet) -> None:
    from IPython.display import display

    try:
        bet.settle(_shell().user_ns)
    except InputError as error:  # whoever wrote the question named nothing that could settle it
        display(Reply((str(error),)))
        return
    if bet.value is not None:
        said = Reply(bet.reply())
        display(said)
        bet.say(settled_box(said))
    if bet.record is not None:
        _keep(bet.record)


def _keep(record: Settled) -> None:
    """Keep how a bet ended, for `share`; where that cannot be written, the lesson goes on without a word."""
    told = {"bet": record.bet, "outcome": record.outcome, "how": record.how}
    kept.change(lambda now: now.bets.update({record.question: told}))


def settled_box(said: Reply) -> str:
    """Return what the question's own box says then; a screen reader reads the reply aloud, which stands elsewhere."""
    # An alert is what readers announce when it is put in; this one lives in the widget, so that a saved copy is silent.
    spoken = f'<p role="alert" style="{_UNSEEN}">{html.prose(str(said))}</p>'
    return f"<p>Settled: the reply stands under the result.</p>{spoken}"
