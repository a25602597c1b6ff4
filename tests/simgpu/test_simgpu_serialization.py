"""torch.save, torch.load, pickle and copies across devices: PyTorch's documented outcomes and its own messages."""

import copy
import gc
import io
import pickle

import pytest
import torch
from torch import nn

from devicelab.errors import SimulationError
from devicelab.simgpu import simulate_gpu
from tools.notebooks import warm

CUDA0 = torch.device("cuda", 0)
NO_CUDA = (  # torch/serialization.py, _validate_device
    "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. "
    "If you are running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') "
    "to map your storages to the CPU."
)


def outcome(call):
    """Return what a call gives or raises, in words."""
    try:
        return repr(call())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


WITHOUT_A_CARD = outcome(lambda: torch.UntypedStorage(2, device="cuda"))


@pytest.fixture
def card():
    with simulate_gpu("Tesla T4", count=2) as simulation:
        yield simulation


def saved(obj, **options) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(obj, file, **options)
    file.seek(0)
    return file


def devices_of(obj) -> set[str]:
    """Return the devices of all tensors in nested dicts and lists."""
    if isinstance(obj, torch.Tensor):
        return {str(obj.device)}
    values = obj.values() if isinstance(obj, dict) else obj if isinstance(obj, (list, tuple)) else ()
    return set().union(*map(devices_of, values))


# Saving and loading


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("weights_only", [True, False])
def test_a_tensor_comes_back_to_the_card_that_it_was_on(card, zipped, weights_only):
    x = torch.arange(4.0, device="cuda:1")
    back = torch.load(saved(x, _use_new_zipfile_serialization=zipped), weights_only=weights_only)
    assert back.device == torch.device("cuda:1") and torch.equal(back, x)


@pytest.mark.parametrize(
    "map_location, wanted",
    [
        ("cpu", "cpu"),
        (torch.device("cpu"), "cpu"),
        ("cuda", "cuda:0"),
        ("cuda:1", "cuda:1"),
        (torch.device("cuda", 1), "cuda:1"),
        ({"cuda:0": "cuda:1"}, "cuda:1"),
        ({"cuda:1": "cuda:0"}, "cuda:0"),
        ({"cuda:0": "cpu"}, "cpu"),
        (lambda storage, location: storage, "cpu"),
        (lambda storage, location: storage.cuda(1), "cuda:1"),
        (lambda storage, location: None, "cuda:0"),
        (None, "cuda:0"),
    ],
)
@pytest.mark.parametrize("weights_only", [True, False])
def test_map_location_in_all_its_forms(card, map_location, wanted, weights_only):
    state = nn.Linear(2, 2).cuda().state_dict()
    back = torch.load(saved(state), map_location=map_location, weights_only=weights_only)
    assert devices_of(back) == {wanted}
    assert all(torch.equal(back[name].cpu(), state[name].cpu()) for name in state)


def test_a_checkpoint_of_the_cpu_stays_there_unless_sent_elsewhere(card):
    state = nn.Linear(2, 2).state_dict()
    assert devices_of(torch.load(saved(state))) == {"cpu"}
    assert devices_of(torch.load(saved(state), map_location="cuda")) == {"cuda:0"}


def test_a_default_device_does_not_move_what_is_loaded(card):
    file = saved({"x": torch.ones(2)})
    with torch.device("cuda"):
        assert devices_of(torch.load(file)) == {"cpu"}


def test_views_share_their_storage_after_loading_too(card):
    x = torch.arange(6.0, device="cuda")
    base, view = torch.load(saved([x, x[2:4]]))
    base.zero_()
    assert not view.any() and view.device == CUDA0


def test_a_file_saved_on_a_card_loads_without_simulation_in_torchs_own_words(tmp_path):
    with simulate_gpu("Tesla T4"):
        torch.save(nn.Linear(2, 2).cuda().state_dict(), tmp_path / "model.pt")
    with pytest.raises(RuntimeError) as error:
        torch.load(tmp_path / "model.pt")
    assert str(error.value) == NO_CUDA
    assert devices_of(torch.load(tmp_path / "model.pt", map_location="cpu")) == {"cpu"}


def test_the_file_is_what_another_process_can_read(tmp_path, card):
    torch.save(torch.arange(3, device="cuda"), tmp_path / "x.pt")
    code = f"import torch; print(torch.load({str(tmp_path / 'x.pt')!r}, map_location='cpu').tolist())"
    done = warm.run("-c", code)
    assert done.stdout == "[0, 1, 2]\n"


