"""The simulated card in threads, pools, forked and spawned processes."""

import _thread
import concurrent.futures
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
import torch

from devicelab.errors import SimulationError
from devicelab.simgpu import Simulation, simulate_gpu
from devicelab.simgpu.stand_ins import threads


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with simulate_gpu(count=2) as running:
        yield running


def in_thread(program: Callable[[], object]) -> object:
    """Run a program in a new thread; return its result or raise its error."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(program).result()


def test_operators_stay_on_the_card(simulation: Simulation) -> None:
    ones = torch.ones(3, device="cuda")
    assert in_thread(lambda: (ones + 1).device) == torch.device("cuda", 0)
    assert in_thread(lambda: torch.ones(3, device="cuda:1").device) == torch.device("cuda", 1)


def test_mixing_is_refused(simulation: Simulation) -> None:
    with pytest.raises(RuntimeError, match="at least two devices"):
        in_thread(lambda: torch.ones(3, device="cuda") + torch.ones(3))


def test_a_thread_class_with_its_own_run(simulation: Simulation) -> None:
    class Worker(threading.Thread):
        def run(self) -> None:
            self.found = (torch.ones(3, device="cuda") * 2).device

    worker = Worker()
    worker.start()
    worker.join()
    assert worker.found == torch.device("cuda", 0)


def test_a_thread_without_threading(simulation: Simulation) -> None:
    found: list[torch.device] = []
    done = threading.Event()

    def program() -> None:
        found.append((torch.ones(3, device="cuda") * 2).device)
        done.set()

    _thread.start_new_thread(program, ())
    assert done.wait(10)
    assert found == [torch.device("cuda", 0)]


def test_a_thread_pool_older_than_the_simulation() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool, ThreadPool(1) as other:
        pool.submit(int).result()
        other.apply(int)
        with simulate_gpu():
            ones = torch.ones(3, device="cuda")
            assert pool.submit(lambda: (ones + 1).device).result() == torch.device("cuda", 0)
            assert other.apply(lambda: (ones + 1).device) == torch.device("cuda", 0)
        assert pool.submit(torch._C._get_dispatch_mode, threads.KEY).result() is None
        assert pool.submit(lambda: (ones + 1).device).result() == torch.device("cpu")


def test_backward_in_a_thread(simulation: Simulation) -> None:
    weight = torch.ones(3, device="cuda", requires_grad=True)
    loss = (weight * 2).sum()
    in_thread(loss.backward)
    assert weight.grad is not None
    assert weight.grad.device == torch.device("cuda", 0)


def test_many_threads_at_once(simulation: Simulation) -> None:
    def train(number: int) -> tuple[str, float]:
        torch.cuda.synchronize()
        model = torch.nn.Linear(4, 1).to(f"cuda:{number % 2}")
        torch.nn.init.ones_(model.weight)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            model(torch.ones(2, 4, device=model.weight.device)).square().mean().backward()
            optimizer.step()
        assert model.weight.grad is not None
        return str(model.weight.grad.device), float(
            model(torch.ones(2, 4, device=model.weight.device)).square().mean()
        )

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(train, range(8)))
    assert [device for device, _ in results] == ["cuda:0", "cuda:1"] * 4
    assert max(loss for _, loss in results) < 1e-3
    assert torch.cuda.memory_allocated(0) == torch.cuda.memory_allocated(1) == 0


def test_a_thread_that_outlives_the_simulation() -> None:
    go_on, found = threading.Event(), []

    def program() -> None:
        ones = torch.ones(3, device="cuda")
        go_on.wait(10)
        found.append((ones + 1).device)

    with simulate_gpu():
        thread = threading.Thread(target=program)
        thread.start()
        while not torch.cuda.memory_allocated():
            pass
    go_on.set()
    thread.join()
    assert found == [torch.device("cpu")]


def test_what_a_thread_meets_while_another_stops_the_simulation_is_said_in_words() -> None:
    said: list[Exception] = []

    def work(end: threading.Event) -> None:
        while not end.is_set():
            try:
                ones = torch.ones(3, device="cuda")
                torch.cuda.Event().record()
                torch.nn.Linear(3, 3).cuda()(ones.cpu().cuda()).sum().backward()
                str(ones * 2)
            except Exception as error:
                said.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # each line of the one may come between two of the other
    try:
        for number in range(8):
            end = threading.Event()
            with simulate_gpu():
                thread = threading.Thread(target=work, args=(end,))
                thread.start()
                time.sleep(0.02 + number / 200)
            time.sleep(0.02)
            end.set()
            thread.join()
    finally:
        sys.setswitchinterval(before)
    plain = (RuntimeError, SimulationError, AssertionError)  # what torch says where there is no card
    assert said and [error for error in said if not isinstance(error, plain)] == []
    assert [error for error in said if isinstance(error, RecursionError)] == []


def test_an_operator_that_ends_behind_the_stop_finds_no_mark_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulate_gpu(), monkeypatch.context() as patch:
        patch.delattr(torch.UntypedStorage, "_simulated_card")
        assert torch.ones(3).tolist() == [1.0] * 3


def test_an_event_of_a_simulation_that_was_stopped_says_so() -> None:
    with simulate_gpu():
        event = torch.cuda.Event()
        event.record()
    with pytest.raises(SimulationError, match="belongs to a simulated GPU that was stopped"):
        event.query()


def test_modes_of_a_thread_are_its_own(simulation: Simulation) -> None:
    with threads.undisturbed():
        assert not threads.on_this_thread(simulation.mode)
        assert in_thread(lambda: threads.on_this_thread(simulation.mode)) is True
    assert threads.on_this_thread(simulation.mode)


def on_another_thread(program: Callable[[], Any]) -> Any:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(program).result()


def test_a_new_thread_begins_with_the_first_card_and_the_default_streams(simulation: Simulation) -> None:
    torch.cuda.set_device(1)
    with torch.cuda.stream(torch.cuda.Stream()):
        seen = on_another_thread(
            lambda: (
                torch.cuda.current_device(),
                str(torch.ones(1, device="cuda").device),
                torch.cuda.current_stream(1),
            )
        )
        assert seen == (0, "cuda:0", torch.cuda.default_stream(1))
        assert torch.cuda.current_stream() != torch.cuda.default_stream()
    assert (torch.cuda.current_device(), torch.cuda.current_stream()) == (1, torch.cuda.default_stream(1))


@pytest.mark.parametrize("name", ["set_device", "accelerator"])
def test_a_thread_chooses_a_card_and_a_stream_for_itself(simulation: Simulation, name: str) -> None:
    choose = {"set_device": torch.cuda.set_device, "accelerator": torch.accelerator.set_device_index}[name]

    def program() -> tuple[int, str]:
        choose(1)
        torch.cuda.set_stream(torch.cuda.Stream(1))
        return torch.cuda.current_device(), str(torch.ones(1, device="cuda").device)

    assert on_another_thread(program) == (1, "cuda:1")
    assert (torch.cuda.current_device(), str(torch.ones(1, device="cuda").device)) == (0, "cuda:0")
    assert torch.cuda.current_stream(1) == torch.cuda.default_stream(1)


def test_work_in_a_stream_of_one_thread_is_not_waited_for_in_the_default_stream_of_another(
    simulation: Simulation,
) -> None:
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(10**9)
        assert on_another_thread(lambda: torch.cuda.current_stream().query())
        assert not torch.cuda.current_stream().query()


def test_a_simulation_stopped_by_another_thread_leaves_an_idle_mode_behind() -> None:
    simulation = simulate_gpu()
    on_another_thread(simulation.stop)
    assert threads.on_this_thread(simulation.mode)
    assert (torch.ones(2) + 1).tolist() == [2.0, 2.0] and not torch.cuda.is_available()
    with pytest.raises((RuntimeError, AssertionError)):  # a CUDA build finds no driver
        torch.ones(2, device="cuda")
    simulate_gpu().stop()
    assert torch._C._get_dispatch_mode(threads.KEY) is None


def forked(program: Callable[[], Any]) -> Any:
    """Run a program in a forked child; return what it returns, or its error's type and message."""
    reader, writer = multiprocessing.get_context("fork").Pipe(False)

    def child() -> None:
        try:
            writer.send(program())
        except Exception as error:
            writer.send((type(error).__name__, str(error)))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert reader.poll(60)
    result = reader.recv()
    process.join()
    return result


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@needs_fork
@pytest.mark.filterwarnings("ignore")
def test_a_forked_child_cannot_use_cuda_that_its_parent_started(simulation: Simulation) -> None:
    ones = torch.ones(3, device="cuda")
    kind, message = forked(lambda: torch.zeros(3, device="cuda"))
    assert kind == "RuntimeError"
    assert message == (
        "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start method"
    )
    assert forked(lambda: torch.zeros(3).cuda())[0] == "RuntimeError"
    assert forked(lambda: str(ones.device)) == "cuda:0"
    assert "initialization error" in forked(lambda: ones + 1)[1]
    assert forked(lambda: (torch.ones(2) + 1).tolist()) == [2.0, 2.0], "the CPU still works there"
    assert (ones + 1).tolist() == [2.0, 2.0, 2.0], "and the parent goes on"


