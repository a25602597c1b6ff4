"""Choose the explanation of an error by its family."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from devicelab.placement import Placement, placement
from devicelab.reach import Reach
from devicelab.source import chain

from . import dtypes
from .asserts import asserted
from .frames import Frame, frames_of
from .memory import out_of_memory
from .mismatch import mismatch
from .names import View
from .others import from_catalogue, other_family
from .pasted import from_text
from .reading import Reading, read
from .result import Explanation
from .wordings import DTYPE, MEMORY, MISMATCH

TENSOR_FAMILIES = (MISMATCH, "gradient")
ELSEWHERE = (
    "Original Traceback",
    "Traceback (most recent call last)",
)  # of another process or thread, whose tensors are not here
OUT_OF_REACH = "read from the text: the tensors that met are out of reach from here"


def judge(error: object) -> Explanation:
    """Explain an exception or a text: the last error's own message, that of its group, or of what it was raised from."""
    error = getattr(error, "error", error)  # what `with lab.expect_error(...) as seen` keeps
    if isinstance(error, str):
        return from_text(error)
    if not isinstance(error, BaseException):
        return Explanation(
            "no error", "There is no error to explain: give explain an exception, or its text in quotes."
        )
    for one in _answerable(error):
        fault = getattr(one, "asserted", None)
        if fault is not None:
            return asserted(fault, frames_of(one))
        reading = read(str(one))
        if reading is not None:
            found = _known(one, reading, error)
            return found if one is error or _is_group(error) else replace(found, earlier=_raised_from(error))
    return _unknown(error)


def _is_group(error: BaseException) -> bool:
    return isinstance(error, BaseExceptionGroup)


def _raised_from(error: BaseException) -> str:
    return f"the {type(error).__name__} that ended it was raised from this"


def _answerable(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, those in its group, and those that it was raised from on purpose."""
    return (one for _, one in Reach(_led_to).walk([("", error)]))


def _led_to(_: str, error: BaseException) -> list[tuple[str, BaseException]]:
    within = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    cause = (error.__cause__,) if error.__cause__ is not None else ()
    return [("", one) for one in (*within, *cause)]


def _known(error: BaseException, reading: Reading, outer: BaseException) -> Explanation:
    frames = _frames(error, outer)
    if any(words in str(error) for words in ELSEWHERE):
        return replace(from_text(f"{type(error).__name__}: {error}", frames), note=OUT_OF_REACH)
    if reading.family == DTYPE:
        return dtypes.seen_in(frames, reading)
    if reading.family == MEMORY:
        return out_of_memory(frames, reading, error)
    if reading.family not in TENSOR_FAMILIES:
        return other_family(frames, reading)
    seen = mismatch(frames, reading)
    if seen is not None:
        return seen
    told = from_text(f"{type(error).__name__}: {error}", frames)
    return replace(told, note=OUT_OF_REACH, placement=_placement(frames))


def _frames(error: BaseException, outer: BaseException) -> list[Frame]:
    """Return the frames that led to an error: below those of what was raised from it, to which its own begin where it was caught.

    Of one that says again what another said, the other's are below its own.
    """
    frames: list[Frame] = []
    links = list(chain(outer))
    last = next((number for number, link in enumerate(links) if link is error), None)
    for link in [error] if last is None else links[: last + 1]:
        frames = _above(frames, frames_of(link)) or frames_of(link)
    for before in islice(chain(error), 1, None):
        reading = read(str(before))
        joined = _above(frames, frames_of(before))
        if reading is None or not reading.is_misplaced or joined is None:
            break
        frames = joined
    return frames


def _above(frames: list[Frame], below: list[Frame]) -> list[Frame] | None:
    """Return the frames of one error with those of another below, from the one where both were; None where there is none."""
    at = next((number for number, one in enumerate(frames) if below and one.frame is below[0].frame), None)
    return None if at is None else [*frames[:at], *below]


def _unknown(error: BaseException) -> Explanation:
    frames = frames_of(error)
    own = [frame for frame in frames if frame.is_learners] or frames
    name = type(error).__name__
    known = from_catalogue(str(error), name, own[-1].code if own else "")
    if known is not None:
        place = own[-1] if own else None
        return replace(known, line=place.line, file=place.file, code=place.code) if place else known
    what = f"This {name} is not an error about devices that devicelab knows."
    if not own:
        return Explanation("unknown", what, earlier=_earlier(error))
    frame, seen = own[-1], _placement(frames)
    why = "here is where the tensors of its frame are" if seen else "its frame holds no tensors"
    return Explanation(
        "unknown",
        what,
        why=why,
        line=frame.line,
        file=frame.file,
        code=frame.code,
        placement=seen,
        earlier=_earlier(error),
    )


def _earlier(error: BaseException) -> str:
    """Return what the error was that was being handled when this one came, if that was about devices."""
    for before in islice(chain(error), 1, 20):
        reading = read(str(before))
        if reading is not None:
            found = _known(before, reading, before)
            where = f" at {found.where}" if found.where else ""
            return f"the {type(before).__name__} before it{where} was: {found.what}"
    return ""


def _placement(frames: list[Frame]) -> Placement | None:
    """Where everything is that the learner's innermost frame can see."""
    own = [frame for frame in frames if frame.is_learners] or frames
    seen = placement(**View(own[-1]).variables) if own else None
    return seen if seen and seen.places else None
