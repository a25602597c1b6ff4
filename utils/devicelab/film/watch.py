"""The watch over a running block: a step for each statement that ended, with what was heard and what is held then."""

import inspect
import sys
import threading
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from devicelab.reach import forget_copies
from devicelab.source import DEVICELAB, PYTHON, whose

from .hears import Heard, Hears, Refusal
from .lines import Block, block_at, function_at
from .look import Holding, Look, variables
from .memory import Memories

MOST_STEPS = 200
_QUIET = (StopIteration, StopAsyncIteration, GeneratorExit)  # how loops and generators end: no error


@dataclass
class Step:
    """One statement that ended, or was refused: its line in the block, and how things are after it.

    `function` and `source` tell of a function's own line, where the statement is in one that the block called. `is_header`
    says that it is a loop's or a branch's first line.
    """

    line: int
    source: str = ""
    function: str = ""
    is_header: bool = False
    heard: Heard = field(default_factory=Heard)
    held: dict[int, Holding] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    alive: frozenset[int] = frozenset()
    refusal: Refusal | None = None


class Watch:
    """Follows the frame that begins it, and the functions of the same file that it calls, `depth` deep."""

    def __init__(self, depth: int, places: dict[str, str]) -> None:
        self.places = places  # the devices that are there, with their names
        self.memories = Memories()
        self.steps: list[Step] = []
        self.cut = ""  # why the film ended before the block
        self.truncated = self.others = False
        self._depth, self._hears = depth, Hears(self.memories)
        self._frames: list[FrameType] = []
        self._owed: dict[int, Heard] = {}  # what a followed line did before a generator that it asks goes on
        self._pending: dict[
            int, int | None
        ] = {}  # by the frame's place among those that are followed: its statement
        self._blocks: dict[CodeType, Block | None] = {}
        self._told: tuple[int, str] | None = (
            None  # of an error that was noted; the error itself would keep tensors alive
        )

    def begin(self, frame: FrameType) -> None:
        """Take the first picture, and follow this frame from its next line on."""
        self.frame = frame
        self.block = block_at(frame)
        self._with, self._file = frame.f_lineno, frame.f_code.co_filename
        self._blocks[frame.f_code] = self.block
        self._frames, self._pending = [frame], {0: None}
        self._threads = threading.active_count()
        self._hears.__enter__()
        self._take(Step(0))
        self._before: tuple[Any, Any] | None = sys.gettrace(), frame.f_trace
        frame.f_trace = self._quietly
        sys.settrace(self._called)

    def end(self, error: BaseException | None) -> None:
        """Stop following; what was running has ended now, or was refused."""
        self._release()
        self._hears.__exit__(None, None, None)
        if isinstance(error, _QUIET):  # a generator that nobody asks any more ends where it stands
            error = None
        if error is None and self._pending.get(0) is not None:
            self._finish(0)
        elif error is not None:
            self._refuse(0, error)
        elif self.cut:
            self._take(Step(self.steps[-1].line))
        self._frames.clear()
        forget_copies(self.frame)

    def _release(self) -> None:
        if self._before is not None:
            sys.settrace(self._before[0])
            self.frame.f_trace = self._before[1]
            self._before = None

    # --- what Python tells ----------------------------------------------------------------------------------------

    def _called(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Follow a function of the block's own file that is not too deep; Python asks for each function that is called."""
        code = frame.f_code
        if code.co_filename != self._file or len(self._frames) > self._depth:
            return None
        if frame in self._frames:  # a coroutine goes on
            return self._quietly
        if code not in self._blocks:
            self._blocks[code] = function_at(code, frame.f_globals)
        if self._blocks[code] is None:
            return None
        if code.co_flags & inspect.CO_GENERATOR and frame.f_lineno != code.co_firstlineno:  # it goes on
            self._owed[len(self._frames) - 1] = self._hears.take(self._owed.get(len(self._frames) - 1))
        self._pending[len(self._frames)] = None
        self._frames.append(frame)
        return self._quietly

    def _quietly(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Hear of a line, an error or the end of a frame. What the film cannot look at ends it, never the block."""
        try:
            self._trace(frame, event, arg)
        except Exception as error:
            self._fail(error)
        if self.cut:
            self._release()
            return None
        return self._quietly

    def _fail(self, error: Exception) -> None:
        self.cut = (
            f"The film could not look on ({type(error).__name__}: {error}); the lines after that ran unseen."
        )

    def _trace(self, frame: FrameType, event: str, arg: Any) -> None:
        if frame not in self._frames:
            return
        place = self._frames.index(frame)
        if event == "line":
            block = self._blocks[frame.f_code]
            statement = block.first.get(frame.f_lineno) if block else self._unless_at_the_end(frame.f_lineno)
            if statement != self._pending[place]:
                self._finish(place)
                self._pending[place] = statement
        elif event == "exception" and not issubclass(arg[0], _QUIET):
            self._refuse(place, arg[1])
        elif event == "return" and place:
            self._finish(place)
            del self._frames[place:]

    def _unless_at_the_end(self, line: int) -> int | None:
        """Return a line of a block without source; where its end is, Python goes back to the line of the `with`."""
        return None if line == self._with else line

    # --- what is noted --------------------------------------------------------------------------------------------

    def _finish(self, place: int) -> None:
        statement = self._pending.get(place)
        self._pending[place] = None
        if statement is not None:
            self._take(self._step(place, statement), place)

    def _refuse(self, place: int, error: BaseException) -> None:
        """Note an error once, where it was raised; then it passes through the lines that called."""
        statement, self._pending[place] = self._pending.get(place), None
        told = id(error), _text(error)
        if told == self._told:
            return
        self._told = told
        step = self._step(place, statement or self.frame.f_lineno)
        heard, self._hears.refusal = self._hears.refusal, None
        said = Refusal(type(error).__name__, told[1])
        same = heard is not None and (heard.kind, heard.message) == (said.kind, said.message)
        step.refusal = heard if same else said
        self._take(step, place)

    def _step(self, place: int, statement: int) -> Step:
        line = self._pending.get(0) or statement
        frame = self._frames[place]
        block = self._blocks[frame.f_code]
        if block is None:
            return Step(line)
        name = frame.f_code.co_name if place else ""
        return Step(line if place else statement, block.source(statement), name, statement in block.headers)

    def _take(self, step: Step, place: int = 0) -> None:
        """Look at everything that the variables hold now."""
        self.others |= threading.active_count() > self._threads
        step.heard = self._hears.take(self._owed.pop(place, None))
        if step.is_header and not step.refusal and step.heard == Heard():
            return  # a loop began its next turn, or a branch was taken: nothing to see
        self._hears.is_looking = True
        try:
            look = Look(self.memories, variables([(frame, self._names(frame)) for frame in self._frames]))
            step.held, step.owners = look.held, look.owners
            self.truncated |= look.truncated
        except Exception as error:
            self._fail(error)
        finally:
            self._hears.is_looking = False
        step.alive = frozenset(n for n in range(len(self.memories.all)) if self.memories.is_alive(n))
        self.steps.append(step)
        if len(self.steps) > MOST_STEPS:
            self.cut = f"The film has {MOST_STEPS} steps; the lines after that ran unseen, and its last picture is of the end."

    def notes(self) -> list[str]:
        """Return what the film does not show."""
        said = {
            "The source of these lines is not at hand, so they are shown by number.": self.block is None,
            self.cut: bool(self.cut),
            "More is held here than a film looks at; the rest is not drawn.": self.truncated,
            "Other threads ran beside these lines; what they did is seen when a line here ends.": self.others,
        }
        return [text for text, holds in said.items() if holds]

    def _names(self, frame: FrameType) -> tuple[str, ...]:
        if frame is self.frame:
            code = frame.f_code
            return self.block.names if self.block else (*code.co_names, *code.co_varnames)
        return frame.f_code.co_varnames


def callers_frame() -> FrameType:
    """Return the frame whose `with` statement is being run: not one of devicelab's, nor of contextlib's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and whose(frame.f_code.co_filename) in (DEVICELAB, PYTHON):
        frame = frame.f_back
    return frame or sys._getframe(1)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an error of the learner's own that cannot say itself
        return ""
