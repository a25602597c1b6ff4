"""What a user asks `run` for: devicelab's own options, then the script with its arguments. All is checked before it runs."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devicelab import shadow
from devicelab.errors import InputError, listed

CARD = "Tesla T4"
_SOURCES = (".py", ".pyw", ".ipynb")
_TAKES_A_VALUE = ("--json", "--fail-on", "--compiled")
_TEXT = """Run a script unchanged, then say on which device it trained, what it copied and what made it wait. Processes that
it starts are watched as well. Exit codes: the script's own; 3 where the verdict, or that of a process of its own, is one of
--fail-on; 2 unusable input, or a report that could not be written; 130 interrupted. The JSON's schema is
devicelab/schemas/run.json; neither it nor what is printed holds home folders or names of users and computers."""


@dataclass(frozen=True)
class Options:
    """What was asked for; `json` is where the report goes, as seen from where the user stood."""

    target: list[str]
    fail_on: tuple[str, ...] = ()
    json: Path | None = None
    simulate_gpu: str | None = None
    count: int = 1
    compiled: str = "run"


def read(words: Sequence[str]) -> Options:
    """Return what the words ask for; raises InputError for what cannot be done."""
    own, target = split(words)
    given = _parser().parse_args(own)
    fail_on = tuple(word for word in given.fail_on.split(",") if word)
    _check(given, fail_on, target)
    path = given.json.absolute() if given.json else None  # the script may go elsewhere
    card, count = _cards(given.simulate_gpu)
    return Options(target, fail_on, path, card, count, given.compiled or "run")


def _cards(given: str | None) -> tuple[str | None, int]:
    """Return the card's name and how many of them there are, of "Tesla T4:2"."""
    name, _, count = (given or "").rpartition(":")
    return (name, int(count)) if name and count.isdigit() else (given, 1)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return devicelab's own options, and the script (or -m and the module) with its arguments."""
    own = []
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-m":
        own.append(rest.pop(0))
        if own[-1] == "--simulate-gpu":
            own[-1] = f"--simulate-gpu={CARD}"
        elif own[-1] in _TAKES_A_VALUE and rest:
            own.append(rest.pop(0))
    return own, rest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m devicelab run",
        usage="%(prog)s [options] script.py [args] | [options] -m module [args]",
        description=_TEXT,
    )
    add = parser.add_argument
    add("--json", metavar="FILE", type=Path, help="write the verdict and the whole trace to FILE")
    add("--fail-on", metavar="WORDS", default="", help="exit with 3 on these: cpu,mixed,mismatch,...")
    add(
        "--simulate-gpu",
        metavar="NAME",
        help=f"=NAME or =NAME:2: how it would fare on this card ({CARD}), or on two",
    )
    text = "on a simulated card: run compiled functions as they are written (run), or refuse them"
    add("--compiled", metavar="WORD", help=text)
    return parser


def _check(given: argparse.Namespace, fail_on: tuple[str, ...], target: list[str]) -> None:
    if target and (other := shadow.torch_in(Path(target[0]).parent)):
        raise InputError(shadow.advice(other, Path(target[0]).name))
    from devicelab.verdict import NO_LEARNING, WORDS

    for word in fail_on:
        if word not in (*WORDS, NO_LEARNING):
            raise InputError(
                f"--fail-on knows {listed((*WORDS, NO_LEARNING))}, separated by commas, but it got {word!r}."
            )
    if given.compiled is not None and not given.simulate_gpu:
        raise InputError("--compiled speaks of a simulated card: give --simulate-gpu as well.")
    if given.compiled not in (None, "run", "refuse"):
        raise InputError(f"--compiled knows run or refuse, but it got {given.compiled!r}.")
    if not target or target == ["-m"]:
        raise InputError("run needs a script: python -m devicelab run train.py, or -m and a module.")
    if target[0] != "-m" and not Path(target[0]).is_file():
        hint = _hint(target[0]) if given.simulate_gpu else ""
        raise InputError(f"There is no script {target[0]!r} here ({Path.cwd()}).{hint}")
    if given.json is not None:
        _check_writable(given.json, Path(target[0]))


def _check_writable(path: Path, script: Path) -> None:
    if path == Path("-"):
        raise InputError("--json - would mix the report with what the script prints: name a file.")
    if path.suffix in _SOURCES or (path.exists() and script.exists() and path.samefile(script)):
        raise InputError(
            f"--json: {str(path)!r} is source code, and would be written over: name a file for the report."
        )
    if not path.absolute().parent.is_dir():
        raise InputError(f"--json: there is no folder {str(path.parent)!r} to write into.")
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise InputError(f"--json: {str(path)!r} cannot be written: {error.strerror}.") from None


def _hint(word: str) -> str:
    """Return what to write where the word is a card's name, which stands after a space instead of a `=`."""
    from devicelab.gpus import find

    try:
        find(word)
    except InputError as error:
        if "Give the full name of one" not in str(error):  # it fits no card
            return ""
    return f" Do you mean --simulate-gpu={word}?"
