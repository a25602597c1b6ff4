"""Which cell an answer came from: a name left over from an earlier run is told apart from the answer of now.

In IPython two events report each cell before and after it runs. Elsewhere (scripts, tests) nothing is known, and nothing is
called stale. Text that was edited but never run is invisible to a kernel: an answer that did not change between two
checks is therefore said to be the same one.
"""

import ast
import inspect
import linecache
import textwrap
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from devicelab.source import USER, whose


@dataclass
class Run:
    """One execution of a cell: the names it sets, what they meant before, and how it ended."""

    source: str
    cell: str | None  # JupyterLab's id of the cell, where IPython tells it (8 and later)
    before: dict[str, Callable[[object], bool]]  # by name: whether an object is what it meant
    error: str = ""
    done: bool = False


@dataclass
class Cells:
    """The runs of one kernel, and which answers were checked for which question."""

    runs: list[Run] = field(default_factory=list)
    namespace: dict[str, Any] = field(default_factory=dict)
    checked: "weakref.WeakKeyDictionary[Any, str]" = field(default_factory=weakref.WeakKeyDictionary)
    last: dict[str, list[Callable[[object], bool]]] = field(default_factory=dict)  # by question: its parts
    shell: Any = None

    def begins(self, info: Any) -> None:
        """Hear from IPython that a cell is about to run."""
        names = set_names(info.raw_cell)
        before = {name: _recognizes(self.namespace.get(name)) for name in names}
        self.runs.append(Run(info.raw_cell, getattr(info, "cell_id", None), before))

    def ended(self, result: Any) -> None:
        """Hear from IPython how it ended."""
        # The cell that imported the exercise began before we listened.
        if not self.runs or self.runs[-1].done:
            self.runs.append(Run(result.info.raw_cell, getattr(result.info, "cell_id", None), {}))
        run = self.runs[-1]
        error = result.error_before_exec or result.error_in_exec
        run.error = type(error).__name__ if error is not None else ""
        run.done = True


_cells = Cells()


def _recognizes(value: object) -> Callable[[object], bool]:
    """Return a function that knows this very object again without keeping it (or its memory) alive."""
    try:
        held = weakref.ref(value)
    except TypeError:  # a number, a list, a dict
        number = id(value)
        return lambda other: id(other) == number
    return lambda other: held() is other


