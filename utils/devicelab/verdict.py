"""A run judged: on what a script trained, what it copied and waited for, and which device error stopped it."""

import re
from dataclasses import dataclass
from typing import Literal

from .explain.reading import read
from .explain.wordings import MISPLACED
from .source import Line, own_lines
from .trace import Trace
from .trace.words import NO_STEP, at, label, summary

Word = Literal["accelerator", "cpu", "mixed", "mismatch", "no-training"]
WORDS: tuple[Word, ...] = ("accelerator", "cpu", "mixed", "mismatch", "no-training")
NO_LEARNING = "no-learning"  # beside one of them: what an optimizer held was never reached


def is_mismatch(message: str) -> bool:
    """Say whether a message is PyTorch's about tensors on unlike devices, or on one where another is needed."""
    reading = read(message)
    return reading is not None and reading.is_misplaced


@dataclass(frozen=True)
class Verdict:
    """What became of a script: one word for machines, sentences for people, and the trace behind them.

    `error` is what ended the script, at `line`; `explanation` says which tensor stayed behind, where that could be found;
    `vain` says whether all optimizers, or some, changed nothing, and is empty where each did.
    """

    word: Word
    trace: Trace
    error: str = ""
    line: Line | None = None
    explanation: str = ""
    notes: tuple[str, ...] = ()
    vain: str = ""

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        if self.word == "mismatch":
            before = f" Until then: {self.trace.verdict()}" if self.trace.training else ""
            return f"Tensors on unlike devices met{at(self.line)}.{before}"
        said = self.trace.verdict()
        return f"{self.vain}. {said.replace(NO_STEP, '')}" if self.vain else said

    @property
    def first_error(self) -> str:
        """The first line of what ended the script."""
        return first_line(self.error)

    def __str__(self) -> str:
        lines = [f"{self.sentence} {label(self.trace)}", *summary(self.trace, "--json FILE")[1:]]
        if self.error and not self.explanation:
            lines.append(f"  the script ended with {self.first_error}")
        lines += [f"  {text}" for text in self.explanation.splitlines()]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON: the word under "verdict", the sentence, and the whole trace."""
        data = self.trace.to_dict()
        data.update(verdict=self.word, sentence=self.sentence, notes=[*self.trace.notes, *self.notes])
        data["learned"] = not self.vain if self.trace.steps else None
        data["error"] = {"message": self.error, "line": str(self.line or "")} if self.error else None
        return data | {"explanation": self.explanation or None}


def judge(
    trace: Trace, error: BaseException | None = None, notes: tuple[str, ...] = (), vain: str = ""
) -> Verdict:
    """Return the verdict on a run that `trace` watched, and that `error` ended, if anything did."""
    line, said, explanation, misplaced = None, "", "", False
    if error is not None:
        line, said = line_of(error), f"{type(error).__name__}: {text_of(error)}"
        explanation, misplaced, own = explain(error)
        line = own or line
    if misplaced:
        return Verdict("mismatch", trace, said, line, explanation, notes, vain)
    caught = next(((text, where) for text, where in trace.faults if is_mismatch(text)), None)
    if caught and not trace.training:
        message = f"the script caught an error at {caught[1]}: {first_line(caught[0])}"
        return Verdict("mismatch", trace, said, caught[1], explanation, (*notes, message), vain)
    return Verdict(_word(trace), trace, said, line, explanation, notes, vain)


def text_of(error: BaseException) -> str:
    """Return an error's message; of one that cannot be printed, that it cannot."""
    try:
        return str(error)
    except Exception as own:
        return f"<its message cannot be printed: {type(own).__name__}>"


def first_line(message: str) -> str:
    """Return the first line of a message that says something; some begin with an empty one, or with one that is drawn."""
    lines = (line.strip() for line in message.splitlines())
    said = [line for line in lines if re.search(r"\w", line)]
    return " ".join(said[:2]) if said and said[0].endswith(":") else said[0] if said else ""


def _word(trace: Trace) -> Word:
    on_cpu = [device.startswith("cpu") for device in trace.training]
    if not on_cpu:
        return "no-training"
    return "cpu" if all(on_cpu) else "mixed" if any(on_cpu) else "accelerator"


def line_of(error: BaseException) -> Line | None:
    """Return the user's line in which an error arose: the innermost frame of their own code."""
    return next(reversed(own_lines(error)), None)


def explain(error: BaseException) -> tuple[str, bool, Line | None]:
    """Return what devicelab.explain says of an error, whether it is a mismatch, and its line if it is another error's.

    The words are empty where it has nothing to say.
    """
    from .explain import explain as in_words

    said = in_words(error)
    is_another = said.earlier or isinstance(error, BaseExceptionGroup)
    below = is_another and said.kind in MISPLACED and said.line is not None
    line = Line(said.file or "", said.line or 0, said.code) if below else None
    return (str(said) if said.helps or said.earlier else ""), said.kind in MISPLACED, line
