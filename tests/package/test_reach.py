"""What can be reached from a value, and that no code of a user's class runs on the way."""

import random
from array import array
from collections import OrderedDict, UserDict, defaultdict, deque
from dataclasses import dataclass
from functools import partial
from typing import ClassVar
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn

from devicelab import estimate, placement
from devicelab.reach import MOST, Reach, inside
from devicelab.remember import Remembered


class Everything(Remembered):
    """Remembers all but the values of tensors."""

    def _follows(self, value):
        return True

    def _tensor(self, value):
        pass


def reached(value):
    walk = Reach(lambda way, found: ((way + step, held) for step, held in inside(found)))
    return dict(walk.walk([("x", value)]))


class Slotted:
    __slots__ = ("__hidden", "never_set", "weight")

    def __init__(self, weight):
        self.weight, self.__hidden = weight, weight.clone()


@dataclass(slots=True)
class Batch:
    inputs: torch.Tensor


class Own(dict):
    pass


@dataclass
class Named:
    tensor: torch.Tensor


W = torch.ones(1)


def closes_over(tensor):
    return lambda x: x * tensor


WAYS = {
    "a list": ([W], "x[0]"),
    "a queue": (deque([W]), "x[0]"),
    "a tuple": ((W,), "x[0]"),
    "a set": ({W}, "x{...}"),
    "a dict": ({"a": W}, "x['a']"),
    "a key": ({W: 1}, "x{...}"),
    "a dict of one's own": (UserDict(a=W), "x['a']"),
    "an ordered one": (OrderedDict(a=W), "x['a']"),
    "a default": (defaultdict(None, a=W), "x['a']"),
    "a slot": (Slotted(W), "x.weight"),
    "a private slot": (Slotted(W), "x._Slotted__hidden"),
    "a dataclass": (Named(W), "x.tensor"),
    "one with slots": (Batch(W), "x.inputs"),
    "a partial": (partial(print, 1, end=W), "x.keywords['end']"),
    "a method": (Named(W).__repr__, "x.__self__.tensor"),
    "a closure": (closes_over(W), "x.cell_contents"),
    "a default argument": (eval("lambda a=W: a", {"W": W}), "x.__defaults__[0]"),
    "a named global": (eval("lambda: W", {"W": W}), "x.W"),
}


@pytest.mark.parametrize("case", WAYS)
def test_a_tensor_is_reached_in(case):
    value, way = WAYS[case]
    assert torch.equal(reached(value)[way], W)


def test_the_attributes_of_a_dict_s_own_class_and_gradients_are_reached():
    own, leaf = Own(a=1), torch.ones(1, requires_grad=True)
    own.extra = leaf
    leaf.grad = torch.ones(1)
    assert reached(own)["x.extra.grad"] is leaf.grad


def test_circles_and_what_is_shared_are_met_once():
    loop: dict = {}
    loop["again"] = [loop, loop]
    assert list(reached(loop)) == ["x", "x['again']"]


class Trap:
    """Any of its code that is run shows in `.ran`."""

    ran: ClassVar[list] = []

    def __init__(self):
        self.__dict__["tensor"] = torch.ones(1)

    @property
    def costly(self):
        self.ran.append("property")
        raise OSError

    def __getattr__(self, name):
        self.ran.append(name)
        raise AttributeError(name)


class TrappedDict(dict):
    def items(self):
        raise OSError

    values = keys = __iter__ = items


class TrappedList(list):
    def __iter__(self):
        raise OSError


def test_no_code_of_a_user_s_class_is_run():
    value = [Trap(), TrappedDict(a=W), TrappedList([torch.ones(2)])]
    assert set(reached(value)) >= {"x[0].tensor", "x[1]['a']", "x[2][0]"}
    assert len(placement(value=value).places) == 3
    Everything([value]).restore()
    assert Trap.ran == []


class Proxy:
    """Says of itself that it is of another class, as mocks and lazy proxies do."""

    def __init__(self, value):
        self._wrapped = value

    @property  # type: ignore[misc]
    def __class__(self):
        return type(self._wrapped)


