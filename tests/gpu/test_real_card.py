"""On a real NVIDIA GPU: a recording of it, and a look at it while it works."""

import time

import pytest
import torch

import devicelab as lab
from devicelab.record import record
from devicelab.recordings import load

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a real NVIDIA GPU"),
]


def test_a_quick_recording_is_valid_and_compared_with_the_estimates(tmp_path, capsys):
    made = record(str(tmp_path), quick=True)
    said = capsys.readouterr().out
    with capsys.disabled():
        print(f"\n{said}")
    assert load(made.path).card == torch.cuda.get_device_name()
    assert made.context_memory is None or made.context_memory > 2**24
    assert len(made.kind("linear")) >= 3 and len(made.kind("to host, pageable")) >= 3


def test_a_busy_card_is_seen(capsys):
    pytest.importorskip("pynvml", reason="needs nvidia-ml-py")
    x = torch.rand(4096, 4096, device="cuda")
    end = time.monotonic() + 2  # longer than the second over which NVML looks back
    with lab.monitor() as m:
        while time.monotonic() < end:
            for _ in range(10):
                x = (x @ x).clamp_(0, 1)
            torch.cuda.synchronize()
    with capsys.disabled():
        print(f"\n{m}")
    assert m.origin == "measured" and m.memory is not None and m.memory > 64 * 2**20
    assert m.gpu is None or m.gpu > 0.1
