"""The commands of course.py."""

import argparse
import sys
from collections.abc import Sequence

from tools.notebooks import links, readme
from tools.proof import checks, torches
from tools.proof.torches import LESSONS
from tools.setup import environment, lab, venv
from tools.setup.say import Stop, this_command
from tools.setup.torch_choice import CHOICES
from tools.setup.torches import TRIED, target

TEST_EXTRAS = ("lab", "test")
ALL_EXTRAS = (*TEST_EXTRAS, "browser", "interop")
EPILOG = f"""First time here? {this_command("lab")}"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="course.py", description=__doc__, epilog=EPILOG)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    open_lab = _add(
        commands, "lab", "set up .venv, show the three examples as a table, open JupyterLab at lesson 00"
    )
    open_lab.add_argument(
        "--port", type=_port, help="the port of the server (default: the first free one from 8888)"
    )
    open_lab.add_argument("--no-browser", action="store_true", help="print the address instead of opening it")
    _add(commands, "test", "lint, types, unit tests and every notebook")
    _add(
        commands, "test-all", "the same with everything that takes longer: browser, libraries, all operators"
    )
    remake = _add(commands, "notebooks", "run the lessons and solutions again and keep their outputs")
    remake.add_argument("paths", nargs="*", help="only these notebooks")
    remake.add_argument(
        "--refresh", action="store_true", help="also re-make the outputs that hold measured times"
    )
    ways = _add(
        commands,
        "lessons",
        "run the notebooks in every way that this machine can: devices, orders, old versions",
    )
    ways.add_argument("paths", nargs="*", help="only these notebooks")
    ways.add_argument("--modes", metavar="MODE,MODE", help="only these; a wrong one lists them")
    tried = _add(commands, "torches", "run the device-facing tests and lessons on each PyTorch, in .torches/")
    tried.add_argument(
        "versions", nargs="*", type=target, metavar="VERSION", help=f"such as {', '.join(TRIED)}"
    )
    tried.add_argument("--lessons", choices=LESSONS, default="first", help="first: 00 to 05 (default)")
    tried.add_argument("--record", action="store_true", help="keep the results; write docs/versions.md anew")
    tried.add_argument(
        "--nearest", action="store_true", help="where a Python is missing, fetch it or take another"
    )
    _add(commands, "exercises", "cut the exercises from the solutions")
    bench = _add(commands, "bench", "print every ratio and time that the course promises, beside its bound")
    bench.add_argument("names", nargs="*", help="only these benchmarks")
    _add(commands, "constraints", "write the versions in .venv, as tested, to constraints.txt")
    _add(commands, "readme", "write the real output of `devicelab compare` into README.md")
    rewrite = commands.add_parser("links", help="write the launch badges for a repository and a tag")
    rewrite.add_argument(
        "settings", nargs="*", metavar="REPO=org/name REF=tag", help="what changes; nothing: write anew"
    )
    commands.add_parser("clean-venv", help="delete .venv, to begin anew")
    return top


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument(
        "--torch",
        choices=CHOICES,
        default="ask",
        help="which PyTorch to install where there is none (default: ask)",
    )
    command.add_argument(
        "--here", action="store_true", help="install into the active environment instead of .venv"
    )
    return command


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
    except KeyboardInterrupt:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return 130


def run(chosen: argparse.Namespace) -> int:
    """Run the command that was chosen."""
    if chosen.command == "links":
        return links.main(chosen.settings)
    if chosen.command == "clean-venv":
        venv.clean()
        return 0
    options = environment.Options(chosen.command, chosen.torch, chosen.here)
    extras = {"lab": ("lab",), "test-all": ALL_EXTRAS, "constraints": ALL_EXTRAS}.get(
        chosen.command, TEST_EXTRAS
    )
    python = environment.ready(extras, options)
    if chosen.command == "lab":
        return lab.open_lab(python, chosen.port, not chosen.no_browser)
    if chosen.command in ("test", "test-all"):
        return checks.run_all(python, everything=chosen.command == "test-all")
    if chosen.command == "readme":
        return readme.main(python)
    if chosen.command == "torches":
        return torches.main(python, chosen)
    if chosen.command == "bench":
        return checks.run_bench(python, chosen.names)
    return checks.run_tool(python, chosen)
