"""`course.py report`: every lesson run for this machine by papermill, and what came of it on one page, build/report.html.

A lesson that fails is named, and the others are run all the same. What ran already, from the same files and values, is kept: an
interrupted report goes on where it was.
"""

import argparse
import ast
import contextlib
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import papermill
from jinja2 import DictLoader
from nbclient.exceptions import CellControlSignal, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook
from papermill.exceptions import PapermillException, PapermillExecutionError
from tqdm import tqdm

from tools.notebooks import alive
from tools.notebooks.links import BADGES, COLAB
from tools.notebooks.nbfiles import LESSONS, NoNotebooks, find, named, private_environment, read, tags, write
from tools.notebooks.parameters import refused
from tools.setup.copies import digest
from tools.setup.say import ROOT, Stop, say

RAN = ROOT / "build" / "report"  # each lesson as it ran
PAGE = ROOT / "build" / "report.html"
READ = (".py", ".yaml", ".json", ".csv", ".js", ".css")  # what of the package a lesson's results depend on
CELL_SECONDS = 300  # a slow machine may need minutes where ours needs seconds
KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}
# What nbconvert's page would load from elsewhere (RequireJS, MathJax, Mermaid, widgets); nothing here needs it.
LEFT_OUT = ("html_head_js", "html_head_js_mathjax", "html_head_js_mermaidjs", "jupyter_widgets")
TEMPLATE = "{% extends 'lab/index.html.j2' %}" + "".join(
    f"{{% block {block} %}}{{% endblock %}}" for block in LEFT_OUT
)


@dataclass(frozen=True)
class Outcome:
    """What came of one lesson: how long it ran, the error that stopped it, and whether it had run before."""

    lesson: Path
    seconds: float
    fault: str | None = None
    kept: bool = False

    @property
    def words(self) -> str:
        """The outcome in one line."""
        said = f"FAILED: {self.fault}" if self.fault else "ran" + (" before, kept" if self.kept else "")
        return f"{self.lesson.stem:42} {self.seconds:6.1f} s  {said}"


# --- parameters ------------------------------------------------------------------------------------------------------


def defaults(lessons: Iterable[Path]) -> dict[Path, dict[str, Any]]:
    """Return each lesson's parameters with the values that they have there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            path: {
                name: ast.literal_eval(found["default"])
                for name, found in papermill.inspect_notebook(path).items()
            }
            for path in lessons
        }


def chosen(pairs: Sequence[str], known: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """Return the values of `NAME=VALUE` words, or `05.NAME=VALUE` for one lesson; raise Stop for what no lesson can take.

    A value is of the kind that the lessons' own value has. A size that differs from lesson to lesson is given for one.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Stop(f'A parameter is given as NAME=VALUE, such as seed=1, but it is "{pair}".')
        having = {path: found[_bare(name)] for path, found in known.items() if _meant(name, path, found)}
        if not having:
            raise Stop(f'No lesson here has a parameter "{name}".', *_parameters_there_are(known))
        if len(set(having.values())) > 1:
            raise Stop(f"{name} is another size in each lesson.", "Say of which:", *_each(name, having))
        if name in values:
            raise Stop(f"{name} is given twice.", "Give it once.")
        values[name] = _value(name, text, next(iter(having.values())))
    return values


def of_lesson(path: Path, values: dict[str, Any], known: dict[Path, dict[str, Any]]) -> dict[str, Any]:
    """Return what of the chosen values belongs to one lesson; its own goes before what is for all."""
    mine = [name for name in values if _meant(name, path, known[path])]
    return {_bare(name): values[name] for name in sorted(mine, key=lambda name: "." in name)}


def _bare(name: str) -> str:
    return name.rpartition(".")[2]


def _meant(name: str, path: Path, found: dict[str, Any]) -> bool:
    lesson = name.rpartition(".")[0]
    return _bare(name) in found and lesson in ("", path.name[:2])


