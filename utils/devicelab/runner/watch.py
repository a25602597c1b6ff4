"""One process that is watched, from its first line to its end, however it ends; a forked child is watched anew."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import torch.distributed as dist

from devicelab.errors import InputError
from devicelab.trace import Trace, trace
from devicelab.verdict import Verdict, explain, first_line, judge, text_of

from .ends import Ends
from .learning import Learning
from .said import Progress
from .started import Started

Tell = Callable[["Watch", Verdict, int | None], object]
ROOM = 1_000  # calls inside each other that judging may need: a script can have lowered the limit
REPLACED = "it put another program in its place (os.exec...): what that does is not watched"


@dataclass
class Rank:
    """Where a process stands among others, as the launcher's variables or torch.distributed say it."""

    rank: int | None = None
    local_rank: int | None = None
    world_size: int | None = None

    def look(self) -> None:
        """Take what can be known now; the process group may be gone later."""
        for name in ("rank", "local_rank", "world_size"):
            given = os.environ.get(name.upper(), "")
            if getattr(self, name) is None and given.isdigit():
                setattr(self, name, int(given))
        if self.rank is None and dist.is_available() and dist.is_initialized():
            self.rank, self.world_size = dist.get_rank(), dist.get_world_size()


class Watch:
    """Watches this process from `begin` to `end`, and hands the verdict on once."""

    def __init__(self, tell: Tell, loud: bool = False) -> None:
        self._tell, self._loud, self._progress = tell, loud, Progress()
        self.pid = os.getpid()
        self.error: BaseException | None = None  # what ended it, where that is known before the end
        self.rank = Rank()
        self.started, self._ends = Started(lambda: self._tracing.on_thread()), Ends(self._last_words)
        self._is_over = self._is_replaced = False

    def begin(self) -> None:
        """Watch operators, steps, processes and ends from here on."""
        self.rank.look()
        self._tracing = trace(on_step=self._step_ends, early=True)
        self.trace: Trace = self._tracing.__enter__()
        self._learning = Learning()
        self._ends.watch(in_rank=self.rank.rank is not None)  # first: its thread is none of the script's
        self.started.watch()

    def leave(self) -> bool:
        """Watch no more; False where that was so already."""
        if self._is_over:
            return False
        self._is_over = True
        for end in (self._ends.leave, self.started.leave, self._learning.end):
            end()
        with suppress(
            InputError
        ):  # a signal came in the middle of an operator: the trace can be read all the same
            self._tracing.__exit__(None, None, None)
        return True

    def end(self, error: BaseException | None = None, code: int | None = None) -> None:
        """Judge, and tell the verdict; only the first call does."""
        sys.setrecursionlimit(max(sys.getrecursionlimit(), ROOM))
        self.rank.look()
        with self._ends.telling():
            if self.leave():
                self._tell(
                    self, judge(self.trace, self._cause(error), self._notes(), self._learning.vain), code
                )

    def _cause(self, error: BaseException | None) -> BaseException | None:
        """Return the error that ended the process; else that which ended a thread, where there is something to say of it."""
        ended, thread = cause(error or self.error), self.started.error
        return thread if ended is None and thread is not None and explain(thread)[0] else ended

    def _notes(self) -> tuple[str, ...]:
        notes = self._learning.notes
        if thread := self.started.error:
            said = first_line(f"{type(thread).__name__}: {text_of(thread)}")
            notes += (f"a thread ended with {said}; the script went on without it",)
        if self.trace.card != "cpu" and self.trace.training == ("cpu",):
            notes += self._learning.advice.lines(self.trace.card)
        if self._is_replaced:
            notes += (REPLACED,)
        if self._loud and self.trace.card == "cpu":
            notes += ("there is no GPU here; --simulate-gpu shows how the script would fare on one",)
        return notes

    def _step_ends(self) -> None:
        self.rank.look()
        if self._loud:
            self._progress()

    def _last_words(self, code: int | None) -> None:
        if os.getpid() == self.pid:
            self._is_replaced = code is None
            self.end(None, code)


def cause(error: BaseException | None) -> BaseException | None:
    """Return the error that ended a process: that which it handled as it gave up by sys.exit(1)."""
    if isinstance(error, SystemExit) and error.code not in (None, 0):
        error = error.__context__
    return None if isinstance(error, (SystemExit, KeyboardInterrupt)) else error


current: Watch | None = None  # of this process


def watched(watch: Watch) -> Watch:
    """Begin a watch, and have it be that of this process."""
    global current
    watch.begin()
    current = watch
    return watch


def forget(outer: Watch | None = None) -> None:
    """Watch this process no more, nor its forks; `outer` is the watch before, of a process that is itself watched."""
    global current
    if current is not None:
        current.leave()
    current = outer
