"""accelerate, whose Accelerator() finds the GPU by itself."""

import pytest
import torch

from devicelab import placement
from devicelab.simgpu import simulate_gpu

pytestmark = pytest.mark.interop
accelerate = pytest.importorskip("accelerate", reason="the extra `interop` is not installed")


@pytest.fixture(autouse=True)
def card():
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    with simulate_gpu("NVIDIA L4") as simulation:
        yield simulation
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def parts():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    x = torch.randn(32, 4)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
    return model, optimizer, torch.utils.data.DataLoader(data, batch_size=8)


def train(accelerator, model, optimizer, loader, epochs=2):
    losses = []
    for _ in range(epochs):
        for x, y in loader:
            with accelerator.accumulate(model):
                loss = torch.nn.functional.mse_loss(model(x), y)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("precision", ["no", "fp16", "bf16"])
def test_it_finds_the_card_and_trains(precision):
    accelerator = accelerate.Accelerator(mixed_precision=precision, gradient_accumulation_steps=2)
    prepared = accelerator.prepare(*parts())
    losses = train(accelerator, *prepared)
    assert accelerator.device.type == "cuda"
    assert {p.device.type for p in prepared[0].parameters()} == {"cuda"}
    assert losses[-1] < losses[0]


def test_state_is_saved_and_loaded(tmp_path):
    accelerator = accelerate.Accelerator()
    model, optimizer, loader = accelerator.prepare(*parts())
    train(accelerator, model, optimizer, loader, epochs=1)
    accelerator.save_state(str(tmp_path))
    after = train(accelerator, model, optimizer, loader, epochs=1)
    accelerator.load_state(str(tmp_path))
    assert train(accelerator, model, optimizer, loader, epochs=1) == pytest.approx(after, rel=1e-4)
    assert {s["exp_avg"].device.type for s in optimizer.state.values()} == {"cuda"}


def test_a_model_is_spread_over_two_cards_by_a_device_map(card, tmp_path):
    card.stop()
    torch.save(parts()[0].state_dict(), tmp_path / "model.bin")
    with simulate_gpu("NVIDIA L4", count=2):
        with accelerate.init_empty_weights():
            model = parts()[0]
        places = {"0": 0, "1": 0, "2": "cuda:1"}
        model = accelerate.load_checkpoint_and_dispatch(model, str(tmp_path / "model.bin"), device_map=places)
        assert [p.device.index for p in model.parameters()] == [0, 0, 1, 1]
        x = torch.ones(1, 4, device=0)
        assert model(x).device == x.device  # its hooks move what flows between the cards, and the result back
        bare = model[2]
        accelerate.hooks.remove_hook_from_module(bare)
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            bare(torch.ones(1, 8, device=0))


def test_what_a_device_map_keeps_on_the_cpu_and_on_the_disk_is_told(card, tmp_path):
    model = accelerate.dispatch_model(
        parts()[0], {"0": 0, "1": 0, "2": "disk"}, offload_dir=str(tmp_path / "disk")
    )
    found = placement(model).table()
    assert "model.0.weight  cuda:0" in found and "model.2.weight  meta" in found
    assert "  cpu" not in found  # a file holds no tensor, and none is made of it
    assert model(torch.ones(1, 4, device=0)).device.type == "cuda"

    model = accelerate.dispatch_model(parts()[0], {"0": 0, "1": 0, "2": "cpu"}, main_device=0)
    found = placement(model).table()
    assert "model.2.weight  meta" in found and "['2.weight']  cpu" in found
