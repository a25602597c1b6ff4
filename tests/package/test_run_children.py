"""`python -m devicelab run` on scripts of several processes: each is watched, however it is started and however it ends."""

import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

import devicelab
from devicelab.runner.family import Member
from devicelab.runner.started import is_python
from devicelab.runner.together import Together
from devicelab.trace import Operator, Trace
from devicelab.verdict import judge

SCHEMA = json.loads(resources.files("devicelab").joinpath("schemas/run.json").read_text("utf-8"))
TRAINING = """
import os, signal, sys, torch

def train(device="cpu", data="cpu"):
    model = torch.nn.Linear(2, 1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.ones(4, 2, device=data)
    model(x).sum().backward()
    optimizer.step()

def killed():
    train()
    os.kill(os.getpid(), signal.SIGKILL)

def terminated():
    train()
    os.kill(os.getpid(), signal.SIGTERM)

def leaves():
    train()
    os._exit(5)

def gives_up():
    train()
    try:
        {}["lr"]
    except KeyError:
        sys.exit(4)

def raises():
    train()
    raise ValueError("lr")
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs code as a script, beside the module `training`; it gives the report and stderr."""
    (tmp_path / "training.py").write_text(TRAINING)

    def run(code: str, *words: str, target: str = "job.py") -> tuple[int, dict, str]:
        (tmp_path / "job.py").write_text(code)
        command = [sys.executable, "-m", "devicelab", "run", "--json", "v.json", *words, *target.split()]
        folders = [str(Path(devicelab.__file__).parents[1]), str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        data = json.loads((tmp_path / "v.json").read_text("utf-8"))
        jsonschema.validate(data, SCHEMA)
        return done.returncode, data, done.stderr

    run.folder = tmp_path
    return run


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are spawned only")
def test_every_way_to_start_a_process_is_seen(run):
    code = """
import multiprocessing, os, subprocess, sys
from training import train
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        process = multiprocessing.get_context(method).Process(target=train)
        process.start(); process.join()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply(train)
        pool.close(); pool.join()
    if os.fork() == 0:
        train()
        sys.exit()
    os.wait()
    subprocess.run([sys.executable, "-c", "from training import train; train()"])
    subprocess.run([sys.executable, "-c", "from training import train; train()"], env={"PYTHONPATH": os.environ["PYTHONPATH"]})
    subprocess.run(f"{sys.executable} -c 'from training import train; train()'", shell=True)
    subprocess.run([sys.executable, "-I", "-c", "0"])
"""
    ended, data, err = run(code, "--fail-on", "cpu")
    assert (ended, data["exit_code"], data["verdict"], data["steps"]) == (3, 0, "cpu", 0)
    names = [one["process"]["name"].split("-")[0] for one in data["children"]]
    assert sorted(names) == sorted(
        ["ForkProcess", "SpawnProcess", "ForkServerProcess", "ForkPoolWorker", "job.py"] + [""] * 3
    )
    assert {(one["verdict"], one["steps"]) for one in data["children"]} == {("cpu", 1)}
    assert data["unseen_processes"] == 1
    assert "devicelab: Training ran on cpu, in 8 processes." in err
    assert "1 Python that the script started told nothing" in err


ENDS = {
    "killed": ("killed by SIGKILL", -9, None, None),
    "terminated": ("killed by SIGTERM", -15, "cpu", None),
    "leaves": ("exit code 5", 5, "cpu", None),
    "gives_up": ("exit code 4", 4, "cpu", "KeyError: 'lr'"),
    "raises": ("exit code 1", 1, "cpu", "ValueError: lr"),
}


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_every_end_of_a_process_is_told(run, method):
    code = f"""
import multiprocessing, training
if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    processes = [context.Process(target=getattr(training, name), name=name) for name in {list(ENDS)}]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
"""
    _, data, err = run(code)
    found = {one["process"]["name"]: one for one in data["children"]}
    for name, (ended, code, verdict, message) in ENDS.items():
        child = found[name]
        assert (child["ended"], child["exit_code"], child["verdict"]) == (ended, code, verdict), name
        assert (child.get("error") or {}).get("message") == message
    assert "told nothing" in err and "runner" not in err


def test_the_worst_rank_decides_and_is_explained_with_its_own_line(run):
    code = """
import torch.multiprocessing as mp
from training import train
def main(rank):
    train(f"cuda:{rank}", "cpu" if rank else "cuda:0")
if __name__ == "__main__":
    mp.spawn(main, nprocs=2)
"""
    ended, data, err = run(code, "--simulate-gpu=Tesla T4:2", "--fail-on", "mismatch")
    assert (ended, data["exit_code"], data["verdict"]) == (3, 1, "mismatch")
    assert [(one["process"]["rank"], one["verdict"]) for one in data["children"]] == [
        (0, "accelerator"), (1, "mismatch"),
    ]  # fmt: skip
    assert "x stayed on cpu, but cuda:1 is needed here." in data["children"][1]["explanation"]
    assert data["sentence"].startswith("Rank 1: Tensors on unlike devices met, at training.py:")
    assert "rank 0   cuda:0          1       2      0" in err and "x = x.to(device)" in err


@pytest.mark.slow
def test_a_watched_script_can_run_another_by_this_command(run):
    code = """
import subprocess, sys
inner = [sys.executable, "-m", "devicelab", "run", "--fail-on", "cpu", "-m", "inner"]
sys.exit(subprocess.run(inner).returncode)
"""
    (run.folder / "inner.py").write_text("from training import train\ntrain()\n")
    ended, data, err = run(code)
    assert (ended, data["verdict"]) == (3, "cpu") and err.count("devicelab: Training ran on cpu") == 2
    assert [(one["verdict"], one["ended"]) for one in data["children"]] == [("cpu", "exit code 3")]


@pytest.mark.slow
def test_ranks_of_torchrun_are_one_table(run):
    code = """
import os
from training import train
train(f"cuda:{os.environ['LOCAL_RANK']}", f"cuda:{os.environ['LOCAL_RANK']}")
"""
    target = "-m torch.distributed.run --standalone --nproc-per-node=2 job.py"
    ended, data, err = run(code, "--simulate-gpu=Tesla T4:2", target=target)
    assert (ended, data["verdict"]) == (0, "accelerator"), err
    assert data["sentence"] == "Training ran on cuda:0 (rank 0) and on cuda:1 (rank 1)."
    places = [one["process"] for one in data["children"]]
    assert [(one["rank"], one["local_rank"], one["world_size"]) for one in places] == [(0, 0, 2), (1, 1, 2)]


def member(rank=0, word="accelerator", device="cuda:0", code=0, **more):
    phases = {"forward": [device], "backward": [device]} if word in ("accelerator", "cpu") else {}
    process = {"pid": 100 + (rank or 0), "name": "train.py", "rank": rank, "visible": None, "started": {}}
    told = {
        "verdict": word, "sentence": f"{word}.", "phases": phases, "steps": 1, "copies": [], "synchronizations": [],
        "operators": [{}], "lines": ["first", "  second"],
    }  # fmt: skip
    return Member({"process": {**process, "local_rank": None, "world_size": None}, **told, **more}, code)


def own(*where):
    operators = tuple(Operator("aten::mm", device, phase, None, 1, 1e-6) for phase, device in where)
    return judge(Trace(operators, (), (), (), 1, 1.0, "simulated", "cuda", "Tesla T4"))


@pytest.mark.parametrize(
    ("words", "worst"),
    [
        (["accelerator", "cpu"], "cpu"),
        (["accelerator", "mismatch", "cpu"], "mismatch"),
        (["accelerator", "no-training"], "accelerator"),
        (["no-training"], "no-training"),
    ],
)
def test_the_worst_word_is_that_of_all(words, worst):
    together = Together(own(), tuple(member(rank, word) for rank, word in enumerate(words)))
    assert together.word == worst and together.words == set(words)


def test_a_script_that_trains_beside_its_processes_counts_too():
    together = Together(own(("forward", "cpu"), ("backward", "cpu")), (member(1),))
    assert together.word == "cpu"
    assert together.sentence == "Training ran on cpu (the script itself) and on cuda:0 (rank 1)."
    assert "the script itself: Training ran on cpu: forward and backward" in str(together)


def test_idle_ranks_and_shared_cards_are_named():
    together = Together(own(), (member(0), member(1), member(2, "no-training")))
    assert together.sentence == "Training ran on cuda:0, in 2 processes; rank 2 trained nothing."
    assert "rank 0 and rank 1 trained on the same card, cuda:0" in str(together)
    apart = [{**member(rank).data["process"], "visible": str(rank)} for rank in range(2)]
    each = tuple(member(process=process) for process in apart)
    assert "same card" not in str(Together(own(), each)), "each sees its own card as cuda:0"


def test_many_processes_are_a_short_table():
    together = Together(own(), tuple(member(rank) for rank in range(40)))
    assert len(str(together).splitlines()) < 25 and "... and 24 processes more in --json FILE" in str(
        together
    )


def test_processes_that_did_nothing_are_no_rows():
    helper = member(None, "no-training", operators=[])
    assert Together(own(), (helper,)).rows == [] and Together(own(), (member(0, operators=[]),)).rows


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (["/usr/bin/python3.12", "x.py"], True),
        (["torchrun", "x.py"], True),
        ("C:\\\\Python\\\\python.exe x.py", True),
        (b"python x.py", True),
        (["git", "status"], False),
        (["pythonic"], False),
        ([], False),
        ("", False),
    ],
)
def test_a_command_that_starts_a_python_is_known(command, found):
    assert is_python(command) is found
