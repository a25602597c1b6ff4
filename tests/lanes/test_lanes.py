"""Lanes: what they count, what a picture keeps of them, and that every form says the same."""

import pytest

from devicelab.lanes import KINDS, WAIT, Bar, Lane, Lanes, Track, busy, scene

HOST = Lane("cpu", "CPU", (Bar(0, 2, "other", "aten::add", 1), Bar(2, 3, WAIT, "item")))
CARD = Lane("cuda:0", "cuda:0", (Bar(2, 2, "other", "aten::add", 1), Bar(3, 2, "copy", "cpu -> cuda:0")))


def test_working_and_waiting_are_told_apart_and_no_time_counts_twice():
    assert (busy(HOST), busy(HOST, waiting=True), busy(CARD)) == (2, 3, 3)


def test_plain_data_have_microseconds_and_names_by_number():
    plain = scene.plain([Track((HOST, CARD))])
    host, card = plain["tracks"][0]["lanes"]
    assert host["bars"] == [[0, 2e6, KINDS.index("other"), 0, 1], [2e6, 3e6, KINDS.index(WAIT), 1, -1]]
    assert card["bars"][0][4] == 1 and plain["length"] == 5e6
    assert plain["names"] == ["aten::add", "item", "cpu -> cuda:0"]


def test_of_very_many_bars_neighbours_become_one_and_the_work_stays():
    bars = tuple(Bar(1e-6 * number, 1e-6, "forward", "aten::add", number) for number in range(5000))
    few = scene.fewer(bars, 1.0)
    assert len(few) < 20 and sum(bar.seconds for bar in few) == pytest.approx(5e-3)
    assert few[0].name.endswith(" operators") and len(scene.fewer(bars[:300], 1.0)) == 300


def test_the_still_says_what_the_text_says():
    pytest.importorskip("matplotlib")
    lanes = Lanes("Who?", "simulated, Tesla T4", (Track((HOST, CARD), "a title", 5.0),), "The CPU waited.")
    assert str(lanes) == "Who? (simulated, Tesla T4)\n  The CPU waited."
    picture = lanes.still()
    assert picture.alt == "Who? (simulated, Tesla T4) The CPU waited."
    assert picture.png.startswith(b"\x89PNG") and len(picture.png) < 60_000


@pytest.mark.parametrize("length", [3e-9, 1.9e-6, 0.07, 1.0, 4e3])
def test_an_axis_has_few_round_ticks(length):
    from devicelab.lanes.still import ticks

    every = ticks(length)
    assert every[0] == 0 and 3 <= len(every) <= 7 and every[-1] <= length * (1 + 1e-9)
