"""stable-baselines3, whose device="auto" asks torch.cuda: learning by reinforcement, nothing like the other three."""

import pytest
import torch

from devicelab.simgpu import simulate_gpu

pytestmark = pytest.mark.interop
sb3 = pytest.importorskip("stable_baselines3", reason="the extra `interop` is not installed")


@pytest.fixture
def card():
    with simulate_gpu("NVIDIA L4") as simulation:
        yield simulation


def agent(kind, **options):
    sizes = {
        "PPO": {"n_steps": 64, "batch_size": 32, "n_epochs": 2},
        "DQN": {"learning_starts": 40, "buffer_size": 500},
    }
    return getattr(sb3, kind)("MlpPolicy", "CartPole-v1", seed=0, **(sizes[kind] | options))


@pytest.mark.filterwarnings("ignore:You are trying to run PPO on the GPU")
@pytest.mark.parametrize("kind", ["PPO", "DQN"])
def test_it_finds_the_card_learns_saves_and_loads(card, tmp_path, kind):
    model = agent(kind)
    assert model.device.type == "cuda"
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(128)
    assert {p.device.type for p in model.policy.parameters()} == {"cuda"}
    assert any(not torch.equal(old, new) for old, new in zip(before, model.policy.parameters(), strict=True))
    model.save(tmp_path / "agent")
    observation = model.get_env().reset()
    action, _ = model.predict(observation, deterministic=True)
    loaded = getattr(sb3, kind).load(tmp_path / "agent")
    assert loaded.device.type == "cuda"
    assert (loaded.predict(observation, deterministic=True)[0] == action).all()


def test_an_agent_saved_on_the_card_acts_on_a_machine_without(tmp_path):
    with simulate_gpu("NVIDIA L4"):
        agent("DQN").save(tmp_path / "agent")
    loaded = sb3.DQN.load(tmp_path / "agent")
    assert loaded.device.type == "cpu"
    assert loaded.policy.predict(loaded.observation_space.sample())[0] in (0, 1)
