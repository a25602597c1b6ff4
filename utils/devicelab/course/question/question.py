"""A question of an exercise: three outcomes, hints step by step, a solution in the end."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn

from devicelab.course.guard import SwitchedOff, on_a_gpu, unchanged
from devicelab.expect import trimmed
from devicelab.explain import explain

from . import answers, cells, help_buttons, progress
from .outcome import CALLED, NotAttempted, NotYet, Outcome

Kind = Literal["predict", "write", "mend", "find", "faster", "read", "script"]  # script: a file is mended
_FOUND = "This is still the {thing} as it was found. Change it, run the cell, then run this check again."
_START = {
    "predict": "Replace each `...` by 'cpu' or 'cuda'. Decide before you run the lines anywhere.",
    "write": "Replace the `...` in {name} by your code, run the cell, then run this check again.",
    "mend": _FOUND,
    "find": _FOUND,
    "faster": _FOUND,
}
# What whoever adds a question is told.
_NO_ANSWER = (
    "answer yet: write it into its notebook in solutions/, then run python -m tools.notebooks.exercises"
)
_NO_WORDS = "words yet: write its praise and its hints into utils/devicelab/course/question/questions.yaml"
TRIES = 3  # after so many tries the solution is shown without asking twice
_CELL = re.compile(r" of cell \[\d+\]")  # a number that changes with every run
_EXPLAINED = ("where", "called", "met", "why")  # the parts of an explanation that do not give the answer away


@dataclass(eq=False)
class Question:
    """One question; `judge` takes the learner's answer and raises NotYet or NotAttempted unless it is right.

    `praise` says what the right answer shows, `hints` go from a question to the name of the API. `start_here` says what to
    do when the cell is untouched; each kind has words for it, and `thing` is what they call the code that was given.
    `answer` is the reference answer, `stub` the code that learners are given: what still reads so was not attempted.
    """

    judge: Callable[..., None]
    start_here: str = ""
    praise: str = ""
    hints: Sequence[str] = ()
    answer: str = ""
    kind: Kind = "write"
    thing: str = "function"
    stub: str = ""
    key: str = ""
    tries: int = field(default=0, init=False)
    passed: bool = field(default=False, init=False)
    _hints_given: int = field(default=0, init=False)
    _asked: bool = field(default=False, init=False)

    def check(self, *answer: object) -> Outcome:
        """Judge the answer on the present device; nothing of the learner's is changed. Buttons for help stand below the reply."""
        outcome = self._checked(answer)
        help_buttons.offer(self)
        return outcome

    def _checked(self, answer: tuple[object, ...]) -> Outcome:
        if self._untouched(answer):
            return Outcome("not attempted", self.start_here)
        stale = cells.stale(self.key, answer)
        if stale:
            return Outcome("not yet", stale)
        outcome = self._outcome(answer)
        if outcome.state == "not attempted":
            return outcome
        note = cells.note_checked(self.key, answer)
        if outcome.state == "not yet":
            self.tries += 1
        else:
            self.passed = True
            note = progress.note_passed(self.key) if self.key else ""
        return replace(outcome, notes=(*outcome.notes, note)) if note else outcome

    def _untouched(self, answer: tuple[object, ...]) -> bool:
        if not answer or any(part is ... for part in answer):
            return True
        return bool(self.stub) and all(cells.reads_like(part, self.stub) for part in answer)

    def _outcome(self, answer: tuple[object, ...]) -> Outcome:
        notes: list[str] = []
        try:
            with on_a_gpu(notes), unchanged(*answer):
                self.judge(*answer)
        except NotAttempted:
            return Outcome("not attempted", self.start_here)
        except (NotYet, SwitchedOff) as seen:
            return Outcome("not yet", str(seen), tuple(notes))
        except KeyboardInterrupt as stop:
            _interrupted(stop)
        except (Exception, SystemExit) as error:  # the learner's own, shown as theirs
            return Outcome("not yet", _own_error(error), tuple(notes))
        return Outcome("passed", self.praise, tuple(notes))

    def hint(self) -> Outcome:
        """Return the next hint; after the last one, the last again."""
        number = min(self._hints_given, len(self.hints) - 1)
        self._hints_given += 1
        return Outcome("hint", f"({number + 1} of {len(self.hints)}) {self.hints[number]}")

    def solution(self) -> Outcome:
        """Return the reference answer after a pass or three tries, or when asked a second time."""
        if self.passed or self.tries >= TRIES or self._asked:
            return Outcome("solution", f"One way:\n{self.answer}")
        self._asked = True
        return Outcome(
            "solution", "You have tries left, and hint() may be enough. Ask once more and it is shown."
        )


def exercise(number: int, *judges: Callable[..., None]) -> tuple[Question, ...]:
    """Return the questions of one exercise, "01.q1", "01.q2", ..., each with its judge and the texts of that name."""
    cells.listen()
    return tuple(_question(f"{number:02}.q{place}", judge) for place, judge in enumerate(judges, start=1))


def _question(key: str, judge: Callable[..., None]) -> Question:
    for found, what in ((answers.texts(), _NO_ANSWER), (answers.words(), _NO_WORDS)):
        if key not in found:
            raise LookupError(f"Question {key} has no {what}.")
    code = answers.texts()[key]
    question = Question(judge, key=key, answer=code["answer"], stub=code["given"], **answers.words()[key])
    question.start_here = question.start_here or _start_here(question)
    return question


def _start_here(question: Question) -> str:
    name = re.search(r"\b(?:def|class) (\w+)", question.answer)
    return _START[question.kind].format(name=name[1] if name else "the cell", thing=question.thing)


def _own_error(error: BaseException) -> str:
    text = f"Your code stopped with an error of its own:\n{trimmed(error)}"
    called = [note for note in getattr(error, "__notes__", ()) if note.startswith(CALLED)]
    text = "\n".join([text, *called])
    found = explain(error)
    if not found.helps:
        return text
    parts = [f"  {label}: {_CELL.sub('', words)}" for label, words in found.parts if label in _EXPLAINED]
    return "\n".join([text, "In other words:", f"  {found.what}", *parts])


class Stopped(KeyboardInterrupt):
    """An interrupt of a check, shown as one sentence; it still stops Run All."""

    def _render_traceback_(self) -> list[str]:  # asked by IPython
        return [str(self)]


def _interrupted(stop: KeyboardInterrupt) -> NoReturn:
    places = [line for line in trimmed(stop).splitlines() if line.lstrip().startswith("your code, ")]
    where = f" in {places[-1].strip().removeprefix('your code, ')}" if places else ""
    raise Stopped(
        f"You stopped the check while your code was still running{where}. Nothing was judged, and no try was counted. "
        "Is there a loop that never ends?"
    ) from None
