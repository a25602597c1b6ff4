"""The guard of tests/conftest.py: a test that leaves something of a simulation behind fails, and spoils no other."""

import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from tools.notebooks import warm

GUARD = Path(__file__).parents[1] / "conftest.py"
ROOT = str(Path(__file__).parents[2])

RUNNING = "simulate_gpu('T4')"
THREAD = "thread = threading.Thread(target=simulate_gpu, args=['T4']); thread.start(); thread.join()"
PATCHED = "with simulate_gpu('T4'): monkeypatch.setattr(torch.Tensor, 'to', None)"


def outcome(tmp_path, line):
    """Run a test of this line, and one behind it, with the guard; return what pytest says of them."""
    shutil.copy(GUARD, tmp_path)
    (tmp_path / "test_two.py").write_text(
        dedent(
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
    )
    plain = ("-p", "no:xdist", "-p", "no:cacheprovider")
    options = (*plain, "--rootdir", str(tmp_path), "-o", f"pythonpath={ROOT}")
    # A pytest within this one would forget which modules of torch it loaded, and torch is not loaded twice.
    return warm.run("-m", "pytest", *options, cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (RUNNING, "It left running what is now <simulated GPU: cuda:0 = Tesla T4, stopped>."),
        (THREAD, "It left running what is now <simulated GPU: cuda:0 = Tesla T4, stopped>."),
        (PATCHED, "It left torch's names replaced: Tensor.to. "),
    ],
    ids=["running", "begun in a thread", "patched inside"],
)
def test_what_leaves_something_behind_fails_and_spoils_no_other(line, words, tmp_path):
    found = outcome(tmp_path, line)
    assert "2 passed, 1 error in" in found and words in found


def test_what_leaves_nothing_behind_passes(tmp_path):
    found = outcome(tmp_path, "with simulate_gpu('T4'): torch.ones(1, device='cuda')")
    assert "2 passed in" in found and "error" not in found
