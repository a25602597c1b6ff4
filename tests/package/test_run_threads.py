"""`python -m devicelab run`: threads of the script are heard as its main thread is."""

import _thread
import sys

import pytest

from devicelab import runner
from devicelab.runner.started import Started
from tests.package.test_run_errors import MODEL

TRAIN = MODEL + 'import threading\ndef train(x=None):\n    step(torch.rand(4, 3, device="{data}"))\n'
THREADS = {
    "a thread": "thread = threading.Thread(target=train)\nthread.start()\nthread.join()",
    "a daemon": "thread = threading.Thread(target=train, daemon=True)\nthread.start()\nthread.join()",
    "a thread of its own class": (
        "class Own(threading.Thread):\n    def run(self): train()\nthread = Own()\nthread.start()\nthread.join()"
    ),
    "a thread that nobody joins": "threading.Timer(0.01, train).start()",
    "a plain thread": (
        "import _thread, time\ndone = []\ndef plain():\n    try: train()\n    finally: done.append(1)\n"
        "_thread.start_new_thread(plain, ())\nwhile not done: time.sleep(0.01)\ntime.sleep(0.2)"
    ),
    "a pool": (
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(1) as pool: pool.submit(train)"
    ),
    "a pool of multiprocessing": (
        "from multiprocessing.pool import ThreadPool\nwith ThreadPool(1) as pool: pool.apply_async(train).wait()"
    ),
}


@pytest.mark.parametrize("way", THREADS)
def test_training_in_a_thread_is_training(way, run_here):
    code = TRAIN.format(data="cuda") + THREADS[way]
    ended, data, err = run_here(code, "--fail-on", "no-training")
    assert (ended, data["verdict"], data["steps"]) == (0, "accelerator", 1), err
    on_cpu = code.replace('"cuda"', '"cpu"')
    ended, data, err = run_here(on_cpu, "--fail-on", "cpu")
    assert (ended, data["verdict"]) == (runner.FAILED, "cpu"), err
    assert "it computed nothing" in err, "the card did not"


@pytest.mark.parametrize("way", THREADS)
def test_a_mismatch_in_a_thread_is_one(way, run_here):
    ended, data, _ = run_here(TRAIN.format(data="cpu") + THREADS[way], "--fail-on", "mismatch")
    assert (ended, data["verdict"], data["exit_code"]) == (runner.FAILED, "mismatch", 0)


def test_what_ends_a_thread_is_shown_as_by_python_and_explained(run_here):
    _, data, err = run_here(TRAIN.format(data="cpu") + THREADS["a thread"])
    assert "Exception in thread" in err and "started.py" not in err
    assert "x stayed on cpu, but cuda:0 is needed here." in data["explanation"]
    assert data["error"]["line"].startswith("job.py:8 ")
    assert any("a thread ended with RuntimeError" in note for note in data["notes"])


def test_what_ends_a_plain_thread_is_told_as_by_python(run_here, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)  # pytest has one of its own
    _, data, err = run_here(TRAIN.format(data="cpu") + THREADS["a plain thread"])
    assert "Exception ignored in thread started by: <function plain" in err and "started.py" not in err
    assert data["error"]["line"].startswith("job.py:8 ")


def test_a_scripts_own_hook_hears_of_its_plain_threads_errors(run_here):
    hook = "seen = []\nimport sys\nsys.unraisablehook = lambda args: seen.append(args.exc_type.__name__)\n"
    code = TRAIN.format(data="cpu") + hook + THREADS["a plain thread"] + "\nsys.exit(len(seen) + 4)"
    assert run_here(code)[0] == 5


def test_a_plain_thread_of_what_cannot_be_called_is_refused_as_by_python():
    before, started = _thread.start_new_thread, Started()
    started.watch()
    try:
        with pytest.raises(TypeError, match="must be callable"):
            _thread.start_new_thread(5, ())
    finally:
        started.leave()
    assert _thread.start_new_thread is before


def test_another_error_of_a_thread_is_not_the_scripts(run_here):
    code = (
        TRAIN.format(data="cuda") + "train()\n" + THREADS["a thread"].replace("=train", '=lambda: {}["lr"]')
    )
    _, data, _ = run_here(code)
    assert (data["verdict"], data["error"]) == ("accelerator", None)
    assert "a thread ended with KeyError: 'lr'; the script went on without it" in data["notes"]


def test_main_and_threads_on_unlike_devices_are_split(run_here):
    other = MODEL.replace("model", "other").replace("step(x)", "step_2(x)")
    code = TRAIN.format(data="cuda") + "train()\n" + other.replace('"cuda"', '"cpu"')
    code += "thread = threading.Thread(target=step_2, args=[torch.rand(4, 3)])\nthread.start()\nthread.join()"
    _, data, _ = run_here(code, "--fail-on", "mixed")
    assert data["verdict"] == "mixed" and data["steps"] == 2


def test_a_scripts_own_hook_hears_of_its_threads_errors(run_here):
    hook = "seen = []\nthreading.excepthook = lambda args: seen.append(args.exc_type.__name__)\n"
    code = TRAIN.format(data="cpu") + hook + THREADS["a thread"] + "\nimport sys; sys.exit(len(seen) + 4)"
    assert run_here(code)[0] == 5
