"""Placement: what is found, what it is called, and what counts as misplaced."""

import copy
import gc
import weakref
from collections import UserDict, deque, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from devicelab import placement, simulate_gpu

Pair = namedtuple("Pair", "inputs labels")


@dataclass
class Batch:
    inputs: torch.Tensor
    note: str = "a batch"


class Hider(nn.Module):
    """Everything that `.to()` moves, and everything that it misses."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.register_buffer("mean", torch.zeros(3))
        self.scale = torch.ones(2)
        self.masks = [torch.ones(2), {"deep": torch.ones(4)}]
        self.unregistered = [nn.Linear(2, 2, bias=False)]


def names(found):
    return [place.name for place in found]


@pytest.fixture
def there():
    with simulate_gpu("Tesla T4"):
        yield "cuda:0"


def test_everything_on_one_device_is_one_sentence():
    model = nn.Linear(3, 2)
    found = placement(model)
    assert found.misplaced == () and found.target == "cpu"
    assert str(found).splitlines()[0] == "Everything is on cpu: 2 tensors, 32 B."


def test_what_to_misses_is_found_and_named(there):
    model = Hider().to(there)
    found = placement(model)
    assert names(found.misplaced) == [
        "model.scale",
        "model.masks[0]",
        "model.masks[1]['deep']",
        "model.unregistered[0].weight",
    ]
    assert found.sentence == (
        "4 of 7 tensors stayed on cpu: model.scale, model.masks[0], model.masks[1]['deep'] and 1 more."
    )
    text = str(found)
    assert "model.scale  cpu  [2]  8 B  (a plain attribute, which .to() does not move)" in text
    assert "a module that .to() cannot reach" in text


def test_a_tensor_is_named_by_the_shortest_way_to_it():
    model = nn.Linear(1, 1)
    model.trainer = {"model": model, "deep": [model]}
    model.trainer["w"] = model.w = torch.ones(1)
    assert "model.w" in names(placement(model).places)


def test_misplaced_tensors_come_first_in_the_table(there):
    model, x = nn.Linear(3, 2).to(there), torch.ones(4, 3)
    lines = placement(model, x).table().splitlines()
    assert lines[0].startswith("x  cpu  [4, 3]  48 B")
    assert len(lines) == 3


def test_containers_dataclasses_and_mappings_are_looked_into():
    tensor = torch.ones(1)
    batches = {
        "list": [tensor],
        "pair": Pair(tensor.clone(), tensor.clone()),
        "batch": Batch(tensor.clone()),
        "output": UserDict(logits=tensor.clone()),
    }
    assert names(placement(batch=batches).places) == [
        "batch['list'][0]",
        "batch['pair'].inputs",
        "batch['pair'].labels",
        "batch['batch'].inputs",
        "batch['output']['logits']",
    ]


def test_a_users_object_and_a_data_set_are_looked_into():
    class Loss:
        def __init__(self):
            self.weights = torch.ones(2)

        def __call__(self, x):
            return x

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)))
    assert names(placement(loss=Loss(), loader=loader).places) == [
        "loss.weights",
        "loader.dataset.tensors[0]",
    ]


def trained(device):
    model = nn.Linear(3, 2).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3, device=device)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_optimizer_state_is_named_after_its_parameter_and_adams_step_may_stay(there):
    model, optimizer = trained(there)
    found = placement(optimizer, model)
    assert "optimizer.state[weight].exp_avg" in names(found.places)
    assert found.misplaced == ()
    assert "PyTorch keeps it there" in str(found)


def test_optimizer_state_from_before_the_move_is_misplaced(there):
    model, optimizer = trained("cpu")
    model.to(there)
    found = placement(model, optimizer)
    assert names(found.misplaced) == [
        f"optimizer.state[{owner}].{key}" for owner in ("weight", "bias") for key in ("exp_avg", "exp_avg_sq")
    ]
    assert "made before the move" in str(found)


def test_a_parameter_that_only_the_optimizer_holds_is_said(there):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters())
    model = copy.deepcopy(model).to(there)
    found = placement(model, optimizer)
    assert len(found.misplaced) == 2
    assert {place.kind for place in found.misplaced} == {"parameter that only the optimizer holds"}


def test_a_packed_sequence_keeps_its_sizes_on_the_cpu(there):
    packed = pack_sequence([torch.ones(2, 3), torch.ones(1, 3)]).to(there)
    found = placement(packed, nn.Linear(3, 3).to(there))
    assert found.misplaced == ()


def test_two_cards_are_told_apart():
    with simulate_gpu("Tesla T4", count=2):
        model, x = nn.Linear(3, 2).to("cuda:0"), torch.ones(1, 3, device="cuda:1")
        assert placement(model, x).sentence == "1 of 3 tensors are on cuda:1, the others on cuda:0: x."


def test_meta_tensors_are_elsewhere():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, device="meta"))
    found = placement(model)
    assert found.target == "cpu" and names(found.misplaced) == ["model.1.weight", "model.1.bias"]


def test_a_lazy_module_has_a_shape_that_is_not_known_yet():
    found = placement(model=nn.LazyLinear(2))
    assert found.places[0].shape is None and "shape not known yet" in found.table()


def test_tied_parameters_and_cycles_are_met_once():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    loop: list = [model]
    loop.append(loop)
    assert names(placement(loop=loop).places) == ["loop[0].0.weight", "loop[0].0.bias", "loop[0].1.bias"]


@pytest.mark.parametrize("thing", [None, 3, "text", {}, [], nn.ReLU(), object(), torch.float32, print, int])
def test_objects_without_tensors_are_no_error(thing):
    assert str(placement(thing)) == "No tensor was found."


def test_a_deep_and_a_wide_structure_come_to_an_end():
    deep = torch.ones(1)
    for _ in range(5_000):
        deep = [deep]
    assert "too large" in str(placement(deep=deep))
    wide = [[] for _ in range(250_000)]
    assert placement(wide=wide).truncated


def test_no_more_than_a_sentence_and_eight_lines_and_no_value():
    found = placement(batch=[torch.full((2,), 12345.0) for _ in range(50)])
    assert (
        len(str(found).splitlines()) <= 9 and "12345" not in str(found) + found.table() + found._repr_html_()
    )


def test_sparse_tensors_count_their_stored_elements():
    sparse = torch.eye(4).to_sparse()
    assert placement(sparse).places[0].bytes == 4 * 4 + 2 * 4 * 8


def test_looking_changes_nothing_and_copies_nothing(there):
    model = Hider().to(there)
    before = torch.cuda.memory_allocated()
    str(placement(model))
    assert torch.cuda.memory_allocated() == before


class Criterion:
    __slots__ = ("weight",)

    def __init__(self):
        self.weight = torch.ones(3)


def test_queues_slots_partials_and_a_dict_s_own_attributes_are_looked_into():
    class Outputs(dict):
        pass

    outputs = Outputs()
    outputs.mask = torch.ones(1)
    things = [deque([torch.ones(1)]), Criterion(), partial(print, end=torch.ones(1)), outputs]
    assert names(placement(x=things).places) == [
        "x[0][0]",
        "x[1].weight",
        "x[2].keywords['end']",
        "x[3].mask",
    ]


def test_a_mapping_of_ones_own_is_asked_for_its_items():
    class Lazy(Mapping):
        def __getitem__(self, key):
            return torch.ones(len(key))

        def __len__(self):
            return 2

        def __iter__(self):
            return iter(["a", "bc"])

    assert names(placement(batch=Lazy()).places) == ["batch['a']", "batch['bc']"]


def test_a_mapping_that_fetches_is_not_asked_but_looked_into():
    class Offloaded(Mapping):
        """As accelerate keeps what does not fit on a card: in memory, and in files that it reads at each access."""

        def __init__(self):
            self.state_dict, self.files = {"first": torch.ones(2)}, {"last": "last.dat"}

        def __getitem__(self, key):
            raise AssertionError("a file is read")

        def __len__(self):
            return 2

        def __iter__(self):
            return iter(["first", "last"])

    assert names(placement(kept=Offloaded()).places) == ["kept.state_dict['first']"]


def test_an_attribute_that_is_called_like_one_of_a_packed_sequence_may_not_stay(there):
    class Loader:
        batch_sizes = None

    loader, model = Loader(), nn.Linear(1, 1).to(there)
    loader.batch_sizes = torch.ones(1)
    assert names(placement(loader, model).misplaced) == ["loader.batch_sizes"]


def test_modules_nested_deeper_than_python_s_recursion_are_looked_into():
    model = nn.Sequential(nn.Linear(1, 1))
    for _ in range(2_000):
        model = nn.Sequential(model)
    assert [place.name.count(".0") for place in placement(model).places] == [2_001, 2_001]


def test_of_many_tensors_all_are_named_and_the_misplaced_come_first(there):
    batch = {number: torch.ones(2, device=there if number % 4 else "cpu") for number in range(4_000)}
    found = placement(batch=batch)
    lines = found.table().splitlines()
    assert names(found.misplaced) == [f"batch[{number}]" for number in range(0, 4_000, 4)]
    assert len(lines) == 4_000 and [line.split()[1] for line in lines] == ["cpu"] * 1_000 + ["cuda:0"] * 3_000
    assert found.sentence == (
        "1000 of 4000 tensors stayed on cpu: batch[0], batch[4], batch[8] and 997 more."
    )
    assert str(found).splitlines()[-1] == "  ... and 994 more lines: see .table()"


def test_what_was_looked_at_is_not_kept():
    x = torch.ones(3)
    held = weakref.ref(x)
    gc.disable()
    try:
        found = len(placement(x).places)
        del x
        assert (found, held()) == (1, None)
    finally:
        gc.enable()
