"""The picture of a trace."""

from devicelab.picture import Picture, figure, picture

from .result import Observed
from .words import verdict

STEPS = 3  # of a training that a timeline shows
MARGIN = 50  # left of the begin, as a part of the width: a bar at the very begin stands clear of the frame
THINNEST = 150  # a bar is at least this part of the width, so that a short operator can be seen
# Told apart with any kind of colour vision (Okabe and Ito's palette), and by their names in the legend.
COLOURS = {
    "forward": "#0072B2",
    "backward": "#D55E00",
    "optimizer": "#009E73",
    "other": "#999999",
    "copy": "#CC79A7",
    "wait": "#F0E442",
}


def timeline(trace: Observed, whole: bool = False) -> Picture:
    """Return a picture of a trace: a row for each device, a bar for each operator, copy and wait; time in ms.

    Of a training it shows the first steps, from the first forward pass on; with `whole`, everything.
    """
    begin, end = (0.0, max(trace.seconds, 1e-9)) if whole else _window(trace)
    thinnest = 1e3 * (end - begin) / THINNEST
    rows = sorted({event.device for event in trace.events}) or ["cpu"]
    drawn = figure(9, 1.2 + 0.5 * len(rows))
    axes = drawn.subplots()
    shown = [name for name in COLOURS if any(event.phase == name for event in trace.events)]
    for name in shown:
        for number, row in enumerate(rows):
            events = [event for event in trace.events if (event.phase, event.device) == (name, row)]
            spans = [(1e3 * event.begin, max(1e3 * event.seconds, thinnest)) for event in events]
            axes.broken_barh(
                spans, (number - 0.35, 0.7), facecolors=COLOURS[name], label=None if number else name
            )
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xlim(1e3 * (begin - (end - begin) / MARGIN), 1e3 * end)
    axes.set_xlabel(f"ms since the start ({trace.origin})")
    if shown:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    alt = f"Timeline of {1e3 * (end - begin):.3g} ms ({trace.origin}): {verdict(trace)}"
    return picture(drawn, alt)


def _window(trace: Observed) -> tuple[float, float]:
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
