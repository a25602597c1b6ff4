"""A placement, drawn."""

import pytest
import torch
from torch import nn

import devicelab as lab
from devicelab import simulate_gpu
from devicelab.film import placed
from devicelab.film.still import dots_at
from devicelab.placement import Placement


@pytest.fixture
def there():
    with simulate_gpu("Tesla T4"):
        yield "cuda:0"


def test_it_is_the_placement_as_ever_and_one_step_of_a_film(there):
    model, x = nn.Linear(10, 2).to(there), torch.ones(3)
    found = lab.placement(model, x)
    assert isinstance(found, Placement) and [place.name for place in found.misplaced] == ["x"]
    drawn = {look[4] or "x": look[0] for look, _ in dots_at(found.data(), 0)}
    assert drawn == {"x": 0, "weight": 1, "bias": 1}
    assert found.data()["steps"][0]["say"] == found.sentence and found.data()["code"] == []


def test_gradients_are_not_among_what_was_asked_for():
    model = nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    found = lab.placement(model)
    assert len(dots_at(found.data(), 0)) == len(found.places) == 2


def test_names_that_begin_alike_and_objects_without_a_name():
    net, net2 = nn.Linear(1, 1), nn.Linear(1, 1, bias=False)
    fences = [fence[0] for fence in lab.placement(net, net2, [torch.ones(1)]).data()["fences"]]
    assert fences == ["net", "net2", "list (3)"]


def test_as_html_the_still_stands_above_the_lines(there):
    x = torch.ones(3)
    html = lab.placement(x, y=torch.ones(2, device="cuda"))._repr_html_()
    assert html.startswith("<figure><img alt=") and "stayed on cpu: x." in html
    assert "<li>x  cpu  [3]  12 B  (tensor)</li>" in html and x.is_cpu


def test_what_stays_on_purpose_is_not_counted_with_what_was_left_behind(there):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    adam.step()
    model.to(there)
    rows = {
        look[4]: (look[2], look[7])
        for look, _ in dots_at(lab.placement(model, adam).data(), 0)
        if look[6] > 1
    }
    assert rows == {"optimizer state": ("8 tensors", ""), "optimizer state, on purpose": ("4 tensors", "")}


def test_nothing_at_all():
    assert "No tensor was found." in lab.placement(1)._repr_html_()


def test_what_cannot_be_drawn_is_told(monkeypatch):
    monkeypatch.setattr(placed, "Scenes", lambda *_: 1 / 0)
    found = lab.placement(torch.ones(2))
    assert "This could not be drawn" in found.data()["notes"][-1] and found.places
