"""A picture with its sentence: the one place that imports matplotlib, and only when a picture is asked for."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from devicelab.errors import InputError
from devicelab.html import escape


@dataclass(frozen=True)
class Picture:
    """A picture as PNG bytes, with the sentence that says what it shows."""

    png: bytes
    alt: str

    def __repr__(self) -> str:
        return f"[picture: {self.alt}]"

    def _repr_html_(self) -> str:
        data = b64encode(self.png).decode()
        text = escape(self.alt)
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


def picture(figure: Any, alt: str) -> Picture:
    """Return a drawn matplotlib figure as a Picture."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return Picture(buffer.getvalue(), alt)
