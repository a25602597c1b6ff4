"""The guard of tests/conftest.py: a test that leaves something of a simulation behind fails, and spoils no other."""

from pathlib import Path

import pytest
import torch

from devicelab.simgpu import session

pytest_plugins = ["pytester"]
GUARD = Path(__file__).parents[1] / "conftest.py"
TO = torch.Tensor.to

RUNNING = "simulate_gpu('T4')"
THREAD = "thread = threading.Thread(target=simulate_gpu, args=['T4']); thread.start(); thread.join()"
PATCHED = "with simulate_gpu('T4'): monkeypatch.setattr(torch.Tensor, 'to', None)"


def outcome(pytester, line):
    """Run a test of this line, and one behind it, with the guard."""
    pytester.makeconftest(GUARD.read_text(encoding="utf-8"))
    pytester.makepyfile(
        f"""
        import threading, torch
        from devicelab.simgpu import session, simulate_gpu
        to = torch.Tensor.to

        def test_first(monkeypatch):
            {line}

        def test_behind():
            assert not session.stack and torch.Tensor.to is to and torch.ones(1).to(torch.int).device.type == "cpu"
        """
    )
    return pytester.runpytest("-p", "no:xdist", "-p", "no:cacheprovider")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (RUNNING, "*It left running what is now <simulated GPU: cuda:0 = Tesla T4, stopped>.*"),
        (THREAD, "*It left running what is now <simulated GPU: cuda:0 = Tesla T4, stopped>.*"),
        (PATCHED, "*It left torch's names replaced: Tensor.to. *"),
    ],
    ids=["running", "begun in a thread", "patched inside"],
)
def test_what_leaves_something_behind_fails_and_spoils_no_other(pytester, line, words):
    found = outcome(pytester, line)
    found.assert_outcomes(passed=2, errors=1)
    found.stdout.fnmatch_lines([words])
    assert not session.stack and torch.Tensor.to is TO


def test_what_leaves_nothing_behind_passes(pytester):
    outcome(pytester, "with simulate_gpu('T4'): torch.ones(1, device='cuda')").assert_outcomes(passed=2)
