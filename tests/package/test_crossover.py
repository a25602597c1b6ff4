"""The crossover: what picture, still and text say. The CPU's times are made up by a formula."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import devicelab as lab
from devicelab.crossover import ARTICLES, measure, published
from devicelab.crossover.published import SECONDS
from devicelab.crossover.scenes import NONE, decides
from devicelab.errors import InputError
from devicelab.results import Timing

T4, H100 = "Tesla T4", "NVIDIA H100 80GB HBM3"
WIDTHS = (10, 100, 1000, 10_000)


@pytest.fixture(autouse=True)
def nominal(monkeypatch):
    """A nominal host launches, and the CPU takes a microsecond for each of the width, with no spread and no other program."""
    monkeypatch.setenv("DEVICELAB_HOST", "nominal")
    clock = {"load": 0.1}

    def timeit(step, seconds):
        took = 1e-6 * getattr(step, "width", 10)
        return Timing((took,) * 4, 1, "cpu", "CPU", "measured", 1, load=clock["load"])

    monkeypatch.setattr(measure, "timeit", timeit)
    return clock


class Step:
    """A training step that knows its width; nothing but the estimate runs it."""

    def __init__(self, device, rows, width):
        self.width = width
        self.layer, self.data = nn.Linear(width, 2, device="meta"), torch.empty(rows, width, device="meta")

    def __call__(self):
        self.layer(self.data).square().mean().backward()


def crossing(**more):
    return lab.crossover(100, WIDTHS, step=Step, cards=(T4, H100), **more)


def test_the_lead_passes_from_the_cpu_to_the_card_where_their_ranges_part():
    found = crossing()
    card = found.data()["views"][0]["cards"][0]
    assert card["who"] == ["CPU", "", "GPU", "GPU"]
    assert found.widths == [*WIDTHS] and found.turn() == 1000 == found.turn(H100)
    assert card["heads"][1] == "Nobody can say who is faster" and "Their ranges overlap." in card["says"][1]
    assert "the GPU takes over at about a width of" in card["line"]


def test_what_decides_is_the_longer_of_launching_and_working():
    """Where the launches take longer, they decide, however much arithmetic lies hidden behind them."""
    for submit, work, bound, decided in (
        (4.0, 3.0, "compute", "launch"),
        (3.0, 4.0, "launch", "memory"),
        (3.0, 4.0, "compute", "memory"),
        (4.0, 3.0, "transfer", "transfer"),
    ):
        made = SimpleNamespace(submit=submit, work=work, bound=bound, compute=1.0, memory=2.0)
        assert decides(made) == decided


def test_how_much_faster_goes_from_the_worst_case_to_the_best():
    found = crossing().data()["views"][0]
    low, _, high = found["cards"][0]["times"][2]
    assert found["cards"][0]["heads"][2] == f"The GPU is {1e-3 / high:.1f} to {1e-3 / low:.0f} times as fast"


def test_launching_and_working_are_two_numbers_and_a_step_is_not_their_sum():
    for card in crossing().data()["views"][0]["cards"]:
        for (submit, work, *_), (_, middle, _) in zip(card["bars"], card["times"], strict=True):
            assert max(submit, work) <= middle <= submit + work


def test_a_larger_card_launches_no_faster():
    t4, h100 = crossing().data()["views"][0]["cards"]
    assert t4["bars"][0][0] == h100["bars"][0][0] and t4["bounds"][0] == h100["bounds"][0] == "launching"
    assert t4["bars"][-1][1] > h100["bars"][-1][1]  # the work, which launches may hide


def test_on_a_busy_machine_a_gap_that_the_load_may_explain_is_nobodys(nominal):
    nominal["load"] = 5.0
    card = crossing().data()["views"][0]["cards"][0]
    assert card["who"][2] == "" and "This machine was busy" in card["says"][2]
    assert "this machine was busy" in card["line"]


def test_picture_still_and_text_say_the_same():
    found = crossing()
    first, second = found.data()["views"]
    json.dumps(found.data())
    text = str(found)
    for card in first["cards"]:
        assert card["line"] in text
    for stop, width in enumerate(WIDTHS):
        assert (
            f"w = {width:,}: CPU {first['cpu']['texts'][stop]} measured; Tesla T4 {first['cards'][0]['texts'][stop]} estimated"
            in text
        )
    for head in second["cards"][0]["heads"]:
        assert head in text
    still = found.still()
    assert first["cards"][0]["line"] in still.alt and still.png.startswith(b"\x89PNG")


def test_the_articles_own_step_is_the_default_and_nobody_published_its_time():
    first = lab.crossover(widths=ARTICLES[:1], cards=T4).data()["views"][0]
    assert first["home"] == "the article's size" and "Linear(w, 2)" in first["work"]
    assert NONE in first["notes"] and NONE not in crossing().data()["views"][0]["notes"]


def test_where_there_are_published_times_the_line_is_held_against_them():
    layers = published()
    assert [layer.width for layer in layers] == sorted(SECONDS)
    view = crossing().data()["views"][1]
    assert view["dots"] == [layer.seconds for layer in layers]
    for layer, says in zip(layers, view["cards"][0]["says"], strict=True):
        assert ("inside" if layer.within else "outside") in says
    assert any("fitted" in note for note in view["notes"])


def test_the_present_card_comes_first_where_the_catalogue_knows_it():
    with lab.simulate_gpu("NVIDIA L4"):
        found = lab.crossover(100, (10,), step=Step)
    names = [card["name"] for card in found.data()["views"][0]["cards"]]
    assert names[0] == "NVIDIA L4" and len(names) == len(set(names))


def test_an_interrupted_measurement_keeps_what_it_has(monkeypatch):
    whole = measure.timeit

    def interrupted(step, seconds):
        if step.width == 1000:
            raise KeyboardInterrupt
        return whole(step, seconds)

    monkeypatch.setattr(measure, "timeit", interrupted)
    found = crossing()
    assert found.widths == [10, 100]
    assert any("Left out: 2 interrupted." in note for note in found.data()["views"][0]["notes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rows": 0}, "rows must be between 1 and"),
        ({"widths": ()}, "the number of widths must be between"),
        ({"step": 3}, "step must be a function of"),
        ({"cards": ()}, "cards are 1 to 8 names"),
        ({"cards": "GTX 9000"}, "GTX 9000"),
        ({"budget": 0}, "budget must be between"),
    ],
)
def test_bad_input_gets_one_sentence(arguments, words):
    with pytest.raises(InputError, match=words):
        lab.crossover(**arguments)


def test_a_step_is_checked_before_it_is_timed():
    with pytest.raises(InputError, match="crossover, which called step"):
        lab.crossover(step=lambda device, rows, width: None, widths=(10,))


def test_an_estimate_with_this_computers_host_says_so(monkeypatch):
    monkeypatch.delenv("DEVICELAB_HOST")
    layer, data = nn.Linear(4, 4), torch.ones(2, 4)
    assert "on this computer's host: " in str(lab.estimate(layer, data, host="here"))
    assert "on a nominal host" in str(lab.estimate(layer, data))
    with pytest.raises(InputError, match='"nominal" or "here"'):
        lab.estimate(layer, data, host="there")
