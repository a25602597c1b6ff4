"""Choose the explanation of an error by its family."""

from dataclasses import replace
from itertools import islice

from devicelab.placement import Placement, placement
from devicelab.reach import Reach
from devicelab.source import chain

from .asserts import asserted
from .frames import Frame, frames_of
from .mismatch import mismatch
from .names import View
from .others import from_catalogue, other_family
from .pasted import from_text
from .reading import MISMATCH, Reading, read
from .result import Explanation

TENSOR_FAMILIES = (MISMATCH, "gradient")
ELSEWHERE = "Original Traceback"  # of another process or thread, whose tensors are not here

OUT_OF_REACH = "read from the text: the tensors that met are out of reach from here"


def judge(error: object) -> Explanation:
    """Explain an exception or a text."""
    error = getattr(error, "error", error)  # what `with lab.expect_error(...) as seen` keeps
    if isinstance(error, str):
        return from_text(error)
    if not isinstance(error, BaseException):
        return Explanation(
            "no error", "There is no error to explain: give explain an exception, or its text in quotes."
        )
    for _, one in Reach(_led_to).walk([("", error)]):
        fault = getattr(one, "asserted", None)
        if fault is not None:
            return asserted(fault, frames_of(one))
        reading = read(str(one))
        if reading is not None:
            return _known(one, reading)
    return _unknown(error)


def _led_to(_: str, error: BaseException) -> list[tuple[str, BaseException]]:
    """Return the errors in a group, then the one that led to the error."""
    within = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return [("", one) for one in (*within, *islice(chain(error), 1, 2))]


def _known(error: BaseException, reading: Reading) -> Explanation:
    frames = frames_of(error)
    if ELSEWHERE in str(error):
        return replace(from_text(str(error), frames), note=OUT_OF_REACH)
    if reading.family not in TENSOR_FAMILIES:
        return other_family(frames, reading)
    seen = mismatch(frames, reading)
    if seen is not None:
        return seen
    return replace(from_text(str(error), frames), note=OUT_OF_REACH, placement=_placement(frames))


def _unknown(error: BaseException) -> Explanation:
    frames = frames_of(error)
    own = [frame for frame in frames if frame.is_learners] or frames
    known = from_catalogue(str(error), type(error).__name__)
    if known is not None:
        place = own[-1] if own else None
        return replace(known, line=place.line, file=place.file, code=place.code) if place else known
    what = f"This {type(error).__name__} is not an error about devices that devicelab knows."
    if not own:
        return Explanation("unknown", what)
    frame, seen = own[-1], _placement(frames)
    why = "here is where the tensors of its frame are" if seen else "its frame holds no tensors"
    return Explanation(
        "unknown", what, why=why, line=frame.line, file=frame.file, code=frame.code, placement=seen
    )


def _placement(frames: list[Frame]) -> Placement | None:
    """Where everything is that the learner's innermost frame can see."""
    own = [frame for frame in frames if frame.is_learners] or frames
    seen = placement(**View(own[-1]).variables) if own else None
    return seen if seen and seen.places else None
