"""Pictures that move: an ES module draws them from plain data, in the browser, without the kernel."""

from functools import cache
from typing import Any

import anywidget
import traitlets

from .modules import source, standalone


class Drawing(anywidget.AnyWidget):
    """A picture with its data, and the step that is shown, which the browser moves."""

    data = traitlets.Dict().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)


def alive(module: str, data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a notebook's output holds of a picture that `module` draws, a reference to a new widget, and its metadata.

    Where no frontend draws widgets, whatever stands beside it in the output is shown instead. Colab needs the metadata.
    """
    bundle = _kind(module)(data=data)._repr_mimebundle_()
    found, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
    return {kind: value for kind, value in found.items() if kind != "text/plain"}, metadata


@cache
def _kind(module: str) -> type[Drawing]:
    """Return the class of all pictures that one module draws."""
    return type(Drawing.__name__, (Drawing,), {"_esm": standalone(module), "_css": source("style.css")})