def test_a_card_that_is_not_there_is_named(tmp_path):
    with simulate_gpu("Tesla T4", count=2):
        torch.save(torch.ones(1, device="cuda:1"), tmp_path / "x.pt")
    with simulate_gpu("Tesla T4"), pytest.raises(RuntimeError) as error:
        torch.load(tmp_path / "x.pt")
    assert str(error.value) == (
        "Attempting to deserialize object on CUDA device 1 but torch.cuda.device_count() is 1. "
        "Please use torch.load with map_location to map your storages to an existing device."
    )


def test_memory_mapping_loads_on_the_card(tmp_path, card):
    torch.save({"x": torch.ones(3)}, tmp_path / "x.pt")
    assert devices_of(torch.load(tmp_path / "x.pt", mmap=True)) == {"cpu"}
    assert devices_of(torch.load(tmp_path / "x.pt", mmap=True, map_location="cuda")) == {"cuda:0"}


def test_sparse_and_other_types(card):
    tensors = [
        torch.eye(3).to_sparse().cuda(),
        torch.eye(3).to_sparse_csr().cuda(),
        torch.ones(2, device="cuda", dtype=torch.bfloat16),
        torch.ones(2, device="cuda", dtype=torch.complex64),
        torch.ones((), device="cuda"),
        torch.ones(0, device="cuda"),
        nn.Parameter(torch.ones(2, device="cuda"), requires_grad=False),
    ]
    for x, y in zip(tensors, torch.load(saved(tensors)), strict=True):
        assert (x.device, x.dtype, x.layout, type(x)) == (y.device, y.dtype, y.layout, type(y))
        assert torch.equal(x.cpu().to_dense(), y.cpu().to_dense())


def test_saving_copies_to_the_host_and_takes_its_time(card):
    x = torch.ones(1_000_000, device="cuda")
    torch.cuda.synchronize()
    before = card.clock.now()
    saved(x)
    assert card.clock.now() - before > 4e6 / 32e9  # at most what a PCIe 4.0 x16 link could do


def test_loading_counts_on_the_card_and_what_is_dropped_is_given_back(card):
    file = saved(torch.ones(1024, device="cuda:0"))
    gc.collect()  # the pickler's own circle may hold what was saved
    before = torch.cuda.memory_allocated()
    back = torch.load(file)
    assert torch.cuda.memory_allocated() - before == 4096 and back.is_cuda
    del back
    assert torch.cuda.memory_allocated() == before


# A whole training run, saved and resumed


