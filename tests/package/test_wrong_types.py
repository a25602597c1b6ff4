"""What is no number, no name and no path is told in the package's own words, wherever it is given."""

from typing import Any

import pytest

import devicelab as lab
from devicelab.errors import InputError, check_range

given: Any = lab  # of no type that a checker could hold against the arguments
GIVEN = {
    "a number for a card to estimate": (lambda: given.estimate(list, gpu=5), "given by its name"),
    "a number to add to the cards": (lambda: given.gpus().add(5), "or keywords as its datasheet has them"),
    "a list to find among the cards": (lambda: given.gpus().find(["Tesla T4"]), "given by its name"),
    "a number for a script": (lambda: given.doctor(5), "script must be the name of a file or folder"),
    "nought for a script": (lambda: given.doctor(0), "script must be the name of a file or folder"),
    "a number for a folder": (lambda: given.recordings(5), "folder must be the name of a file or folder"),
    "a list for a folder": (lambda: given.recordings([]), "folder must be the name of a file or folder"),
    "a list for an exercise": (lambda: given.progress([]), "There is no exercise"),
    "a word for an interval": (lambda: given.monitor(interval="x"), "interval must be a number"),
    "true for an interval": (lambda: given.monitor(interval=True), "interval must be a number"),
    "half a device": (lambda: given.monitor(device=0.5), "device must be a whole number"),
    "true for rows": (lambda: given.compare(rows=True), "rows must be a whole number"),
    "half a feature": (lambda: given.compare(width=1.5), "width must be a whole number"),
    "a word for seconds": (lambda: given.timeit(list, seconds="1"), "seconds must be a number"),
    "a word for a budget": (lambda: given.estimate(list, budget="1"), "budget must be a number"),
}


@pytest.mark.parametrize(("call", "words"), GIVEN.values(), ids=GIVEN)
def test_it_is_told(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf"), float("nan")])
def test_a_number_beyond_all_bounds_is_told(value):
    with pytest.raises(InputError, match="seconds must be"):
        check_range("seconds", value, 0.1, 600)


def test_numbers_of_numpy_are_numbers():
    numpy = pytest.importorskip("numpy")
    check_range("rows", numpy.int64(5), 1, 10)
    check_range("seconds", numpy.float32(0.5), 0.1, 600)


def test_a_simulation_that_is_started_twice_is_stopped_once():
    simulation = lab.simulate_gpu("Tesla T4")
    assert simulation.start() is simulation
    simulation.stop()
    assert not simulation.active and repr(simulation).endswith("stopped>")
