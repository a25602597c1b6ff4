"""The commands of course.py."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tools.notebooks import links, readme
from tools.proof import checks, torches
from tools.proof.torches import LESSONS
from tools.room import start
from tools.setup import environment, frameworks, lab, venv, wheels
from tools.setup.say import Stop, this_command
from tools.setup.torch_choice import CHOICES
from tools.setup.torches import TRIED, target

TEST_EXTRAS = ("lab", "test")
ALL_EXTRAS = (*TEST_EXTRAS, "browser", "interop", "site")
EXTRAS = {  # of others: TEST_EXTRAS
    "lab": ("lab",),
    "catch-up": ("lab",),
    "wheels": wheels.EXTRAS,
    "hub": ("lab",),
    "room-test": ("lab",),
    "test-all": ALL_EXTRAS,
    "constraints": ALL_EXTRAS,
    "site": (*TEST_EXTRAS, "site"),
}
_MEND = "Look at what lies there and whom it belongs to, then give the same command again."
EPILOG = f"""First time here? {this_command("lab")}"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="course.py", description=__doc__, epilog=EPILOG)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = partial(_add, commands)
    option = add("lab", "set up .venv, show the three examples as a table, open JupyterLab at lesson 00")
    option("--port", type=_port, help="the port of the server (default: the first free one from 8888)")
    option("--no-browser", action="store_true", help="print the address instead of opening it")
    option("--renew", action="store_true", help="renew the copies in my_course/ that you did not change")
    option("--wheels", type=Path, metavar="FOLDER", help="install from this folder alone, without a network")
    _with_frameworks(option)
    option = add("wheels", "fill a folder from which a room installs the course without a network")
    option("folder", type=Path, metavar="FOLDER", help="where to; a second kind of machine adds its own")
    option("--hub", action="store_true", help="with what `hub` needs beside")
    start.add_options(
        add("hub", "start a JupyterHub for a room on this machine, in one of two modes (workshop/README.md)")
    )
    option = add(
        "room-test", "let learners in at once through a hub of this machine: seconds, memory, failures"
    )
    option("--learners", type=start.count, default=20, metavar="N", help="how many (default: 20)")
    option(
        "--lessons", default="01,02,03", metavar="NN,NN", help="which each of them runs (default: 01,02,03)"
    )
    option("--anew", action="store_true", help="start each server and kernel anew instead of forking it")
    option = add("catch-up", "put a solved exercise beside your own, which stays as it is")
    option("numbers", nargs="+", metavar="NUMBER", help="of which lesson, such as 03")
    option = add(
        "preflight", "the day before: does this machine have what it takes, does a lesson run, and how long"
    )
    option("--hub", type=start.count, metavar="N", help="look at it as the hub of N learners instead")
    add("test", "lint, types, unit tests and every notebook")
    option = add("test-all", "the same with everything that takes longer: browser, libraries, all operators")
    _with_frameworks(option)
    option = add("notebooks", "run the lessons and solutions again and keep their outputs")
    option("paths", nargs="*", help="only these notebooks")
    option("--refresh", action="store_true", help="also re-make the outputs that hold measured times")
    option = add(
        "lessons", "run the notebooks in every way that this machine can: devices, orders, old versions"
    )
    option("paths", nargs="*", help="only these notebooks")
    option("--modes", metavar="MODE,MODE", help="only these; a wrong one lists them")
    _with_frameworks(option)
    option = add("torches", "run the device-facing tests and lessons on each PyTorch, in .torches/")
    option(
        "versions",
        nargs="*",
        type=target,
        metavar="VERSION",
        help=f"x.y.z, x.y.z@3.11 for another Python than 3.12, or newest; none: {', '.join(TRIED)}",
    )
    option("--lessons", choices=LESSONS, default="first", help="first: 00 to 05 (default)")
    option(
        "--record",
        action="store_true",
        help="keep the results, and write them into docs/versions.md and README.md",
    )
    option("--nearest", action="store_true", help="where a Python is missing, fetch it or take another")
    add("exercises", "cut the exercises from the solutions")
    option = add(
        "report", "run the lessons on this machine and put what came of them on one page, build/report.html"
    )
    option("paths", nargs="*", help="only these lessons")
    value = "a parameter of the lessons, such as seed=1 or card='NVIDIA L4'; 02.rows=4096 for one lesson; a wrong name lists them"
    option("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE", help=value)
    option("--renew", action="store_true", help="also run what ran before from the same files and values")
    add("site", "make the web edition in build/site from the stored outputs, and check its links")
    option = add("bench", "print every ratio and time that the course promises, beside its bound")
    option("names", nargs="*", help="only these benchmarks")
    add("constraints", "write the versions in .venv, as tested, to constraints.txt")
    add("readme", "write the real output of `devicelab compare` into README.md")
    option = commands.add_parser(
        "links", help="write the launch badges for a repository and a tag"
    ).add_argument
    option("settings", nargs="*", metavar="REPO=org/name REF=tag", help="what changes; nothing: write anew")
    commands.add_parser("clean-venv", help="delete .venv, to begin anew")
    return top


