"""A film as it is shown: alive in a notebook, as a picture, as text."""

from dataclasses import dataclass
from typing import Any

from devicelab.errors import InputError
from devicelab.picture import Moving, Picture

from .still import still


@dataclass(frozen=True, repr=False)
class Film(Moving):
    """A block's lines, one after the other: which names hold which tensors, where these are, what was copied and refused.

    `steps` counts its steps; `refused` is PyTorch's message of the last line that was, else empty.
    """

    scenes: dict[str, Any]
    module = "film"

    def __getattr__(self, name: str) -> Any:
        """Say that the block has not ended yet, where a film is asked too early."""
        if name == "scenes":
            raise InputError("This film is still running: ask it when its `with` block has ended.")
        raise AttributeError(name)

    @property
    def steps(self) -> int:
        """How many steps it has, the state before the first line not counted."""
        return len(self.scenes["steps"]) - 1

    @property
    def refused(self) -> str:
        """The message of the last line that was refused, or nothing."""
        found = [step["refused"] for step in self.scenes["steps"] if "refused" in step]
        return "".join(part[0] for part in found[-1]["parts"]) if found else ""

    @property
    def telling(self) -> int:
        """The step that a still picture shows: the last line that was refused, else the end."""
        refused = [number for number, step in enumerate(self.scenes["steps"]) if "refused" in step]
        return refused[-1] if refused else self.steps

    def data(self) -> dict[str, Any]:
        """Return what the moving picture is drawn from, as plain data for JSON."""
        return self.scenes

    def still(self, step: int | None = None) -> Picture:
        """Return the picture of one step, of the telling one if none is named. Needs matplotlib."""
        at = self.telling if step is None else step
        return still(self.scenes, at, f"{self.scenes['question']} ({self.scenes['card']}) {self.said(at)}")

    def said(self, step: int) -> str:
        """Return what is said of one step: its line, and what happened."""
        found = self.scenes["steps"][step]
        text = dict(self.scenes["code"]).get(found.get("line"), "").strip()
        turn = f", turn {found['turn']}" if found.get("turn", 0) > 1 else ""
        inner = f" in {found['inner']}" if "inner" in found else ""
        where = f"Line {found['line']}{turn}: `{text}`{inner} - " if "line" in found else ""
        message = f" {self.refused_in(step)}" if "refused" in found else ""
        return f"{where}{found['say']}{message}"

    def refused_in(self, step: int) -> str:
        """Return an error as Python prints it, where a step was refused."""
        refused = self.scenes["steps"][step]["refused"]
        return f"{refused['kind']}: {''.join(part[0] for part in refused['parts'])}"

    def __str__(self) -> str:
        head = f"{self.scenes['question']} ({self.scenes['card']})"
        steps = (self.said(number) for number in range(len(self.scenes["steps"])))
        return "\n".join([head, *(f"  {text}" for text in steps), *self.scenes["notes"]])