@needs_fork
@pytest.mark.filterwarnings("ignore")
def test_a_forked_child_may_start_cuda_itself(simulation: Simulation) -> None:
    assert forked(lambda: str((torch.ones(3, device="cuda") + 1).device)) == "cuda:0"
    assert forked(lambda: (torch.cuda.is_available(), torch.cuda.Stream(), torch.cuda.is_initialized())[2]), (
        "also twice"
    )


# Which questions initialize the driver: THCPModule_getDeviceCount_wrap, _getArchFlags and _initExtension call poison_fork
# (torch/csrc/cuda/Module.cpp); is_available and device_count say when they take the other way (torch/cuda/__init__.py).
QUESTIONS: list[tuple[str, str, Callable[[], object], bool]] = [
    ("is_available", "0", torch.cuda.is_available, True),
    ("accelerator", "0", torch.accelerator.is_available, True),
    ("arch_list", "0", torch.cuda.get_arch_list, True),
    ("name", "0", lambda: torch.cuda.get_device_name(), True),
    ("device_count", "0", lambda: torch.cuda.device_count(), False),
    ("by_nvml", "1", torch.cuda.is_available, False),
    ("seed", "0", lambda: torch.manual_seed(0), False),
    ("start", "0", lambda: None, False),
]


@needs_fork
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "nvml", "ask", "poisons"), QUESTIONS, ids=[row[0] for row in QUESTIONS])
def test_a_question_that_initializes_the_driver_spoils_a_later_fork(
    monkeypatch: pytest.MonkeyPatch, name: str, nvml: str, ask: Callable[[], object], poisons: bool
) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", nvml)
    with simulate_gpu():
        ask()
        seen = forked(lambda: str(torch.ones(1, device="cuda").device))
        assert torch.ones(1, device="cuda").is_cuda, "the parent goes on"
    assert ("Cannot re-initialize CUDA in forked subprocess" in seen[1]) if poisons else seen == "cuda:0"


SPAWN = """
import torch, multiprocessing
{start}
def child(queue):
    queue.put((torch.cuda.is_available(), torch.cuda.device_count(), str((torch.ones(2, device="cuda") + 1).device)))
if __name__ == "__main__":
    {guarded}
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    print(queue.get(timeout=60), flush=True)
    process.join()
"""


@pytest.mark.parametrize(
    ("start", "guarded"),
    [
        ("", "import devicelab; devicelab.simulate_gpu(count=2)"),
        ("import devicelab; devicelab.simulate_gpu(count=2)", ""),
    ],
)
def test_a_spawned_child_has_the_same_cards(tmp_path: Any, start: str, guarded: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(SPAWN.format(start=start, guarded=guarded))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200)
    assert done.stderr == ""
    assert done.stdout == "(True, 2, 'cuda:0')\n"
