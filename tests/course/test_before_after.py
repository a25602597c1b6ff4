"""The end of the capstone: which faults are in a file is told by its runs, and the picture says what each one cost."""

import pytest

from devicelab import simulate_gpu
from devicelab.course.exercises.rescue import before_after
from devicelab.course.exercises.rescue.faults import BROKEN, FAULTS, edited, rescued
from devicelab.errors import InputError

NAMES = [fault.name for fault in FAULTS]


@pytest.fixture(autouse=True, scope="module")
def card():
    with simulate_gpu("Tesla T4"):
        yield


@pytest.fixture
def look(tmp_path):
    """Return a function that looks at a script's text as at a learner's file."""

    def looked(text: str):
        path = tmp_path / "train.py"
        path.write_text(text, encoding="utf-8")
        return before_after(path)

    return looked


def left(shown) -> list[str]:
    return [name for name, state in zip(NAMES, shown.found.states, strict=True) if state == "there"]


def test_as_given_all_eight_are_lit(look):
    shown = look(BROKEN.read_text("utf-8"))
    assert left(shown) == NAMES and shown.found.lent == 4 and shown.mended == 0


def test_mended_none_is_lit_and_the_step_is_shorter_by_what_the_slow_ones_cost(look):
    shown = look(rescued())
    before, after = shown.ladder[-1].step, shown.found.ran.step
    assert left(shown) == [] and shown.mended == 8
    assert before - after == pytest.approx(sum(shown.costs), rel=0.1) and min(shown.costs) > 0
    assert shown.result == "the losses and metrics that the same training gives"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_one_that_was_left_is_lit_alone(look, fault):
    assert left(look(rescued(fault))) == [fault.name]


def test_what_mends_a_fault_without_touching_its_line_counts(look):
    moved = "    criterion = WeightedMSE()\n    criterion.weights = criterion.weights.to(device)\n"
    text = edited(rescued(FAULTS[7]), "    criterion = WeightedMSE().to(device)\n", moved)
    assert left(look(text)) == []


def test_copies_are_shown_where_they_are_made(look):
    shown = look(rescued(FAULTS[2]).replace("CHANNELS)\n        return", "CHANNELS).to(x)\n        return"))
    assert left(shown) == [NAMES[7]] and shown.found.lent == 0
    assert "Most of it at train.py:46 `place = torch.linspace(-1, 1, CHANNELS).to(x)`" in shown.said(7)


def test_a_wrong_result_is_said(look):
    shown = look(edited(rescued(), "(errors < 0.5).sum()", "(errors < 0.1).sum()"))
    assert "'close' of epoch 1" in shown.result and shown.result in str(shown)


def test_a_file_that_does_not_train_is_no_faster_one(look):
    shown = look("raise RuntimeError('so far')\n")
    data = shown.data()
    assert shown.mended == 0 and "so far" in shown.found.problem and len(data["bars"]) == 1
    assert "does not train yet" in str(shown) and {light["state"] for light in data["lights"]} == {"not seen"}


def test_text_picture_and_data_say_the_same(look):
    shown = look(rescued(FAULTS[6]))
    data, text = shown.data(), str(shown)
    assert all(light["say"] in text for light in data["lights"]) and data["say"] in text
    assert [len(bar["pieces"]) for bar in data["bars"]] == [3, 2]
    assert shown.still().alt == text


def test_lanes_show_the_waits_that_went(look):
    before, after = look(rescued()).data()["lanes"]
    waits = [[event for event in lane["rows"][0]["events"] if event[2] == "wait"] for lane in (before, after)]
    assert [lane["rows"][0]["device"] for lane in (before, after)] == ["cpu", "cpu"]
    assert len(waits[0]) > 30 > len(waits[1]) > 0


def test_a_path_that_leads_nowhere_is_said():
    with pytest.raises(InputError, match="no file"):
        before_after("nowhere.py")
