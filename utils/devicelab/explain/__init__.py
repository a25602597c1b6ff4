"""An error put in words: what met what, which of the learner's own names stayed behind, where, why and one fix to type."""

import sys
from dataclasses import replace

from .result import Explanation, Met

__all__ = ["Explanation", "Met", "explain"]


def explain(error: object = None) -> Explanation:
    """Explain an error about devices, or the text of one; without an argument the last error that was shown.

    Looks at the tensors and modules in the traceback's frames. Shows no values but those that a kernel found wrong, touches
    no device, keeps no tensor, and never raises: an error that it does not know is answered with where the tensors of its
    frame are.
    """
    from .judge import judge
    from .names import forget

    if error is None:
        error = sys.exc_info()[1] or getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    try:
        found = judge(error)
        if not isinstance(error, BaseException):
            return found
        from devicelab import devices

        return replace(found, rank=devices.rank())
    except Exception as own:  # explaining must not add an error to the learner's
        return Explanation(
            "unknown", f"devicelab could not explain this error ({type(own).__name__} on the way: {own})."
        )
    finally:
        forget()
