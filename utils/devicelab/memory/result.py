"""The bytes as they are shown: alive in a notebook, as a picture, as text."""

from dataclasses import dataclass
from typing import Any

from devicelab import units
from devicelab.errors import InputError
from devicelab.picture import Moving, Picture

from .still import still


@dataclass(frozen=True, repr=False)
class Memory(Moving):
    """A training's bytes on a card, line by line, for each setting of its knobs. Sizes in bytes."""

    scenes: dict[str, Any]
    module = "memory"

    def run(self, **setting: Any) -> dict[str, Any]:
        """Return one run as plain data; a knob that is not named stands at its first value."""
        number = 0
        known = {knob["name"] for knob in self.scenes["knobs"]}
        for name in setting:
            if name not in known:
                raise InputError(f"The knobs are {', '.join(sorted(known)) or 'none'}, but not {name}.")
        for knob in self.scenes["knobs"]:
            value = str(setting.get(knob["name"], knob["values"][0]))
            if value not in knob["values"]:
                raise InputError(
                    f"{knob['name']} was tried with {', '.join(knob['values'])}, not with {value}."
                )
            number = number * len(knob["values"]) + knob["values"].index(value)
        return self.scenes["runs"][number]

    def fits(self, **setting: Any) -> bool:
        """Say whether a setting comes through; a knob that is not named stands at its first value."""
        return self.run(**setting)["refused"] is None

    def peak(self, **setting: Any) -> int:
        """Return the bytes of a setting's fullest moment, CUDA's context among them."""
        return self.run(**setting)["bytes"]

    def data(self) -> dict[str, Any]:
        """Return what the moving picture is drawn from, as plain data for JSON."""
        return self.scenes

    def still(self, **setting: Any) -> Picture:
        """Return the picture of a setting: if none is named, the first that is refused, else the first. Needs matplotlib."""
        runs = self.scenes["runs"]
        telling = next((run for run in runs if run["refused"]), runs[0])
        run = self.run(**setting) if setting else telling
        alt = f"{self.scenes['question']} ({self._said(runs.index(run))}{self.scenes['chip']}) {run['head']}. {run['say']}"
        return still(self.scenes, run, alt)

    def _said(self, number: int) -> str:
        """Return a run's setting in words, with a comma after each value."""
        parts = []
        for knob in reversed(self.scenes["knobs"]):
            number, at = divmod(number, len(knob["values"]))
            parts.append(f"{knob['name']} {knob['values'][at]}, ")
        return "".join(reversed(parts))

    def __str__(self) -> str:
        lines = [f"{self.scenes['question']} ({self.scenes['chip']}, {self.scenes['limitText']})"]
        for number, run in enumerate(self.scenes["runs"]):
            setting = self._said(number).rstrip(", ")
            lines.append(f"  {setting}{': ' if setting else ''}{run['head']}. {run['say']}")
        first = self.scenes["runs"][0]
        lines.append(f"Line by line{', ' if self.scenes['knobs'] else ''}{self._said(0).rstrip(', ')}:")
        lines += [f"  {_row(visit, self.scenes['kinds'])}" for visit in first["visits"]]
        return "\n".join([*lines, *self.scenes["notes"]])


def _row(visit: dict[str, Any], kinds: list[str]) -> str:
    fullest = max(visit["points"], key=sum)
    parts = ", ".join(f"{kind} {units.size(size)}" for kind, size in zip(kinds, fullest, strict=True) if size)
    step = f"step {visit['step'] + 1}" if visit["step"] >= 0 else "before"
    return f"{step}, line {visit['line']}, `{visit['text']}`: {parts}"
