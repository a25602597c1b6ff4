"""Explain the text of an error: what can be told from the words and the lines alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from . import dtypes
from .frames import Frame
from .lines import shortened
from .memory import out_of_memory
from .others import documented, from_catalogue, other_family
from .reading import Reading, read
from .result import Explanation
from .roles import mismatch_told
from .told import AnyFrame, Told
from .tracebacks import judged, told_in
from .wordings import DTYPE, MEMORY, MISMATCH

LATE = (
    "this line is where the host found out, and not to blame: the kernel that failed was launched before it"
)
BREAKS_OFF = "the traceback breaks off before its last line; where is the last line of yours that it shows"
MOST_EARLIER = 20  # exceptions before the last one that are looked at
# Short words stand alone: "mps" is in "dumps", "tpu" in "output", "npu" in "input".
_SPEAKS_OF_DEVICES = re.compile(
    r"cuda|gpu|device|nccl|cudnn|cublas|rocm|miopen|sycl|level_zero|nvidia|triton|cupy|opencl|vulkan|out of memory"
    r"|resource_?exhausted|/dev/dri|/dev/kfd|torch_npu|ascendcl|graph capture|object has no attribute 'to'|pytpu|libtpu"
    r"|(?<![a-z])(?:hip|hccl|jax\w*|metal|mps|musa|npus?|tpus?|xla\w*|xpus?)(?![a-z])"
)
_MOST_ASSERTION = 300  # letters
_NCCL_WARNS = re.compile(r"NCCL WARN ([^\n]{1,300})")
_MOST_WARNINGS = 5
_ABORTS = re.compile(
    r"\bAborted\b|\b[Aa]bort trap\b|core dumped|Segmentation fault|\bSIG(?:ABRT|SEGV|ILL|BUS)\b"
)
_MOST_LAST_WORDS = 4  # lines
# ComfyUI's reports, which name the exception above its frames.
_REPORT = re.compile(
    r"Exception Type:(?:\*\*)? (?P<name>[\w.]{1,100})\s{1,4}(?:- )?(?:\*\*)?"
    r"Exception Message:(?:\*\*)? (?P<message>[^\n]{1,2000})"
    r"|Error occurred when executing [^\n]{1,100}:\s{1,4}(?P<said>[^\n]{1,2000})\n"
)
# What only says that a compiler failed; the compiler's own words stand above.
_BUILD = re.compile(
    r"Error (?:compiling objects for|building) extension|'(?:ninja|nvcc|cmake)'|setup\.py|subprocess-exited"
)
_BROKEN_WORD = re.compile(r"(?<=[A-Za-z])\n(?=[a-z])")  # by a terminal that is too narrow
_MOST_SAID = 20_000  # letters
_SAMPLE = 4_096  # letters by which a text is told from other data


def from_text(text: str, frames: list[Frame] | None = None) -> Explanation:
    """Explain a pasted traceback or a message alone; `frames` are given where the error itself was there."""
    text = shortened(text)
    every = told_in(text)
    one = _reported(text, judged(every))
    if one is None or not (one.name or one.message):
        return _without_an_error(text, one, frames or [])
    printed = _printed_by_nccl(text) if "NCCL" in one.message else _printed_by_kernels(text)
    for candidate in _candidates(every, one):
        found = about(candidate, frames or [], printed)
        if found is not None:
            return found if candidate is one else replace(found, earlier=_led_to(one, candidate))
    return _built(text, one) or _something_else(one, every)


def _reported(text: str, one: Told | None) -> Told | None:
    """Return the exception with its name and message, where a report has them above the frames."""
    if one is None or one.name:
        return one
    found = _REPORT.search(text)
    if found is None:
        return one
    return replace(one, name=found["name"] or "Exception", message=found["message"] or found["said"])


def _built(text: str, one: Told) -> Explanation | None:
    """Explain what a compiler said above an error that only reports its failure."""
    if not _BUILD.search(one.message):
        return None
    said = [line for line in text.splitlines() if "nvcc fatal" in line or "error" in line]
    known = from_catalogue("\n".join(said)[:_MOST_SAID])
    return replace(known, earlier=f"the {one.name} that ended it reports this") if known else None


def _candidates(every: list[Told], one: Told) -> list[Told]:
    """Return what is judged: the last exception, all of its group, then those that it was raised from, in Python's words."""
    at = max((number for number, told in enumerate(every) if told.number == one.number), default=0)
    group = next((number for number, told in enumerate(every) if told.name.endswith("ExceptionGroup")), None)
    members = (
        every[group + 1 :] if group is not None and (group < at or every[at].name.endswith("Group")) else []
    )
    causes = []
    while at and every[at].link == "cause":
        at -= 1
        causes.append(every[at])
    if not one.message and one.link == "inside" and every[at - 1].message:  # what handed it on said more
        causes.insert(0, every[at - 1])
    return [one, *members, *causes]


def _led_to(one: Told, candidate: Told) -> str:
    """Return what the explained exception has to do with the one that ended it."""
    name = one.name.rpartition(".")[2]
    return (
        ""
        if candidate.link == "member" or name.endswith("Group") or one.link == "inside"
        else f"the {name} that ended it was raised from this"
    )


