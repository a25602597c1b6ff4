"""The command line in a process of its own, as a user runs it."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tools.notebooks import warm

COMPARE = ["-m", "devicelab", "compare"]


def run(*arguments: str, gpu: str = "simulated") -> subprocess.CompletedProcess:
    return warm.run(*COMPARE, *arguments, env=dict(os.environ, DEVICELAB_GPU=gpu))


def test_compare_prints_one_table_with_labels():
    result = run("--repeats", "2")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("cuda:0 is a simulated Tesla T4")
    for words in (
        "1 nothing moved",
        "2 model and data moved",
        "Example 3 stops at",
        "measured, cpu",
        "simulated, cuda:0",
        "wrapper_CUDA_addmm",
    ):
        assert words in result.stdout


def test_compare_as_json_is_only_json():
    data = json.loads(run("--json", "--repeats", "2", "--gpu", "NVIDIA L4").stdout)
    assert [variant["name"] for variant in data["variants"]] == ["cpu", "gpu", "mismatched"]
    assert data["variants"][1]["timing"]["name"] == "NVIDIA L4"


def test_without_simulation_the_table_says_what_did_not_run():
    result = run("--repeats", "2", gpu="off")
    assert result.returncode == 0 and result.stdout.count("not run") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rows", "-5"), "rows must be between 1 and"),
        (("--gpu", "gpu"), "Tesla T4"),
        (("--rows", "many"), "invalid int value"),
    ],
)
def test_unusable_input_is_one_sentence_and_exit_code_2(arguments, words):
    result = run(*arguments)
    assert result.returncode == 2 and words in result.stderr
    assert "Traceback" not in result.stderr


INTERRUPTED = """
import os, signal, threading, torch
import devicelab as lab
from devicelab import devices

plain = torch.zeros(2).device
lab.simulate_gpu("Tesla T4")
weight = torch.ones(64, 64, device="cuda", requires_grad=True)
done = threading.Event()


def press():  # again and again: Python drops an interrupt that comes while it frees an object
    while not done.wait(0.5):
        os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=press, daemon=True).start()
try:
    lab.timeit(lambda: (weight @ weight).sum().backward(), repeats=1_000_000)
except KeyboardInterrupt:
    done.set()
    print("interrupted")
print((weight * 2).device, lab.timeit(lambda: weight @ weight).device)
from devicelab.simgpu.session import current
current().stop()
print(torch.zeros(2).device, torch.cuda.is_available(), devices.simulated())
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent by POSIX means here")
def test_interrupting_a_long_run_leaves_torch_and_the_simulation_usable():
    result = warm.run("-c", INTERRUPTED)
    assert result.stdout.splitlines()[:2] == ["interrupted", "cuda:0 cuda:0"], result.stderr
    assert result.stdout.splitlines()[2].startswith("cpu ") and result.stdout.rstrip().endswith("None")


@pytest.mark.skipif(os.name == "nt", reason="signals are sent by POSIX means here")
def test_interrupting_the_command_ends_it_with_a_word_and_130():
    command = subprocess.Popen(
        [sys.executable, *COMPARE, "--repeats", "100000", "--rows", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, DEVICELAB_GPU="simulated"),
    )
    try:
        assert command.stdout.readline().startswith("cuda:0 is a simulated")
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=60)
    finally:
        command.kill()  # one that did not hear it would run on
    assert command.returncode == 130 and errors.strip().endswith("interrupted.")
