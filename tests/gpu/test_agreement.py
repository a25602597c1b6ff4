"""The same programs on a real card and on the simulated one; where they disagree, the simulation is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


def outcomes(side: str, cards: int = 1) -> dict:
    """Run every program in a fresh process and return card and outcomes."""
    paths = os.pathsep.join([str(HERE.parent), str(HERE.parent / "simgpu"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "ignore", str(HERE / "outcomes.py"), side, str(cards)]
    result = subprocess.run(
        command, capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=paths), timeout=540
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.splitlines()[-1])


def disagreements(real: dict, simulated: dict) -> list[str]:
    """Return a line for each program whose outcome differs, or that ran on one side only."""
    names = {**real, **simulated}
    return [
        f"{name}: {real.get(name)} on the card, {simulated.get(name)} simulated"
        for name in names
        if real.get(name) != simulated.get(name)
    ]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a real NVIDIA GPU")
def test_the_simulated_card_agrees_with_the_real_one(capsys):
    real = outcomes("real")
    simulated = outcomes("simulated", torch.cuda.device_count())
    different = disagreements(real["outcomes"], simulated["outcomes"])
    with capsys.disabled():
        total = len(real["outcomes"])
        print(
            f"\n{real['card']}, torch {torch.__version__}: {total - len(different)} of {total} programs agree"
        )
        print("\n".join(different))
    assert different == []


def test_every_program_has_an_outcome_on_the_simulated_card():
    found = outcomes("simulated")
    assert found["card"] == "Tesla T4" and len(found["outcomes"]) > 250
    derived = [outcome[0] for name, outcome in found["outcomes"].items() if name.startswith("derived")]
    assert len(derived) > 150 and set(derived) == {"raises"}
    assert found["outcomes"]["numpy"][:2] == ["raises", "TypeError"]
    assert found["outcomes"]["sum"] == ["gives", "cuda:0", "torch.float32", [], [45.0]]


def test_a_disagreement_is_found():
    real = {"a": ["gives", "1"], "b": ["raises", "RuntimeError", "x"]}
    assert disagreements(real, dict(real)) == []
    assert len(disagreements(real, {"a": ["gives", "2"]})) == 2