def _value(name: str, text: str, default: Any) -> Any:
    value: Any = text
    if not isinstance(default, str):
        value = None
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(text)
        if type(value) is not type(default) and not (type(default) is float and type(value) is int):
            raise Stop(f'{name} must be {KINDS[type(default)]}, such as {default!r}, but it is "{text}".')
    if fault := refused(_bare(name), value):
        raise Stop(fault)
    return value


def _each(name: str, having: dict[Path, Any]) -> list[str]:
    return [
        f"{path.name[:2]}.{name}={value!r}, as it is in lesson {path.stem}" for path, value in having.items()
    ]


def _parameters_there_are(known: dict[Path, dict[str, Any]]) -> list[str]:
    names = sorted({name for found in known.values() for name in found})
    return [
        f"{name}: lesson {', '.join(path.name[:2] for path in known if name in known[path])}"
        for name in names
    ]


# --- running ---------------------------------------------------------------------------------------------------------


def run(lessons: Sequence[Path], values: dict[Path, dict[str, Any]], renew: bool = False) -> list[Outcome]:
    """Run the lessons one after the other under a progress bar, and return what came of each."""
    outcomes = []
    RAN.mkdir(parents=True, exist_ok=True)
    with tqdm(lessons, unit="lesson", file=sys.stdout, disable=None) as bar:
        for path in bar:
            bar.set_description(path.name[:2])
            key = key_of(path, values[path])
            outcome = None if renew else kept(path, key)
            outcome = outcome or execute(path, values[path], key)
            bar.write(outcome.words, file=sys.stdout)
            outcomes.append(outcome)
    return outcomes


def execute(path: Path, values: dict[str, Any], key: str) -> Outcome:
    """Run one lesson, keep it with what came of it, and return that."""
    target, began, fault = RAN / path.name, time.monotonic(), None
    bar = {"leave": False, "position": 1, "desc": path.stem, "file": sys.stdout, "disable": None}
    try:
        papermill.execute_notebook(
            path, target, values, cwd=path.parent, kernel_name="python3",
            progress_bar=bar, execution_timeout=CELL_SECONDS, record_timing=False,
        )  # fmt: skip
    except PapermillExecutionError as error:
        fault = f"cell [{error.exec_count}]: {error.ename}: {_first_line(error.evalue)}"
    except (PapermillException, CellControlSignal, CellTimeoutError, DeadKernelError, RuntimeError) as error:
        fault = f"{type(error).__name__}: {_first_line(str(error))}"
    outcome = Outcome(path, time.monotonic() - began, fault)
    done = read(target) if target.exists() else new_notebook()
    done.metadata["report"] = {"key": key, "seconds": outcome.seconds, "fault": fault}
    write(target, done)
    return outcome


def kept(path: Path, key: str) -> Outcome | None:
    """Return the outcome of a lesson that ran to its end from the same files and values, or None."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        found = read(RAN / path.name).metadata["report"]
        if found["key"] == key and not found["fault"]:
            return Outcome(path, found["seconds"], kept=True)
    return None


def key_of(path: Path, values: dict[str, Any]) -> str:
    """Return what stands for all that a lesson's results depend on."""
    files = sorted(path for path in (ROOT / "utils").rglob("*.*") if path.suffix in READ)
    return digest(
        "\0".join(
            [
                path.read_text("utf-8"),
                *(file.read_text("utf-8") for file in files),
                repr(sorted(values.items())),
                os.environ.get("DEVICELAB_GPU", ""),
                version("torch"),
                *platform.uname(),
            ]
        )
    )


def _first_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.strip()), "no reason was given")


# --- the page --------------------------------------------------------------------------------------------------------


