"""Names of torch that are replaced for a while, and put back exactly as they were.

`replaced.yaml` says of each name what it is for, and whether placement rests on it. A name that this PyTorch lacks is spoken
of: where placement rests on it the simulation does not start, else it is noted in `missing`, which the doctor prints.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module, resources
from importlib.util import find_spec
from typing import Any

import torch
import yaml

from devicelab import versions
from devicelab.errors import SimulationError
from devicelab.source import USER, whose

_ABSENT = object()
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
TRIES = 100  # of putting back what signals interrupt
VERBS = ("replace", "add", "answer", "use")
CUDA_BUILD = hasattr(torch._C, "_cuda_init")
# Of the libraries' modules: their id, how many names they have, and which of these hold what was sought last. A library binds
# them as it is imported, so one that has no more names than before is not searched again; the user's always is.
_sought: set[int] = set()
_searched: dict[str, tuple[int, int, tuple[str, ...]]] = {}


@dataclass(frozen=True)
class Name:
    """One name of the table: `verb` is replace or use (it must be there), add (it must not), or answer (there in a CUDA build);
    `what` it is for; `since` which release of PyTorch it is there.
    """

    path: str
    verb: str
    what: str
    placement: bool
    since: tuple[int, int]

    @property
    def expected(self) -> bool:
        """Whether the installed PyTorch must have the name."""
        there = self.verb in ("replace", "use") or (
            self.verb == "answer" and CUDA_BUILD and not self.path.endswith("*")
        )
        return there and versions.release(torch.__version__) >= self.since


@cache
def table() -> dict[str, Name]:
    """Return what replaced.yaml says, by path ("torch.Tensor.to"). A path that ends in `*` stands for all that begin so."""
    text = (resources.files(__package__) / "replaced.yaml").read_text(encoding="utf-8")
    names = [
        _named(verb, owner, word, group)
        for group in yaml.load(text, Loader=LOADER)
        for verb in VERBS
        for owner, words in group.get(verb, {}).items()
        for word in words.split()
    ]
    return {name.path: name for name in names}


def _named(verb: str, owner: str, word: str, group: dict[str, Any]) -> Name:
    """Return the name for a word of the table: "emptyCache", or "emptyCache>=2.9" where only later releases have it."""
    attribute, _, since = word.partition(">=")
    path = f"{owner}.{attribute}"
    return Name(path, verb, group["what"], group["placement"], versions.release(since))


@cache
def known(path: str) -> Name:
    """Return the table's entry for a path; raises KeyError for a name that nobody explained."""
    names = table()
    stars = (star for star in names if star.endswith("*") and path.startswith(star[:-1]))
    return names[path if path in names else next(stars, path)]


@cache
def owner_of(path: str) -> Any:
    """Return the module or class that holds a name, importing modules on the way; None where there is no such place."""
    words = path.split(".")[:-1]
    found: Any = None
    for number, word in enumerate(words, 1):
        try:
            found = getattr(found, word, None) or import_module(".".join(words[:number]))
        except ImportError:
            return None
    return found


def is_there(path: str) -> bool:
    """Whether this PyTorch has a name."""
    return hasattr(owner_of(path), path.rpartition(".")[2])


def lacking() -> list[str]:
    """Return the names that the table expects and this PyTorch does not have, each with what it is for."""
    expected = [name for name in table().values() if name.expected and find_spec(name.path.split(".")[0])]
    return [f"{name.path} ({name.what})" for name in expected if not is_there(name.path)]


