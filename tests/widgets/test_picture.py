"""One output for every place: a widget where one can be drawn, the still picture, the text."""

import sys
from types import SimpleNamespace

import pytest
import torch

import devicelab as lab
from devicelab import picture
from devicelab.picture import Moving, Picture
from devicelab.widgets import modules

VIEW = "application/vnd.jupyter.widget-view+json"


class Dial(Moving):
    """A picture that shows one number."""

    module = "film"

    def data(self):
        return {"steps": [{}]}

    def still(self):
        return Picture(b"png", "a dial at 3")

    def __str__(self):
        return "3"


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setattr(picture, "in_notebook", lambda: True)


def test_at_a_prompt_it_is_its_text_alone():
    assert Dial()._repr_mimebundle_() == ({"text/plain": "3"}, {})


def test_without_anywidget_the_still_stands_there(notebook, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    monkeypatch.delitem(sys.modules, "devicelab.widgets.picture", raising=False)
    data, _ = Dial()._repr_mimebundle_()
    assert set(data) == {"text/html", "text/plain"} and 'alt="a dial at 3"' in data["text/html"]


def test_without_matplotlib_the_text_stands_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with lab.film() as film:
        x = torch.ones(2)
    assert len(x) == 2 and film._repr_html_().startswith("<p>Where is each tensor?")


def test_in_a_notebook_it_is_alive_and_says_the_same_elsewhere(notebook, monkeypatch):
    widgets = pytest.importorskip("devicelab.widgets.picture", reason="anywidget is not installed")
    made, kind = [], widgets._kind
    monkeypatch.setattr(
        widgets, "_kind", lambda name: lambda data: made.append(kind(name)(data=data)) or made[-1]
    )
    data, _ = Dial()._repr_mimebundle_()
    assert set(data) == {VIEW, "text/html", "text/plain"}
    [model] = made
    assert data[VIEW]["model_id"] == model.model_id and (model.data, model.step) == ({"steps": [{}]}, 0)
    assert model._esm == modules.standalone("film") and "dl-picture" in model._css


def test_what_colab_needs_to_know_is_passed_on(notebook, monkeypatch):
    widgets = pytest.importorskip("devicelab.widgets.picture", reason="anywidget is not installed")
    said = {VIEW: {"colab": {"custom_widget_manager": {}}}}
    monkeypatch.setattr(
        widgets.Drawing, "_repr_mimebundle_", lambda self: ({VIEW: {}, "text/plain": ""}, said)
    )
    assert Dial()._repr_mimebundle_() == (
        {VIEW: {}, "text/html": Dial()._repr_html_(), "text/plain": "3"},
        said,
    )


def test_a_film_is_shown_when_its_block_ends_after_an_error_too(notebook, monkeypatch):
    pytest.importorskip("IPython")
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    with lab.film() as film:
        pass
    with pytest.raises(ZeroDivisionError), lab.film() as refused:
        1 / 0  # noqa: B018
    assert shown == [film, refused]


def test_in_a_kernel_there_is_a_notebook(monkeypatch):
    assert not picture.in_notebook()
    shell = SimpleNamespace(kernel=object())
    module = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython.core.getipython", module)
    assert picture.in_notebook()
