"""Charts lie on a ground that they do not know: a light theme's or a dark one's."""

from io import BytesIO

import pytest

from devicelab.canvas import CHART_CPU, CHART_GPU, CHART_INK, chart
from devicelab.picture import picture

GROUNDS = ("#ffffff", "#111111")  # JupyterLab's light theme and its dark one


def luminance(colour):
    """Return the relative luminance, as WCAG 2 defines it."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", GROUNDS)
def test_ink_and_hues_can_be_read_on_both_grounds(ground):
    assert contrast(CHART_INK, ground) > 4  # more than 4.3 on both is not possible
    assert min(contrast(hue, ground) for hue in (CHART_CPU, CHART_GPU)) > 3  # WCAG's bound for graphics


def test_a_chart_has_no_ground_of_its_own_and_room_at_1000_pixels():
    image = pytest.importorskip("PIL.Image")
    drawn, [first, second] = chart(8, 3, rows=2)
    first.set_xlabel("seconds")
    shown = image.open(BytesIO(picture(drawn, "alt").png))
    assert shown.mode == "RGBA" and shown.getpixel((2, 2))[3] == 0
    assert shown.getpixel((shown.width // 2, shown.height // 4))[3] < 100  # inside the axes: at most the grid
    assert 800 < shown.width <= 1000
    assert first.xaxis.label.get_color() == CHART_INK and second.get_position().y0 < first.get_position().y0
