"""A film of a few lines: which names hold which tensors, in which device's memory, and what happens between two of them.

watch     follows the lines, and takes a step after each statement
lines     which statement a line belongs to
look      what the variables hold
memory    which memory a tensor's data lie in
hears     operators, copies, refusals
seen      what is there after each step
rows      where each memory is drawn
words     what happened, in sentences
message   PyTorch's refusal in parts
scenes    all of it as plain data
still     one step as a picture
placed    where the tensors of some objects are, drawn as a film's last picture
result    the film
"""

from types import TracebackType

from devicelab.errors import InputError

from .placed import Placed, placement
from .result import Film
from .scenes import Scenes, here, nothing
from .watch import Watch, callers_frame

__all__ = ["Film", "Placed", "film", "placement"]
DEEPEST = 10


class film:  # lower case: it reads as a function
    """Show the lines of a `with` block one after the other: names, tensors, where they are, what was copied or refused.

    In a notebook the film stands under the cell as soon as the block ends, after an error too; the error goes on as ever.
    `with lab.film() as f:` keeps it: `print(f)` says the same in words. Functions of the same cell, or file, that the block
    calls are followed `depth` calls deep; 200 steps at most are kept. It follows the thread that enters it, on any device.
    """

    def __init__(self, *, depth: int = 2) -> None:
        if not isinstance(depth, int) or not 0 <= depth <= DEEPEST:
            raise InputError(
                f"depth is how many calls deep functions are followed, 0 to {DEEPEST}; it got {depth!r}."
            )
        self._depth = depth
        self._film: Film | None = None
        self._watch: Watch | None = None

    def __enter__(self) -> Film:
        if self._film is not None:
            raise InputError("This film was made already. Make another: `with lab.film() as f:`.")
        self._film = object.__new__(Film)  # filled when the block ends, frozen from then on
        gpu, self._card = here()
        self._watch = Watch(self._depth, gpu)
        self._watch.begin(callers_frame())
        return self._film

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._watch is None or self._film is None:  # a second call does nothing
            return
        watch, self._watch = self._watch, None
        watch.end(error)
        try:
            data = Scenes(watch, self._card).data()
        except Exception as own:  # drawing must not add an error to the learner's
            data = nothing(self._card, f"The film could not be drawn ({type(own).__name__}: {own}).")
        Film.__init__(self._film, data)
        self._film.show()
