"""Pictures that move: an ES module draws them from plain data, in the browser, without the kernel."""

import re
from functools import cache
from importlib import resources
from typing import Any

import anywidget
import traitlets

_IMPORT = re.compile(r'^import [^;]* from "\./(\w+)\.js";$', re.MULTILINE)


class Drawing(anywidget.AnyWidget):
    """A picture with its data, and the step that is shown, which the browser moves."""

    data = traitlets.Dict().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)


def alive(module: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return what a notebook's output holds of a picture that `module` draws: a reference to a new widget.

    Where no frontend draws widgets, whatever stands beside it in the output is shown instead.
    """
    bundle = _kind(module)(data=data)._repr_mimebundle_()
    found = bundle[0] if isinstance(bundle, tuple) else bundle
    return {kind: value for kind, value in (found or {}).items() if kind != "text/plain"}


@cache
def _kind(module: str) -> type[Drawing]:
    """Return the class of all pictures that one module draws."""
    return type(Drawing.__name__, (Drawing,), {"_esm": standalone(module), "_css": source("style.css")})


def standalone(module: str) -> str:
    """Return an ES module with all that it imports before it: the module that a notebook keeps can fetch nothing."""
    texts = [source(f"{name}.js") for name in _with_imports(module)]
    shared = (re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE) for text in texts)
    return "\n".join(_IMPORT.sub("", text) for text in shared)


def _with_imports(module: str, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the names of the modules that one needs, each after those that it needs itself."""
    for name in _IMPORT.findall(source(f"{module}.js")):
        known = _with_imports(name, known)
    return known if module in known else (*known, module)


def source(name: str) -> str:
    """Return the text of a file beside this one."""
    return resources.files(__package__).joinpath(name).read_text("utf-8")
