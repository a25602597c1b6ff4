"""The processes that a script started, each with the verdict that it left."""

import json
import os
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devicelab import children
from devicelab.trace.words import listed

from . import child


@dataclass(frozen=True)
class Member:
    """One process and what it told, as plain data; `code` is its exit code, None where nobody knows."""

    data: dict[str, Any]
    code: int | None = None

    @property
    def rank(self) -> int | None:
        """Its rank among others, if it has one."""
        return self.data["process"]["rank"]

    @property
    def title(self) -> str:
        """What it is called: "rank 1", or its name."""
        process = self.data["process"]
        return f"rank {self.rank}" if self.rank is not None else f"{process['name']} ({process['pid']})"

    @property
    def word(self) -> str | None:
        """Its verdict's word; None where it told nothing."""
        return self.data.get("verdict")

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices that it trained on."""
        phases = self.data.get("phases") or {}
        trained = {"backward", "optimizer"} & set(phases)
        return tuple(sorted({one for where in phases.values() for one in where})) if trained else ()

    @property
    def is_worth_a_row(self) -> bool:
        """Whether it did anything, should have, or ended badly."""
        did = self.data.get("operators") or self.data.get("error") or self.word is None
        return bool(did or self.rank is not None or self.code)

    @property
    def end(self) -> str:
        """How it ended, in a few words."""
        if self.word is None and self.code is None:
            return "still running" if _lives(self.data["process"]["pid"]) else "killed, or crashed"
        if self.code is None:
            return "by itself"
        return f"killed by {_signal(-self.code)}" if self.code < 0 else f"exit code {self.code}"

    @property
    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        if self.word is None:
            return (self.title, "told nothing", "", "", "", self.end)
        copies = sum(one["count"] for one in self.data["copies"])
        waits = sum(one["count"] for one in self.data["synchronizations"] if one["kind"] != "copy")
        where = listed(self.devices) if self.devices else "nothing"
        return (self.title, where, f"{self.data['steps']:,}", f"{copies:,}", f"{waits:,}", self.end)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        process = {
            key: self.data["process"][key] for key in ("pid", "name", "rank", "local_rank", "world_size")
        }
        told = {key: value for key, value in self.data.items() if key not in ("lines", "process")}
        empty = {"verdict": None, "sentence": f"It told nothing: {self.end}."}
        return {"process": process, **empty, **told, "exit_code": self.code, "ended": self.end}


class Family:
    """A folder in which each process that is started while this is open leaves its verdict."""

    def __enter__(self) -> "Family":
        self._pid = os.getpid()
        self._folder = tempfile.mkdtemp(prefix="devicelab-")
        self._forget = children.tell("devicelab.runner.child:begin", self._folder)
        child.watch_forks(self._folder)
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the folder away; a second call does nothing."""
        if os.getpid() == self._pid:  # a fork of the script has nothing to clear up
            child.watch_forks(None)
            self._forget()
            shutil.rmtree(self._folder, ignore_errors=True)

    def members(self, codes: dict[int, int | None]) -> list[Member]:
        """Return the processes by their ranks; `codes` are the exit codes that the first process knows."""
        told = [data for path in Path(self._folder).glob("*.json") if (data := _read(path)) is not None]
        for data in told:
            codes = codes | {int(pid): code for pid, code in data["process"]["started"].items()}
        found = [Member(data, _code(data, codes)) for data in told]
        return sorted(found, key=lambda one: (one.rank is None, one.rank or 0, one.data["process"]["pid"]))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):  # it is being replaced
        return None


def _code(data: dict[str, Any], codes: dict[int, int | None]) -> int | None:
    seen = codes.get(data["process"]["pid"])
    return data.get("exit_code") if seen is None else seen


def _lives(pid: int) -> bool:
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