def trained(model, optimizer, steps, x):
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("there, back", [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_training_resumed_elsewhere_goes_on_as_if_nothing_had_happened(card, there, back):
    torch.manual_seed(0)
    x, start = torch.randn(8, 3), nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    straight = copy.deepcopy(start)
    optimizer = torch.optim.AdamW(straight.parameters(), lr=0.1)
    trained(straight, optimizer, 4, x)

    model = copy.deepcopy(start).to(there)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    trained(model, optimizer, 2, x.to(there))
    file = saved({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    checkpoint = torch.load(file, map_location=back)
    resumed = copy.deepcopy(start).to(back)
    optimizer = torch.optim.AdamW(resumed.parameters(), lr=0.1)
    resumed.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    trained(resumed, optimizer, 2, x.to(back))
    for wanted, seen in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert seen.device.type == back
        torch.testing.assert_close(seen.cpu(), wanted)
    assert {str(s["exp_avg"].device.type) for s in optimizer.state.values()} == {back}


# pickle, copy, deepcopy


def test_pickle_keeps_the_device_of_tensors_parameters_and_modules(card):
    x = torch.arange(3.0, device="cuda:1", requires_grad=True)
    y = pickle.loads(pickle.dumps(x))
    assert y.device == x.device and y.requires_grad and torch.equal(x, y)
    model = pickle.loads(pickle.dumps(nn.BatchNorm1d(2).cuda()))
    assert devices_of(dict(model.state_dict())) == {"cuda:0"}
    assert isinstance(model.weight, nn.Parameter)


def test_deepcopy_of_a_module_and_its_optimizer(card):
    model = nn.Linear(2, 2).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    trained(model, optimizer, 1, torch.ones(1, 2, device="cuda"))
    model2, optimizer2 = copy.deepcopy((model, optimizer))
    assert model2.weight.device == CUDA0 and model2.weight.data_ptr() != model.weight.data_ptr()
    assert optimizer2.param_groups[0]["params"][0] is model2.weight
    trained(model2, optimizer2, 1, torch.ones(1, 2, device="cuda"))
    assert not torch.equal(model.weight, model2.weight)


def test_the_deepcopy_of_a_tensor_takes_its_gradient_along(card):
    x = torch.ones(2, device="cuda", requires_grad=True)
    (3 * x).sum().backward()
    assert torch.equal(copy.deepcopy(x).grad, torch.full((2,), 3.0, device="cuda"))


def test_a_deepcopy_shares_storages_as_the_original_did_and_counts_its_memory(card):
    x = torch.ones(1024, device="cuda")
    before = torch.cuda.memory_allocated()
    y, view = copy.deepcopy([x, x[:2]])
    assert torch.cuda.memory_allocated() - before == 4096
    y.zero_()
    assert not view.any()


def test_deepcopy_of_a_tensor_inside_a_graph_is_refused(card):
    x = torch.ones(1, device="cuda", requires_grad=True)
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(x * 2)


def test_a_shallow_copy_shares_memory(card):
    x = torch.ones(2, device="cuda")
    assert copy.copy(x).data_ptr() == x.data_ptr() and copy.copy(x).is_cuda
    model = nn.Linear(2, 2).cuda()
    assert copy.copy(model).weight is model.weight


# Storages themselves


def test_the_garbage_collector_does_not_make_a_tensor_forget_its_card(card):
    storage = torch.UntypedStorage(8, device="cuda")
    x = torch.empty(0, dtype=torch.uint8, device="cuda").set_(storage)
    cycle = [storage]
    cycle.append(cycle)
    y = pickle.loads(pickle.dumps(x))
    del storage, cycle
    gc.collect()
    assert x.device == y.device == CUDA0


def test_a_storage_says_where_it_is_and_moves(card):
    storage = torch.ones(2, device="cuda:1").untyped_storage()
    assert (storage.device, storage.is_cuda, storage.get_device()) == (torch.device("cuda:1"), True, 1)
    assert storage.cpu().device.type == "cpu" and storage.cpu().tolist() == storage.tolist()
    assert storage.cpu().cuda().device == CUDA0
    assert storage.clone().device == torch.device("cuda:1") and storage.is_shared()
    assert "device=cuda:1" in repr(storage)
    assert torch.UntypedStorage(4, device="cuda").device == CUDA0
    assert (
        torch.UntypedStorage(4).device.type == "cpu"
        and torch.UntypedStorage(4, device="meta").device.type == "meta"
    )
    assert torch.ones(2, device="cuda")._typed_storage()._untyped_storage.device == CUDA0


def test_sharing_with_another_process_is_refused_in_words(card):
    x = torch.ones(2, device="cuda")
    with pytest.raises(SimulationError, match=r"cannot share a CUDA tensor with another process"):
        torch.multiprocessing.reductions.reduce_tensor(x)
    assert x.share_memory_() is x  # does nothing for a CUDA tensor


def test_leaving_gives_storages_back(card):
    card.stop()
    assert torch.ones(2).untyped_storage().device.type == "cpu"
    assert outcome(lambda: torch.UntypedStorage(2, device="cuda")) == WITHOUT_A_CARD
    assert {"device", "__new__", "copy_", "is_shared"} & set(vars(torch.UntypedStorage)) <= {"is_shared"}


# safetensors


def test_safetensors_saves_and_loads_on_the_card(card, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="the extra `interop` is not installed")
    model = nn.Linear(2, 2).cuda()
    path = str(tmp_path / "model.safetensors")
    safetensors.save_file(model.state_dict(), path)
    assert devices_of(safetensors.load_file(path)) == {"cpu"}
    for device in ("cuda", "cuda:1", 0):
        state = safetensors.load_file(path, device=device)
        assert devices_of(state) == {"cuda:1" if device == "cuda:1" else "cuda:0"}
        assert torch.equal(state["weight"].cpu(), model.weight.cpu())
    safetensors.load_model(model, path, device="cuda")
    assert devices_of(safetensors.load(safetensors.save(model.state_dict()))) == {"cpu"}
