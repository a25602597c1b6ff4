"""A run judged: on what a script trained, what it copied and waited for, and which device error stopped it."""

import re
from dataclasses import dataclass
from typing import Literal

from .source import Line, own_lines
from .trace import Trace
from .trace.words import at, label, summary

Word = Literal["accelerator", "cpu", "mixed", "mismatch", "no-training"]
WORDS: tuple[Word, ...] = ("accelerator", "cpu", "mixed", "mismatch", "no-training")
# The openings of PyTorch's messages about unlike devices, from 1.x to 2.13 (docs/sources.md, "What errors and drivers say").
_MISMATCH = re.compile(
    r"[Ee]xpected all tensors to be on the same device"
    r"|Input type \(torch\.\S+\) and (weight|bias) type \(torch\.\S+\) should be the same"
    r"|(tensors? are not at the same device|should be on the same device|must be on the same device)"
    r"|to have the same device type, but got"
    r"|indices should be either on"
    r"|can't convert \S+ device type tensor to numpy"
    r"|attempting to assign a gradient with device type"
    r"|Expected object of (backend|device type)"
    r"|Expected a '\w+' device type for generator"
    r"|Trying to pass too many CPU scalars to non-CPU kernel"
    r"|argument should be a 1D CPU int64 tensor"
)


def is_mismatch(message: str) -> bool:
    """Say whether a message is PyTorch's about tensors on unlike devices, or on one where another is needed."""
    return bool(_MISMATCH.search(message))


@dataclass(frozen=True)
class Verdict:
    """What became of a script: one word for machines, sentences for people, and the trace behind them.

    `error` is what ended the script, at `line`; `explanation` says which tensor stayed behind, where that could be found.
    """

    word: Word
    trace: Trace
    error: str = ""
    line: Line | None = None
    explanation: str = ""
    notes: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        if self.word == "mismatch":
            before = f" Until then: {self.trace.verdict()}" if self.trace.training else ""
            return f"Tensors on unlike devices met{at(self.line)}.{before}"
        return self.trace.verdict()

    def __str__(self) -> str:
        lines = [f"{self.sentence} {label(self.trace)}", *summary(self.trace, "--json FILE")[1:]]
        if self.error and not self.explanation:
            lines.append(f"  the script ended with {self.error.splitlines()[0]}")
        lines += [f"  {text}" for text in self.explanation.splitlines()]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON: the word under "verdict", the sentence, and the whole trace."""
        data = self.trace.to_dict()
        data.update(verdict=self.word, sentence=self.sentence, notes=[*self.trace.notes, *self.notes])
        data["error"] = {"message": self.error, "line": str(self.line or "")} if self.error else None
        return data | {"explanation": self.explanation or None}


def judge(trace: Trace, error: BaseException | None = None, notes: tuple[str, ...] = ()) -> Verdict:
    """Return the verdict on a run that `trace` watched, and that `error` ended, if anything did."""
    line = line_of(error) if error else None
    said = f"{type(error).__name__}: {error}" if error else ""
    if error is not None and is_mismatch(str(error)):
        return Verdict("mismatch", trace, said, line, explain(error), notes)
    why = explain(error) if error is not None else ""
    caught = next(((text, where) for text, where in trace.faults if is_mismatch(text)), None)
    if caught and not trace.training:
        message = f"the script caught an error at {caught[1]}: {caught[0].splitlines()[0]}"
        return Verdict("mismatch", trace, said, caught[1], "", (*notes, message))
    return Verdict(_word(trace), trace, said, line, why, notes)


def _word(trace: Trace) -> Word:
    on_cpu = [device.startswith("cpu") for device in trace.training]
    if not on_cpu:
        return "no-training"
    return "cpu" if all(on_cpu) else "mixed" if any(on_cpu) else "accelerator"


def line_of(error: BaseException) -> Line | None:
    """Return the user's line in which an error arose: the innermost frame of their own code."""
    return next(reversed(own_lines(error)), None)


def explain(error: BaseException) -> str:
    """Return what devicelab.explain says of an error about devices; empty of any other."""
    from .explain import explain as in_words

    said = in_words(error)
    return str(said) if said.known else ""