PRETENDED = {
    **{type(value).__name__: Proxy(value) for value in [
        W, {"a": W}, [W], (W,), {W}, nn.Linear(1, 1), torch.optim.SGD([W]), np.zeros(1), bytearray(b"a"),
        random.Random(0), torch.Generator(), (item for item in "a"), partial(print),
    ]},
    "a mock": Mock(spec=torch.Tensor),
    "a mock of a module": Mock(spec=nn.Module),
}  # fmt: skip


@pytest.mark.parametrize("kind", PRETENDED)
def test_what_only_says_that_it_is_of_a_class_is_looked_into_as_what_it_is(kind):
    value = PRETENDED[kind]
    assert estimate(lambda held: torch.ones(2), value).operators == 1
    assert [place.name for place in placement(value=value).places] == [
        place.name.replace("value", "value._wrapped")
        for place in placement(value=vars(value).get("_wrapped")).places
    ]


def test_a_structure_however_deep_is_reached_to_its_end_and_a_limit_is_told():
    deep = end = [W]
    for _ in range(20_000):
        deep = [deep]
    walk = Reach(lambda way, value: inside(value))
    assert any(value is end for _, value in walk.walk([("", deep)])) and not walk.truncated
    short = Reach(lambda way, value: inside(value), deepest=3)
    assert len(list(short.walk([("", deep)]))) == 3 and short.truncated
    wide = Reach(lambda way, value: inside(value))
    assert len(list(wide.walk([("", [[] for _ in range(MOST)])]))) == MOST and wide.truncated


def test_everything_is_put_back():
    numbers, frozen, raw, typed = np.zeros(3), np.zeros(3), bytearray(b"ab"), array("i", [1, 2])
    frozen.flags.writeable = False
    slotted, drawn, numpys, old = (
        Slotted(W),
        random.Random(0),
        np.random.default_rng(0),
        np.random.RandomState(0),
    )
    queue, words, ordered, own = deque([1, 2]), {"b", "a"}, OrderedDict(a=1, b=2), Own(a=1)
    values = [numbers, frozen, raw, typed, slotted, drawn, numpys, old, queue, words, ordered, own]
    remembered = Everything([values])

    def draw():
        return drawn.random(), numpys.random(), old.rand()

    first = draw()
    numbers[:], slotted.never_set, slotted.weight, own.extra = 1, 1, None, 2
    raw.append(1), typed.pop()
    queue.appendleft(0), words.add("c"), ordered.move_to_end("a"), own.clear(), values.pop()
    remembered.restore()
    assert numbers.sum() == 0 and not hasattr(slotted, "never_set") and slotted.weight is W
    assert raw == b"ab" and typed == array("i", [1, 2])
    assert list(queue) == [1, 2] and words == {"a", "b"} and list(ordered) == ["a", "b"]
    assert own == {"a": 1} and not hasattr(own, "extra") and values[-1] is own
    assert draw() == first


def test_variables_of_functions_are_put_back():
    count, scope = 0, {"total": 0}
    exec("def add():\n    global total\n    total += 1", scope)

    def step():
        nonlocal count
        count += 1

    remembered = Everything([step, scope["add"]])
    step(), scope["add"]()
    assert (count, scope["total"]) == (1, 1)
    remembered.restore()
    assert (count, scope["total"]) == (0, 0)


def test_modules_of_installed_libraries_are_put_back_too():
    from devicelab.course.guard.snapshot import Snapshot

    scope = {"__name__": "json", "nn": nn}  # a module whose file is not the learner's
    exec("class Layer(nn.Linear):\n    pass\nclass Plain:\n    pass", scope)
    layer, plain = scope["Layer"](2, 2), scope["Plain"]()
    plain.layer = nn.Linear(1, 1)
    before = layer.weight.detach().clone()
    snapshot = Snapshot([layer, plain])
    with torch.no_grad():
        layer.weight.zero_(), plain.layer.weight.zero_()
    snapshot.restore()
    assert torch.equal(layer.weight, before) and plain.layer.weight == 0