class Patches:
    """What one simulation has replaced, in order; `undo` puts everything back, last one first."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self._undo: list[tuple[Any, str, Any]] = []
        self._held: set[tuple[int, str]] = set()
        self._everywhere: dict[int, tuple[Any, Any]] = {}
        self._waiting: dict[str, list[Callable[[], object]]] = {}

    def has(self, path: str) -> bool:
        """Whether a name that is to be replaced is there; where it is not, that is spoken of as in `replace`."""
        return self._speak(path, "replace")

    def replace(self, path: str, value: Any) -> None:
        """Replace a name, which must be there."""
        if self.has(path):
            self._set(path, value)

    def wrap(self, path: str, stand_in: Callable[[Any], Any]) -> None:
        """Replace a name by what `stand_in` makes of it."""
        if self.has(path):
            self._set(path, stand_in(getattr(owner_of(path), path.rpartition(".")[2])))

    def add(self, path: str, value: Any) -> None:
        """Add a name, which must not be there."""
        if self._speak(path, "add"):
            self._set(path, value)

    def answer(self, path: str, value: Any) -> None:
        """Answer in the place of CUDA's C++, which only a CUDA build has."""
        if self._speak(path, "answer"):
            self._set(path, value)

    def everywhere(self, path: str, stand_in: Callable[[Any], Any]) -> None:
        """Replace a function as `wrap` does, under every name that a module gave it (`from torch import zeros`)."""
        if self.has(path):
            original = getattr(owner_of(path), path.rpartition(".")[2])
            self.all_of({original: stand_in(original)})

    def all_of(self, replacements: Mapping[Any, Any]) -> None:
        """Note functions that `search` is to replace under every name that a module gave them."""
        self._everywhere |= {id(original): (original, value) for original, value in replacements.items()}

    def later(self, module: str, step: Callable[[], object]) -> None:
        """Take a step that replaces names of a module: now, or once the module is loaded."""
        if module in sys.modules:
            step()
        else:
            self._waiting.setdefault(module, []).append(step)

    def arrived(self, modules: Iterable[str]) -> None:
        """Replace what is to be replaced in modules that were loaded just now."""
        for name in [name for name in self._waiting if name in sys.modules]:
            for step in self._waiting.pop(name):
                step()
        self.search(modules)

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Put everything back while a block runs."""
        held = [(owner, attribute, vars(owner).get(attribute, _ABSENT)) for owner, attribute, _ in self._undo]
        for owner, attribute, before in reversed(self._undo):
            _restore(owner, attribute, before)
        try:
            yield
        finally:
            for owner, attribute, value in held:
                _restore(owner, attribute, value)

    def search(self, modules: Iterable[str] | None = None) -> None:
        """Replace what `everywhere` was given, in the modules of these names, or in all that are loaded."""
        by_id, wanted = self._everywhere, set(self._everywhere)
        if wanted != _sought:
            _searched.clear()
            _sought.clear()
            _sought.update(wanted)
        for title in list(sys.modules) if modules is None else modules:
            module = sys.modules.get(title)
            names = getattr(module, "__dict__", {})
            known, size, holding = _searched.get(title, (0, 0, ()))
            if size != len(names) or known != id(module):
                holding = ()
                values = list(names.values())
                if not wanted.isdisjoint(map(id, values)):  # it is, of nearly all: some 100,000 names
                    holding = tuple(name for name, held in list(names.items()) if id(held) in wanted)
                if whose(names.get("__file__") or "") != USER:
                    _searched[title] = (id(module), len(names), holding)
            for name in holding:
                found = by_id.get(id(names.get(name)))
                if found:
                    self._put(module, name, found[1])

    def check_used(self) -> None:
        """Raise where a name that is used, but not replaced, is not there."""
        for path, name in table().items():
            if name.verb == "use" and not is_there(path):
                raise SimulationError(_stop(path, "use"))

    def undo(self) -> None:
        """Put everything back, also where one step fails; the first failure is raised at the end."""
        failures: list[BaseException] = []
        self._held.clear()
        self._everywhere.clear()
        self._waiting.clear()
        while self._undo:
            owner, attribute, before = self._undo[-1]
            try:
                _restore(owner, attribute, before)
            except (AttributeError, TypeError) as failure:
                failures.append(failure)
            except BaseException as failure:  # raised from outside, perhaps before anything was put back
                failures.append(failure)
                if len(failures) < TRIES:
                    continue
            self._undo.pop()
        if failures:
            raise failures[0]

    def _speak(self, path: str, verb: str) -> bool:
        """Return whether to go on with a name; raise where it is not as the table says and placement rests on it."""
        name = known(path)
        if name.verb != verb:
            raise SimulationError(f"replaced.yaml says {name.verb} of {path}, not {verb}.")
        there = is_there(path)
        if verb == "answer" or there == (verb == "replace"):
            if not there and name.expected:
                self.missing.append(path)
            return True
        if verb == "replace" and not name.expected:
            return False
        if name.placement:
            raise SimulationError(_stop(path, verb))
        self.missing.append(path)
        return False

    def _set(self, path: str, value: Any) -> None:
        self._put(owner_of(path), path.rpartition(".")[2], value)

    def _put(self, owner: Any, attribute: str, value: Any) -> None:
        """Replace `owner.attribute`, remembering what the owner itself held there, if anything."""
        if (id(owner), attribute) in self._held:
            raise SimulationError(
                f"{owner.__name__}.{attribute} is replaced a second time: the later would win unseen."
            )
        self._undo.append(
            (owner, attribute, vars(owner).get(attribute, _ABSENT))
        )  # first: it may be cut short here
        self._held.add((id(owner), attribute))
        setattr(owner, attribute, value)


def _restore(owner: Any, attribute: str, value: Any) -> None:
    """Have a name hold what it held, or nothing."""
    if value is not _ABSENT:
        setattr(owner, attribute, value)
    elif attribute in vars(owner):
        delattr(owner, attribute)


def _stop(path: str, verb: str) -> str:
    found = "is there already" if verb == "add" else "is missing"
    return versions.stop(f"{path}, on which placement rests, {found}", torch.__version__)


def run_all(callables: list[Callable[[], object]]) -> None:
    """Call all, last one first, emptying the list; what was raised first is raised after the last."""
    failures: list[BaseException] = []
    while callables:
        try:
            callables.pop()()
        except BaseException as failure:
            failures.append(failure)
    if failures:
        raise failures[0]
