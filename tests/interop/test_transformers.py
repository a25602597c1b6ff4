"""A tiny transformers model through its Trainer, which finds the GPU by itself."""

import pytest
import torch

from devicelab import estimate
from devicelab.simgpu import simulate_gpu

pytestmark = pytest.mark.interop
transformers = pytest.importorskip("transformers", reason="the extra `interop` is not installed")


class Sequences(torch.utils.data.Dataset):
    """Sixteen short sequences that can be learned; its tensors are on the CPU, as in most people's code."""

    def __len__(self):
        return 16

    def __getitem__(self, i):
        tokens = (torch.arange(6) + i) % 10
        return {"input_ids": tokens, "labels": tokens.clone()}


def tiny_model():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=10,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        pad_token_id=0,
    )
    return transformers.LlamaForCausalLM(config)


def trainer(folder, model, **options):
    chosen = {"max_steps": 4, "save_steps": 2, "logging_steps": 1, "learning_rate": 1e-2} | options
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        report_to=[],
        disable_tqdm=True,
        seed=1,
        **({"per_device_train_batch_size": 8} | chosen),
    )
    return transformers.Trainer(model=model, args=arguments, train_dataset=Sequences())


@pytest.fixture
def card():
    with simulate_gpu("NVIDIA L4") as simulation:
        yield simulation


@pytest.mark.parametrize("options", [{}, {"fp16": True}, {"bf16": True}], ids=["fp32", "fp16", "bf16"])
def test_trainer_finds_the_card_and_trains(card, tmp_path, options):
    model = tiny_model()
    run = trainer(tmp_path, model, save_strategy="no", **options)
    result = run.train()
    assert run.args.device == torch.device("cuda", 0)
    assert {p.device.type for p in model.parameters()} == {"cuda"}
    losses = [entry["loss"] for entry in run.state.log_history if "loss" in entry]
    assert len(losses) == 4 and losses[-1] < losses[0]
    assert result.global_step == 4 and torch.cuda.max_memory_allocated() > 0


def test_the_values_are_those_of_the_cpu(tmp_path):
    with simulate_gpu("NVIDIA L4"):
        on_card = trainer(tmp_path / "card", tiny_model(), save_strategy="no").train().training_loss
    on_cpu = trainer(tmp_path / "cpu", tiny_model(), save_strategy="no", use_cpu=True).train().training_loss
    assert on_card == pytest.approx(on_cpu, rel=1e-5)


def test_workers_pinning_and_a_resumed_checkpoint(card, tmp_path):
    straight = trainer(tmp_path / "straight", tiny_model(), dataloader_num_workers=2)
    straight.train()
    resumed = trainer(tmp_path / "resumed", tiny_model())
    resumed.train(resume_from_checkpoint=str(tmp_path / "straight" / "checkpoint-2"))
    assert resumed.state.global_step == 4
    for wanted, seen in zip(straight.model.parameters(), resumed.model.parameters(), strict=True):
        assert seen.is_cuda
        torch.testing.assert_close(seen, wanted)


def test_evaluation_prediction_and_generation(card, tmp_path):
    model = tiny_model()
    run = trainer(tmp_path, model, save_strategy="no")
    assert run.evaluate(Sequences())["eval_loss"] > 0
    predictions = run.predict(Sequences()).predictions
    assert predictions.shape == (16, 6, 10)
    prompt = torch.tensor([[1, 2]], device="cuda")
    assert model.generate(prompt, max_new_tokens=3, do_sample=False).device.type == "cuda"
    with pytest.raises(RuntimeError, match="same device"):
        model(torch.tensor([[1, 2]]))


def test_two_cards_mean_data_parallel_and_the_values_of_one_batch(tmp_path):
    with simulate_gpu("NVIDIA L4", count=2):
        run = trainer(tmp_path / "cards", tiny_model(), save_strategy="no", per_device_train_batch_size=4)
        on_cards = run.train().training_loss
        assert run.args.n_gpu == 2 and min(torch.cuda.max_memory_allocated(index) for index in (0, 1)) > 0
    on_cpu = trainer(tmp_path / "cpu", tiny_model(), save_strategy="no", use_cpu=True).train().training_loss
    assert on_cards == pytest.approx(on_cpu, rel=1e-5)


def test_a_model_that_drops_layers_by_chance_can_be_estimated():
    config = transformers.OPTConfig(
        vocab_size=50, hidden_size=16, ffn_dim=32, num_attention_heads=2, num_hidden_layers=8, word_embed_proj_dim=16,
        max_position_embeddings=16, pad_token_id=0, layerdrop=0.5, attn_implementation="eager",
    )  # fmt: skip
    with torch.device("meta"):
        model, words = transformers.OPTForCausalLM(config).train(), torch.zeros(2, 6, dtype=torch.int64)
    found = estimate(lambda: model(input_ids=words, labels=words).loss.backward())
    assert found.backward > found.forward * 0.5 and "modeling_opt.py" in found.notes[0]