def page(outcomes: Sequence[Outcome], values: dict[str, Any]) -> str:
    """Return the report as one page that loads nothing: what came of each lesson, then the lessons as they ran."""
    cells = [new_markdown_cell(summary(outcomes, values))]
    for outcome in outcomes:
        cells.append(new_markdown_cell(f'<a id="{outcome.lesson.stem}"></a>'))
        cells += [_still(cell) for cell in read(RAN / outcome.lesson.name).cells if _shown(cell)]
    for number, cell in enumerate(cells):
        cell["id"] = f"c{number}"  # the same id may stand in two lessons
    language = read(outcomes[0].lesson).metadata.get("language_info", {})
    exporter = HTMLExporter(
        template_file="report.html.j2", extra_loaders=[DictLoader({"report.html.j2": TEMPLATE})]
    )
    whole = new_notebook(cells=cells, metadata={"language_info": language})
    return exporter.from_notebook_node(
        whole, {"metadata": {"name": "Is it on the GPU? This machine's report"}}
    )[0]


def summary(outcomes: Sequence[Outcome], values: dict[str, Any]) -> str:
    """Return the head of the report as Markdown."""
    failed = sum(bool(outcome.fault) for outcome in outcomes)
    told = f"{failed} of {len(outcomes)} lessons failed." if failed else f"All {len(outcomes)} lessons ran."
    given = ", ".join(f"`{name} = {value!r}`" for name, value in values.items()) or "as the lessons have them"
    rows = [
        f"| [{outcome.lesson.stem}](#{outcome.lesson.stem}) | {outcome.seconds:.1f} | {_cell(outcome.fault)} |"
        for outcome in outcomes
    ]
    return "\n".join(
        [
            "# Is it on the GPU? This machine's report",
            "",
            f"**{told}** {time.strftime('%Y-%m-%d %H:%M')}, {platform.platform()}, {os.cpu_count()} cores, "
            f"Python {platform.python_version()}, torch {version('torch')}. Parameters: {given}. "
            "Each lesson's first cells say whether its GPU is a real one.",
            "",
            "| Lesson | Seconds | What came of it |",
            "|---|--:|---|",
            *rows,
        ]
    )


def _cell(fault: str | None) -> str:
    return f"**failed**: {escape(fault).replace('|', chr(92) + '|')}" if fault else "ran to its end"


def _shown(cell: NotebookNode) -> bool:
    return cell.get("id") not in (BADGES, COLAB) and "guess" not in tags(cell)


def _still(cell: NotebookNode) -> NotebookNode:
    """Return a cell without the views that need a kernel, so that the picture's still is shown."""
    for output in cell.get("outputs", []):
        output.get("data", {}).pop(alive.VIEW, None)
    return cell


def main(arguments: list[str] | None = None) -> int:
    """Run the lessons that the command line names, or all, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.site.report", description=__doc__)
    parser.add_argument("paths", nargs="*", help="lessons or folders of them (default: all lessons)")
    parser.add_argument("-p", dest="parameters", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--renew", action="store_true", help="also run what ran before")
    options = parser.parse_args(arguments)
    try:
        lessons = named(options.paths) if options.paths else find(LESSONS)
        known = defaults(lessons)
        values = chosen(options.parameters, known)
    except (NoNotebooks, Stop) as reason:
        print(f"\n{reason}", file=sys.stderr)
        return 1
    each = {path: of_lesson(path, values, known) for path in lessons}
    with tempfile.TemporaryDirectory(prefix="report-", ignore_cleanup_errors=True) as folder:
        os.environ.setdefault("DEVICELAB_HOST", "")  # times of this machine, not of the nominal host
        os.environ.update(private_environment(Path(folder)))
        profile = Path(folder) / "ipython" / "profile_default"
        profile.mkdir(parents=True)  # a kernel's warnings would stand between the lines of the bar
        (profile / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n", encoding="utf-8")
        outcomes = run(lessons, each, options.renew)
    PAGE.write_text(page(outcomes, values), encoding="utf-8", newline="\n")
    failed = [outcome for outcome in outcomes if outcome.fault]
    say(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} lessons ran; the report: {PAGE}")
    for outcome in failed:
        say(f"  failed: {outcome.lesson.stem}: {outcome.fault}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
