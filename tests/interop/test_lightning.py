"""Lightning's Trainer, told only accelerator="gpu"."""

import warnings

import pytest
import torch

from devicelab.simgpu import simulate_gpu

pytestmark = pytest.mark.interop
lightning = pytest.importorskip("lightning", reason="the extra `interop` is not installed")


class Regression(lightning.LightningModule):  # type: ignore[name-defined]
    def __init__(self, kind=torch.optim.Adam):
        super().__init__()
        self.kind = kind
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        self.losses, self.seen = [], set()

    def training_step(self, batch, _):
        x, y = batch
        out = self.net(x)
        self.seen.add((x.device, out.dtype))
        loss = torch.nn.functional.mse_loss(out, y)
        self.losses.append(loss.item())
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", torch.nn.functional.mse_loss(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = self.kind(self.parameters(), lr=0.02)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1)}


def loader(workers=0):
    torch.manual_seed(0)
    x = torch.randn(32, 4)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
    return torch.utils.data.DataLoader(data, batch_size=8, num_workers=workers, pin_memory=True)


def fit(folder, model, workers=0, resume=None, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        devices=1, default_root_dir=folder, **({"accelerator": "gpu", "max_epochs": 2} | quiet | options)
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer.fit(model, loader(workers), loader(), ckpt_path=resume)
    return trainer


@pytest.fixture
def card():
    with simulate_gpu("NVIDIA L4") as simulation:
        yield simulation


@pytest.mark.parametrize(
    "precision, dtype",
    [("32-true", torch.float32), ("16-mixed", torch.float16), ("bf16-mixed", torch.bfloat16)],
)
def test_it_trains_on_the_card_in_each_precision(card, tmp_path, precision, dtype):
    torch.manual_seed(0)
    model = Regression()
    fit(tmp_path, model, precision=precision)
    assert model.seen == {(torch.device("cuda", 0), dtype)}
    assert sum(model.losses[4:]) < sum(model.losses[:4])  # the second epoch and the first


def test_it_finds_the_card_by_itself_with_workers(card, tmp_path):
    model = Regression()
    trainer = fit(tmp_path, model, workers=2, accelerator="auto", max_epochs=1)
    assert isinstance(trainer.accelerator, lightning.pytorch.accelerators.CUDAAccelerator)
    assert {device for device, _ in model.seen} == {torch.device("cuda", 0)}


def test_a_resumed_run_ends_where_a_straight_one_does(card, tmp_path):
    torch.manual_seed(0)
    start = Regression().state_dict()
    straight, halves = Regression(), [Regression(), Regression()]
    for model in (straight, halves[0]):
        model.load_state_dict(start)
    fit(tmp_path / "a", straight, max_epochs=2)
    trainer = fit(tmp_path / "b", halves[0], max_epochs=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    fit(tmp_path / "c", halves[1], max_epochs=2, resume=tmp_path / "half.ckpt")
    for wanted, seen in zip(straight.parameters(), halves[1].parameters(), strict=True):
        torch.testing.assert_close(seen, wanted)


def test_a_tensor_made_in_the_step_without_device_is_found(card, tmp_path):
    class Forgetful(Regression):
        def training_step(self, batch, index):
            return super().training_step(batch, index) + torch.ones(1).sum() * torch.zeros(4)[0:1].sum(
                0, True
            )

    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        fit(tmp_path, Forgetful())
