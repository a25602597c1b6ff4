"""What can be no card, no number of cards: each is told what was wrong, what is expected and what to write."""

import re

import pytest

from devicelab import gpus
from devicelab.errors import InputError
from devicelab.simgpu import current, simulate_gpu

WRITE = 'Write simulate_gpu("Tesla T4"), or simulate_gpu("Tesla T4", count=2) for two of them; lab.gpus() lists the names.'
ONE_KIND = "All cards of one simulation are of one kind."
NAMES = {
    "a number": (5, f"needs the name of a card, but it got 5. {WRITE}"),
    "nought": (0, f"needs the name of a card, but it got 0. {WRITE}"),
    "true": (True, f"needs the name of a card, but it got True. {WRITE}"),
    "false": (False, f"needs the name of a card, but it got False. {WRITE}"),
    "an empty list": ([], f"needs the name of a card, but it got a list. {ONE_KIND} {WRITE}"),
    "two cards": (["T4", "T4"], f"needs the name of a card, but it got a list. {ONE_KIND} {WRITE}"),
    "unlike cards": (
        ("T4", "NVIDIA L4"),
        f"needs the name of a card, but it got a tuple. {ONE_KIND} {WRITE}",
    ),
    "cards with counts": ({"T4": 2}, f"needs the name of a card, but it got a dict. {ONE_KIND} {WRITE}"),
    "nothing in quotes": ("", f"needs the name of a card, but it got ''. {WRITE}"),
    "spaces": ("  ", f"needs the name of a card, but it got '  '. {WRITE}"),
    "bytes": (b"T4", f"needs the name of a card, but it got a bytes. {WRITE}"),
    "a card's object": (next(iter(gpus())), f"needs the name of a card, but it got a Card. {WRITE}"),
    "an unknown card": ("Voodoo 2", "Tesla T4"),
    "a name that fits several": ("A100", "NVIDIA A100"),
}


@pytest.mark.parametrize(("name", "words"), NAMES.values(), ids=NAMES)
def test_what_is_no_name_of_a_card_is_told(name, words):
    with pytest.raises(InputError, match=re.escape(words)):
        simulate_gpu(name)
    assert current() is None


@pytest.mark.parametrize("count", [0, -1, 9, 10**6])
def test_a_number_of_cards_that_cannot_be_is_told_with_its_bounds(count):
    with pytest.raises(InputError, match=re.escape(f"count must be between 1 and 8, but it is {count:,}.")):
        simulate_gpu("T4", count=count)


@pytest.mark.parametrize("count", ["2", 2.0, True, None, [2], float("nan"), "T4"])
def test_what_is_no_number_of_cards_is_told(count):
    words = f"count is how many cards there are, a whole number from 1 to 8, but it is {count!r}."
    with pytest.raises(InputError, match=re.escape(words)):
        simulate_gpu("T4", count=count)


def test_two_unlike_cards_as_two_arguments_are_told():
    with pytest.raises(InputError, match=r"count is how many cards there are, .* but it is 'NVIDIA L4'"):
        simulate_gpu("T4", "NVIDIA L4")


def test_no_name_is_the_usual_card():
    with simulate_gpu(None) as simulation:
        assert simulation.cards[0].spec.name == "Tesla T4"
