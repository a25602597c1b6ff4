"""Times that were measured on real GPUs, by anyone who has one, and are kept in recordings/*.json."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from devicelab import datafiles
from devicelab.errors import InputError, listed, path_of
from devicelab.picture import Shown
from devicelab.results import Timing

HOW = "On a machine with an NVIDIA GPU, this makes one in a few minutes: python -m devicelab record"


@dataclass(frozen=True)
class Recording:
    """What was measured on one card: `times` by name ("linear B=8 M=512 N=4096 K=4096"), each a Timing in seconds.

    `power_limit` in watts; `context_seconds` until the first tensor is on the card in a fresh process, `context_memory` in
    bytes. None where the machine did not tell.
    """

    card: str
    date: str
    torch: str
    cuda: str | None
    driver: str | None
    power_limit: float | None
    host: str
    times: dict[str, Timing]
    context_seconds: tuple[float, ...]
    context_memory: int | None
    path: Path

    def __getitem__(self, name: str) -> Timing:
        if name not in self.times:
            kinds = dict.fromkeys(kind_of(other) for other in self.times)
            raise InputError(
                f"This recording of a {self.card} has no {name!r}. It has {listed(kinds)}; see .times."
            )
        return self.times[name]

    def kind(self, kind: str) -> dict[str, Timing]:
        """Return the times of one kind, such as "linear" or "example gpu", by name."""
        return {name: timing for name, timing in self.times.items() if kind_of(name) == kind}

    def __str__(self) -> str:
        driver = self.driver or "unknown"
        return f"{self.card}: {len(self.times)} times [recorded, {self.date}, torch {self.torch}, driver {driver}]"

    __repr__ = __str__


class Recordings(Shown, tuple[Recording, ...]):
    """The recordings there are, in the order of their cards' names."""

    __slots__ = ()

    def find(self, card: str) -> Recording:
        """Return the recording of a card; a part of its name will do where it fits one only."""
        fits = [recording for recording in self if card.lower() in recording.card.lower()]
        if len(fits) == 1:
            return fits[0]
        there = (
            f"There are {listed(recording.card for recording in self)}." if self else "There are none yet."
        )
        raise InputError(f"{len(fits) or 'No'} recordings fit {card!r}. {there} {HOW}")

    def __str__(self) -> str:
        return (
            "\n".join(str(recording) for recording in self) if self else f"There are no recordings yet. {HOW}"
        )


def recordings(folder: str | Path | None = None) -> Recordings:
    """Return the recordings of the course and of ./recordings, or those of one folder."""
    files = list(_files()) if folder is None else sorted(_existing(path_of("folder", folder)).glob("*.json"))
    return Recordings(sorted((load(path) for path in files), key=lambda recording: recording.card))


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(f"There is no folder {str(folder)!r} to read recordings from.")
    return folder


def _files() -> Iterator[Path]:
    """Yield each file once: of the course's folder or, where only the package is installed, those that came with it."""
    seen = set()
    for path in [*_shipped(), *sorted(Path("recordings").glob("*.json"))]:
        if path.resolve() not in seen:
            seen.add(path.resolve())
            yield path


def _shipped() -> list[Path]:
    return sorted((course_folder() or Path(__file__).with_name("kept")).glob("*.json"))


def course_folder() -> Path | None:
    """Return the folder recordings/ of the course that this package lies in, or None where it was installed alone."""
    root = Path(__file__).resolve().parents[3]
    return root / "recordings" if (root / "course.py").is_file() else None


def load(path: str | Path) -> Recording:
    """Return the recording in a file; one that does not keep to the schema is refused."""
    path = Path(path)
    try:
        data = datafiles.read(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a recording: {error}.") from None
    check(data, str(path))
    card, context = data["card"], data["context"]
    return Recording(
        card["name"], data["date"], data["software"]["torch"], data["software"]["cuda"], card["driver"], card["power_limit"],
        data["host"]["cpu"], {name_of(time): _timing(time, card["name"]) for time in data["times"]},
        tuple(context["seconds"]), context["memory"], path,
    )  # fmt: skip


def _timing(time: dict[str, Any], card: str) -> Timing:
    name = "CPU" if time["device"] == "cpu" else card
    return Timing(
        tuple(time["samples"]),
        time["calls"],
        time["device"],
        name,
        "recorded",
        time["threads"],
        load=time.get("load"),
    )


def name_of(time: dict[str, Any]) -> str:
    """Return the name of one time: its kind and its sizes."""
    return " ".join([time["kind"], *(f"{size}={number}" for size, number in time["sizes"].items())])


def kind_of(name: str) -> str:
    """Return the kind in a time's name: what stands before the sizes."""
    return re.split(r" \w+=", name, maxsplit=1)[0]


def check(data: object, where: str) -> None:
    """Raise InputError, with the place and what is wrong there, unless `data` keeps to the schema of its version."""
    version = data.get("version") if isinstance(data, dict) else None
    if version != 1:
        raise InputError(
            f"{where} is no recording of version 1, the one that is known here: its version is {version!r}."
        )
    wrong = datafiles.fault(data, schema())
    if wrong:
        raise InputError(f"{where} does not keep to the schema of recordings: {wrong}.")


@cache
def schema() -> dict[str, Any]:
    """Return the JSON schema of recordings."""
    return json.loads(resources.files(__name__).joinpath("schema_1.json").read_text("utf-8"))


def save(data: dict[str, Any], folder: Path, *, replace: bool = False) -> Path:
    """Check a recording and write it as <card>.json, whole or not at all; an existing file is left, unless `replace`."""
    check(data, "What was measured")
    path = folder / file_name(data["card"]["name"])
    if not replace:
        check_free(path)
    folder.mkdir(parents=True, exist_ok=True)
    datafiles.write(path, json.dumps(data, indent=1, allow_nan=False) + "\n")
    return path


def check_free(path: Path) -> None:
    """Raise InputError where a recording exists already."""
    if path.exists():
        raise InputError(f"{path} exists. Add --replace to renew it, or choose another folder with --out.")


def file_name(card: str) -> str:
    """Return the name of a card's file: "Tesla T4" becomes "tesla-t4.json"."""
    return re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-") + ".json"
