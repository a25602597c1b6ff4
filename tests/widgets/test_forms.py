"""Widgets that answer: an error of the answer itself is said where the answer would stand."""

import pytest

forms = pytest.importorskip("devicelab.widgets.forms", reason="ipywidgets is not installed")


def fails(*asked):
    raise KeyError("<b>nothing</b>")


def test_an_error_inside_a_callback_is_said_in_place_of_the_answer():
    choice = forms.choice("Where?", ["here", "there"], None, fails)
    number = forms.number("How many?", "bytes", "", "not sure", fails)
    asked = forms.buttons({"Ask": fails})
    choice.children[0].value = "here"
    number.children[0].children[0].value = "8"
    asked.children[0].children[0].click()
    for made in (choice, number, asked):
        said = made.children[-1].value
        assert said.startswith("<p>This could not be answered (KeyError: ") and "<b>" not in said


def test_an_answer_is_shown_as_it_is():
    asked = forms.buttons({"Ask": lambda: "<p>here</p>"})
    asked.children[0].children[0].click()
    assert asked.children[-1].value == "<p>here</p>"