def listen() -> None:
    """Register with the running IPython, once."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return
    shell = get_ipython()
    if shell is None or _cells.shell is shell:
        return
    _cells.shell, _cells.namespace = shell, shell.user_ns
    shell.events.register("pre_run_cell", _cells.begins)
    shell.events.register("post_run_cell", _cells.ended)


def set_names(source: str) -> set[str]:
    """Return the names that a cell sets at its top level; none where it cannot be parsed (magics are passed over)."""
    plain = "\n".join("pass" if line.lstrip().startswith(("%", "!")) else line for line in source.split("\n"))
    try:
        body = ast.parse(textwrap.dedent(plain)).body
    except SyntaxError:
        return set()
    return {name for line in body for name in _targets(line)}


def _targets(line: ast.stmt) -> Iterator[str]:
    if isinstance(line, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        yield line.name
    elif isinstance(line, (ast.Assign, ast.AnnAssign, ast.For, ast.With, ast.If, ast.Try)):
        for node in ast.walk(line):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def stale(key: str, answer: tuple[object, ...]) -> str:
    """Return why an answer is not the one of now, naming the cell to run again; empty where nothing is known of that."""
    for name, value in _named(answer):
        reason = _left_over(name, value)
        if reason:
            return reason
    for value in answer:
        other = _checked_for(value)
        if key and other and other != key:
            return (
                f"This {_noun(value)} was checked before, as the answer to question {other.partition('.q')[2]}. "
                "Run the cell below this question's text again, then this check."
            )
    return ""


def _named(answer: tuple[object, ...]) -> list[tuple[str, object]]:
    """Return the answers that the cell of the check passes by name, with their names."""
    run = _cells.runs[-1] if _cells.runs else None
    if run is None or run.done:
        return []
    try:
        tree = ast.parse(run.source)
    except SyntaxError:
        return []
    names = {
        part.id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "check"
        for part in call.args
        if isinstance(part, ast.Name)
    }
    if names & run.before.keys():  # set in this very cell
        return []
    return [
        (name, value) for name in sorted(names) for value in answer if _cells.namespace.get(name) is value
    ]


def _left_over(name: str, value: object) -> str:
    """Say why the name still means something old: its cell failed before it got there, or no longer sets it."""
    earlier = _cells.runs[:-1]
    setting = [number for number, run in enumerate(earlier) if name in run.before]
    broken = _unparsed(name, earlier)
    if broken is not None and (not setting or broken > setting[-1]):
        return _rerun(name, earlier[broken], "could not be read (a SyntaxError)")
    if not setting:
        return ""
    last = earlier[setting[-1]]
    if last.error and last.before[name](value):
        return _rerun(name, last, f"stopped with {last.error} before it set it")
    for run in earlier[setting[-1] + 1 :]:
        if run.cell is not None and run.cell == last.cell:
            return _rerun(name, run, "no longer sets it since you changed it")
    return ""


def _unparsed(name: str, runs: list[Run]) -> int | None:
    """Return the last cell that ended in a SyntaxError and mentions the name."""
    found = [
        n
        for n, run in enumerate(runs)
        if run.error.endswith(("SyntaxError", "IndentationError")) and name in run.source
    ]
    return found[-1] if found else None


def _rerun(name: str, run: Run, reason: str) -> str:
    first = next((line.strip() for line in run.source.split("\n") if line.strip()), "")
    return (
        f"`{name}` is left from an earlier run: the cell that begins with `{first}` {reason}. "
        "Mend that cell, run it again, then run this check."
    )


def _checked_for(value: object) -> str | None:
    try:
        return _cells.checked.get(value)
    except TypeError:  # it cannot be hashed or held weakly: a number, a dict
        return None


def note_checked(key: str, answer: tuple[object, ...]) -> str:
    """Note that an answer was checked; return a sentence when all its parts were checked for this question just before."""
    functions = [value for value in answer if callable(value)]
    for value in functions:
        try:
            _cells.checked[value] = key
        except TypeError:  # cannot be held weakly
            continue
    before, _cells.last[key] = _cells.last.get(key, []), [_recognizes(value) for value in answer]
    if not key or not functions or len(before) != len(answer):
        return ""
    if not all(is_same(value) for is_same, value in zip(before, answer, strict=True)):
        return ""
    nouns = " and ".join(_noun(value) for value in functions)
    return f"(The same {nouns} as in your last check. If you changed its cell since, run that cell first.)"


def _noun(value: object) -> str:
    name = getattr(value, "__name__", "")
    return f"`{name}`" if name else "answer"


def reads_like(answer: object, stub: str) -> bool:
    """Say whether a function or class of the answer still reads as a definition in `stub` does; comments do not count."""
    mine = definition_of(answer)
    return mine is not None and any(ast.dump(mine) == ast.dump(node) for node in ast.parse(stub).body)


def definition_of(answer: object) -> ast.stmt | None:
    """Return the definition that a function, a class or an instance of one was made by, if its source is at hand."""
    kind = answer if inspect.isfunction(answer) or inspect.isclass(answer) else type(answer)
    code = _code_of(kind)
    if code is None or whose(code.co_filename) != USER:
        return None
    try:
        body = ast.parse("".join(linecache.getlines(code.co_filename))).body
    except SyntaxError:  # a cell with a magic
        return None
    named = [node for node in body if getattr(node, "name", None) == kind.__name__]
    return named[-1] if named else None


def _code_of(kind: Any) -> CodeType | None:
    if inspect.isfunction(kind):
        return kind.__code__
    codes = [member.__code__ for member in vars(kind).values() if inspect.isfunction(member)]
    return codes[0] if codes else None
