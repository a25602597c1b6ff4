"""How results show themselves: as text, as a table, as a picture with its sentence.

This is the one place that imports matplotlib, and only when a picture is asked for.
"""

import sys
from base64 import b64encode
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from typing import Any

from . import html
from .errors import InputError

DPI = 110


class Shown:
    """A base for results: at a prompt they are their own text, in a notebook its lines are paragraphs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html.paragraphs(str(self))


@dataclass(frozen=True, repr=False)
class Table(Shown):
    """Rows of text under a header, as text and as HTML."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __str__(self) -> str:
        lines = columns([self.header, *self.rows])
        return "\n".join([self.caption, *lines] if self.caption else lines)

    def _repr_html_(self) -> str:
        return html.table(self.header, self.rows, self.caption)


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return rows as lines of text with aligned columns; those whose numbers are in `right` end at one place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = [str.rjust if number in right else str.ljust for number in range(len(widths))]
    lines = ((pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)) for row in rows)
    return ["  ".join(line).rstrip() for line in lines]


@dataclass(frozen=True)
class Picture:
    """A picture as PNG bytes, with the sentence that says what it shows."""

    png: bytes
    alt: str

    def __repr__(self) -> str:
        return f"[picture: {self.alt}]"

    def _repr_html_(self) -> str:
        data = b64encode(self.png).decode()
        text = html.escape(self.alt)
        return (
            f'<figure><img alt="{text}" src="data:image/png;base64,{data}" style="max-width:100%">'
            f"<figcaption>{text}</figcaption></figure>"
        )

    def save(self, path: str) -> None:
        """Write the PNG to a file."""
        with open(path, "wb") as file:
            file.write(self.png)


def figure(width: float, height: float) -> Any:
    """Return an empty matplotlib figure, sizes in inches, that no pyplot knows of; a missing matplotlib is an InputError."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("A picture needs matplotlib: python -m pip install matplotlib.") from None
    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn


def polygon(points: Sequence[tuple[float, float]], **style: Any) -> Any:
    """Return what matplotlib draws where these corners are."""
    from matplotlib.patches import Polygon

    return Polygon(points, closed=True, **style)


def picture(figure: Any, alt: str) -> Picture:
    """Return a drawn matplotlib figure as a Picture."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return Picture(buffer.getvalue(), alt)


def few_colours(figure: Any, alt: str) -> Picture:
    """Return a drawn matplotlib figure as a Picture with 64 colours: what has few of them takes a third of the bytes."""
    from PIL import Image  # matplotlib needs it too

    figure.set_dpi(DPI)
    figure.canvas.draw()
    buffer, pixels = BytesIO(), figure.canvas.buffer_rgba()
    image = Image.frombuffer("RGBA", pixels.shape[1::-1], pixels, "raw", "RGBA", 0, 1)
    image.convert("RGB").quantize(64).save(buffer, "png", optimize=True)
    return Picture(buffer.getvalue(), alt)


def in_notebook() -> bool:
    """Whether this Python is a notebook's kernel, so that more than text can be shown."""
    shell = getattr(sys.modules.get("IPython.core.getipython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


class Moving(Shown):
    """A base for pictures that move: alive where a notebook can draw them, else a still picture, else their text.

    `module` names the ES module in `widgets/` that draws `data()`, which is plain data for JSON.
    """

    __slots__ = ()
    module: str

    def data(self) -> dict[str, Any]:
        """Return what the moving picture is drawn from."""
        raise NotImplementedError

    def still(self) -> Picture:
        """Return the one picture that says the same where nothing moves."""
        raise NotImplementedError

    def show(self) -> None:
        """Show it now, in a notebook; elsewhere nothing is shown."""
        if in_notebook():
            from IPython.display import display

            display(self)

    def _repr_html_(self) -> str:
        try:
            return self.still()._repr_html_()
        except InputError:  # no matplotlib
            return html.paragraphs(str(self))

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return every form at once, so that each place takes what it can: alive, the still, the text."""
        if not in_notebook():
            return {"text/plain": str(self)}, {}
        try:  # by name: the widgets stand above all that is shown, and are loaded only now
            alive, metadata = import_module("devicelab.widgets.picture").alive(self.module, self.data())
        except ImportError:  # no anywidget
            alive, metadata = {}, {}
        return {**alive, "text/html": self._repr_html_(), "text/plain": str(self)}, metadata
