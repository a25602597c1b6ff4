"""A process that a watched script starts, in whatever way, is watched as well: its verdict lies in a folder for the first one.

A Python of its own begins at its first `import torch` (see `devicelab.children`), a fork at once. What loads data for a
DataLoader, or compiles for torch, is left alone.
"""

import atexit
import functools
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from devicelab.private import private_data
from devicelab.source import without
from devicelab.verdict import Verdict

from . import watch
from .script import exit_code, is_own
from .started import is_loader_worker
from .watch import Watch

HELPERS = ("torch/_inductor/", "torch._inductor", "multiprocessing.resource_tracker")
_SERVER = "multiprocessing.forkserver"
_folder: Path | None = None
_file: Path | None = None  # of this process
_process: BaseProcess | None = None  # as multiprocessing sees it


def begin(folder: str) -> None:
    """Watch this process, which has just imported torch, and leave its verdict in the folder; never fails."""
    command = " ".join(getattr(sys, "orig_argv", sys.argv))
    if any(word in command for word in HELPERS) or not Path(folder).is_dir():
        return
    is_server = _SERVER in command and multiprocessing.parent_process() is None
    with suppress(Exception):  # a process that cannot be watched is said to be unseen
        watch_forks(folder)
        _begin(announced=not is_server)


def watch_forks(folder: str | None) -> None:
    """Have the forks of this process leave their verdicts in the folder, from now on."""
    global _folder
    _folder = Path(folder) if folder else None
    BaseProcess._bootstrap = _bootstrap if folder else _ORIGINAL  # type: ignore[attr-defined]


def _begin(announced: bool = True) -> None:
    global _file
    _file = Path(str(_folder), f"{os.getpid()}-{time.time_ns()}.json")
    atexit.register(_end, watch.watched(Watch(_tell)))
    if announced:
        _write({})


def _end(this: Watch) -> None:
    """Tell the verdict as Python ends; of a script's own exit code it does not know."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    this.end(error, exit_code(error) if error else None)


def _forked() -> None:
    if watch.current is not None and _folder is not None:
        with suppress(Exception):
            watch.forget()
            _begin()


def _bootstrap(process: BaseProcess, *arguments: Any, **named: Any) -> int:
    """Run a process of multiprocessing in the child, with its errors noted; one that loads data is let go."""
    if watch.current is not None and _file is not None:
        _take_up(process, _file)
    return _ORIGINAL(process, *arguments, **named)


def _take_up(process: BaseProcess, file: Path) -> None:
    global _process
    _process = process
    if is_loader_worker(process):
        watch.forget()
        file.unlink(missing_ok=True)
        return
    _write({})
    process.run = functools.partial(_run, process.run)  # type: ignore[method-assign]


def _run(run: Callable[[], None]) -> None:
    try:
        run()
    except BaseException as error:
        if watch.current is not None:
            watch.current.error = error
        traceback.print_exc = _print_exc  # type: ignore[assignment]  # which multiprocessing calls
        raise


def _print_exc() -> None:
    error = sys.exc_info()[1]
    if error is not None:
        BaseException.with_traceback(error, without(error.__traceback__, is_own))
    _PRINT_EXC()


_ORIGINAL, _PRINT_EXC = BaseProcess._bootstrap, traceback.print_exc  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


def _tell(this: Watch, verdict: Verdict, code: int | None) -> None:
    _write({"exit_code": code, **verdict.to_dict(), "lines": str(verdict).splitlines()}, this)


def _write(said: dict[str, Any], this: Watch | None = None) -> None:
    if _file is None or not _file.parent.is_dir():
        return
    data = json.loads(json.dumps({"process": _facts(this or watch.current), **said}, default=str))
    new = _file.with_suffix(".new")
    new.write_text(json.dumps(private_data(data)), encoding="utf-8")
    new.replace(_file)


def _facts(this: Watch | None) -> dict[str, Any]:
    """Return the facts about this process; what is `started` are exit codes by the numbers of its own children."""
    process = _process or multiprocessing.current_process()
    script = Path(sys.argv[0]).name if sys.argv else ""
    facts = {
        "pid": os.getpid(),
        "name": script if process.name == "MainProcess" else process.name,
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "started": this.started.codes if this else {},
        **(vars(this.rank) if this else {}),
    }
    return facts if facts.get("rank") is not None else facts | {"rank": _number(process)}


def _number(process: Any) -> int | None:
    """Return the number that torch.multiprocessing.spawn gives a process, as a rule its rank."""
    target: Any = getattr(process, "_target", None)
    arguments: Any = getattr(process, "_args", ())
    is_spawned = getattr(target, "__module__", "") == "torch.multiprocessing.spawn" and len(arguments) > 1
    return arguments[1] if is_spawned and isinstance(arguments[1], int) else None