def _add(commands: Any, name: str, text: str) -> Callable[..., Any]:
    """Add a command that needs the environment, and return the function that adds an option to it."""
    option = commands.add_parser(name, help=text, description=text).add_argument
    asked = "which PyTorch to install where there is none (default: ask)"
    option("--torch", choices=CHOICES, default="ask", help=asked)
    option("--here", action="store_true", help="install into the active environment instead of .venv")
    return option


def _with_frameworks(option: Callable[..., Any]) -> None:
    asked = f"first install what lesson 12 runs beside PyTorch: {frameworks.SIZE}, in .venv-frameworks"
    option("--frameworks", action="store_true", help=asked)


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"must be a number between 1 and 65535, but it is {text!r}.")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    chosen = parser().parse_args(arguments)
    try:
        return run(chosen)
    except Stop as reason:
        print(f"\n{reason}", file=sys.stderr)
        return 1
    except OSError as error:  # another user's folder, a file in a folder's place, a disk that is full
        if error.filename is None:
            raise
        print(f"\n{error.filename} could not be used: {error.strerror}.\n    {_MEND}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command starts it again, and uses what is already there.", file=sys.stderr)
        return 130


def run(chosen: argparse.Namespace) -> int:
    """Run the command that was chosen."""
    if chosen.command == "links":
        return links.main(chosen.settings)
    if chosen.command == "clean-venv":
        venv.clean()
        return 0
    if getattr(chosen, "wheels", None):
        wheels.use(chosen.wheels)
    options = environment.Options(chosen.command, chosen.torch, chosen.here)
    python = environment.ready(EXTRAS.get(chosen.command, TEST_EXTRAS), options)
    if getattr(chosen, "frameworks", False):
        frameworks.make(python, chosen.command)
    if chosen.command == "constraints":
        python = frameworks.make(python, chosen.command)  # sees both environments
    if chosen.command == "lab":
        return lab.open_lab(python, chosen.port, not chosen.no_browser, renew=chosen.renew)
    if chosen.command in ("test", "test-all"):
        return checks.run_all(python, everything=chosen.command == "test-all")
    if chosen.command == "wheels":
        return wheels.fill(python, chosen.folder, hub=chosen.hub)
    if chosen.command == "hub":
        return start.main(python, chosen)
    if chosen.command == "room-test":
        return start.test(python, chosen)
    if chosen.command == "preflight" and chosen.hub:
        return start.preflight(python, chosen.hub)
    if chosen.command == "readme":
        return readme.main(python)
    if chosen.command == "torches":
        return torches.main(python, chosen)
    if chosen.command == "bench":
        return checks.run_bench(python, chosen.names)
    return checks.run_tool(python, chosen)
