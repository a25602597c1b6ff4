"""Pictures of what was measured elsewhere: the one place that imports matplotlib, and only when a picture is asked for."""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from devicelab.errors import InputError
from devicelab.html import escape

if TYPE_CHECKING:
    from devicelab.trace import Trace

STEPS = 3  # of a training that a timeline shows
# Told apart with any kind of colour vision (Okabe and Ito's palette), and by their names in the legend.
COLOURS = {
    "forward": "#0072B2",
    "backward": "#D55E00",
    "optimizer": "#009E73",
    "other": "#999999",
    "copy": "#CC79A7",
    "wait": "#F0E442",
}


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


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("A picture needs matplotlib: python -m pip install matplotlib.") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def timeline(trace: "Trace") -> Picture:
    """Return a picture of a trace: a row for each device, a bar for each operator, copy and wait; time in ms.

    Of a training it shows the first steps, from the first forward pass on.
    """
    begin, end = _window(trace)
    rows = sorted({event.device for event in trace.events}) or ["cpu"]
    figure = _figure(9, 1.2 + 0.5 * len(rows))
    axes = figure.subplots()
    shown = [name for name in COLOURS if any(event.phase == name for event in trace.events)]
    for name in shown:
        for number, row in enumerate(rows):
            events = [event for event in trace.events if (event.phase, event.device) == (name, row)]
            spans = [(1e3 * event.begin, 1e3 * event.seconds) for event in events]
            axes.broken_barh(
                spans, (number - 0.35, 0.7), facecolors=COLOURS[name], label=None if number else name
            )
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlim(1e3 * begin, 1e3 * end)
    axes.set_xlabel(f"ms since the start ({trace.origin})")
    if shown:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    alt = f"Timeline of {1e3 * (end - begin):.3g} ms ({trace.origin}): {trace.verdict()}"
    return Picture(_png(figure), alt)


def _window(trace: "Trace") -> tuple[float, float]:
    """Return the seconds at which the picture begins and ends: the first steps of a training, else everything."""
    begin = next((event.begin for event in trace.events if event.phase == "forward"), 0.0)
    end, steps, before = trace.seconds, 0, ""
    for event in trace.events:
        if before == "optimizer" and event.phase != "optimizer":
            steps += 1
        if steps == STEPS:
            end = event.begin
            break
        before = event.phase
    return begin, max(end, begin + 1e-9)