def _printed_by_kernels(text: str) -> str:
    """Return the first line that a failed assertion of a kernel printed: CUDA's error does not repeat it."""
    at = text.find("Assertion `")
    line = text[text.rfind("\n", 0, at) + 1 : at + _MOST_ASSERTION].partition("\n")[0] if at >= 0 else ""
    return f"{line}\n" if line.rstrip().endswith("failed.") else ""


def _printed_by_nccl(text: str) -> str:
    """Return what NCCL's log warns of, a line each: its error says only that there was something."""
    said = list(dict.fromkeys(found[1].strip() for found in _NCCL_WARNS.finditer(text)))
    return "".join(f"{line}\n" for line in said[-_MOST_WARNINGS:])


def about(told: Told, frames: Sequence[AnyFrame] = (), printed: str = "") -> Explanation | None:
    """Explain one exception by its own message, or return None where that is not about devices."""
    reading = read(told.message)
    place = told.own or next((frame for frame in reversed(frames) if frame.is_learners), None)
    if reading is not None:
        return documented(_placed(_by_family(reading, told, frames, place), place), told.message, told.name)
    found = _by_catalogue(told, printed, place)
    whole = _BROKEN_WORD.sub("", told.message)
    if found is None and whole != told.message:
        return about(replace(told, message=whole), frames, printed)
    return _placed(found, place) if found is not None else None


def _by_family(
    reading: Reading, told: Told, frames: Sequence[AnyFrame], place: AnyFrame | None
) -> Explanation:
    named = place if told.name else None  # of a traceback without an end nobody knows which line failed
    if reading.family == DTYPE:
        return dtypes.told(reading, named.code if named else "")
    if reading.family in (MISMATCH, "gradient"):
        return mismatch_told(reading, told, named)
    if reading.family == MEMORY:
        return out_of_memory(told.frames, reading)
    return replace(other_family(told.frames if told.own is not None else frames, reading), seen=False)


def _by_catalogue(told: Told, printed: str, place: AnyFrame | None) -> Explanation | None:
    above = printed if any(word in told.message for word in ("CUDA error", "CUDNN", "NCCL")) else ""
    raised = told.frames[-1].code if told.frames else ""
    found = from_catalogue(above + told.message, told.name if not above else None, raised)
    if found is not None and "device-side assert" in told.message and place is not None:
        return replace(found, blames=LATE)
    return found


def _placed(found: Explanation, place: AnyFrame | None) -> Explanation:
    if place is None or found.line is not None:
        return found
    return replace(found, line=place.line, file=place.file, code=place.code)


def _something_else(one: Told, every: list[Told]) -> Explanation:
    """Say by its name that an error is none about devices, and whether an earlier one was."""
    name = one.name.rpartition(".")[2]
    said = f"{one.name} {one.message}".lower()
    known = " that devicelab knows" if _SPEAKS_OF_DEVICES.search(said) else ""
    found = Explanation(
        "unknown",
        f"This {name} is not an error about devices{known}.",
        earlier=_earlier(one, every),
        seen=False,
        note="",
    )
    return _placed(found, one.own)


def _earlier(one: Told, every: list[Told]) -> str:
    """Return what an exception before the last one was, if that was about devices."""
    before = [told for told in every if told.number < one.number and told.headed and not told.passing]
    for told in reversed(before[-MOST_EARLIER:]):
        found = about(told)
        if found is not None:
            where = f" at {found.where}" if found.where else ""
            return f"the {told.name.rpartition('.')[2]} before it{where} was: {found.what}"
    return ""


def _without_an_error(text: str, cut: Told | None, frames: list[Frame]) -> Explanation:
    """Explain a text in which no exception is named: by all its words, where they are known."""
    frames_told = cut.frames if cut else ()
    whole = (*_last_words(text), text.strip())
    found = next((known for said in whole if (known := about(Told("", said, frames_told), frames))), None)
    if found is not None:
        return replace(found, note=BREAKS_OFF) if cut and cut.own and found.line else found
    if is_no_text(text):
        return Explanation("unknown", "This is no text that could hold an error.", seen=False, note="")
    what = "This text is not an error about devices that devicelab knows."
    if not text.strip():
        why = "the text is empty"
    elif cut is not None:
        why = "the traceback breaks off: paste the whole traceback, its last line included"
    else:
        why = "neither a traceback nor a line that begins with an error's name was found in it"
    return _placed(Explanation("unknown", what, why=why, seen=False, note=""), cut.own if cut else None)


def _last_words(text: str) -> Iterator[str]:
    """Yield the last lines before one that says that a library, or the system, ended the process: one, then more."""
    lines = [line for line in text.splitlines() if line.strip()]
    at = next((number for number in range(len(lines) - 1, -1, -1) if _ABORTS.search(lines[number])), 0)
    for first in range(at - 1, max(0, at - _MOST_LAST_WORDS) - 1, -1):
        yield "\n".join(lines[first : at + 1])


def is_no_text(text: str) -> bool:
    """Whether a text is other data, such as a picture."""
    sample = text[:_SAMPLE]
    odd = sum(
        letter in "\x00\ufffd" or (letter < " " and letter not in "\t\n\r\x1b\x0c\x08") for letter in sample
    )
    return odd * 10 > len(sample) > 0
