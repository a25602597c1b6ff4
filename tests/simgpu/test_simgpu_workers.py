"""A DataLoader's workers and the card: an error in CUDA's words or ours, and no wait without an end."""

import os
import signal
import warnings

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from devicelab.errors import SimulationError
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.stand_ins import processes

SECONDS = 120  # for a batch; a worker takes less than one, and some seconds where it is started anew
REFORK = "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start method"
OURS = "A DataLoader worker made a batch on cuda:0, which the simulated GPU cannot share"
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of os.fork beside threads
]


@pytest.fixture(autouse=True)
def as_by_default(monkeypatch):
    """Lightning, which other tests import, sets this for the whole process."""
    monkeypatch.delenv("PYTORCH_NVML_BASED_CUDA_CHECK", raising=False)


@pytest.fixture(autouse=True)
def limit():
    def stop(*_):
        raise TimeoutError(f"no batch came within {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    with simulate_gpu("T4"):
        yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Rows(Dataset):
    """Eight rows, each made by a function of its number."""

    def __init__(self, row):
        self.row = row

    def __len__(self):
        return 8

    def __getitem__(self, number):
        return self.row(number)


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.ones(2, device="cuda")


def on_card(number):
    return torch.ones(2, device="cuda")


def batch(data, **options):
    batches = iter(DataLoader(data, batch_size=2, num_workers=1, **options))
    try:
        return next(batches)
    finally:
        torch._C._remove_worker_pids(id(batches))  # it need not know of their end
        batches._worker_pids_set = False
        for worker in batches._workers:
            worker.kill()  # or PyTorch waits up to 5 seconds for the end of each


def start():
    torch.zeros(1, device="cuda")


MAKES = {
    "made on the card": (Rows(on_card), {}),
    "drawn on the card": (Rows(lambda number: torch.randn(2, device="cuda")), {}),
    "moved to the card": (Rows(lambda number: torch.ones(2).cuda()), {}),
    "in a dict": (Rows(lambda number: {"x": on_card(number), "y": number}), {}),
    "by collate_fn": (
        Rows(lambda number: number),
        {"collate_fn": lambda rows: torch.tensor(rows).to("cuda")},
    ),
    "from a stream": (Stream(), {}),
    "pinned": (Rows(on_card), {"pin_memory": True}),
    "by a persistent worker": (Rows(on_card), {"persistent_workers": True}),
    "with a timeout": (Rows(on_card), {"timeout": 30}),
}


@pytest.mark.parametrize(("data", "options"), MAKES.values(), ids=MAKES)
def test_a_forked_worker_of_a_parent_that_uses_the_card_raises_cudas_error(data, options):
    start()
    with pytest.raises(
        RuntimeError, match=f"(?s)Caught RuntimeError in DataLoader worker process 0.*{REFORK}"
    ):
        batch(data, **options)


def test_pinning_asks_for_the_card_before_the_workers_start_and_so_spoils_their_fork():
    with pytest.raises(RuntimeError, match=f"(?s)in DataLoader worker process 0.*{REFORK}"):
        batch(Rows(on_card), pin_memory=True)


UNASKED = {name: made for name, made in MAKES.items() if name != "pinned"}


@pytest.mark.parametrize(("data", "options"), UNASKED.values(), ids=UNASKED)
def test_a_worker_that_may_use_the_card_is_told_that_its_batch_cannot_be_shared(data, options):
    with pytest.raises(
        SimulationError, match=f"(?s)Caught SimulationError in DataLoader worker process 0.*{OURS}"
    ):
        batch(data, **options)


def test_a_dataset_that_holds_the_cards_tensors_fails_where_a_worker_needs_a_kernel():
    rows = torch.ones(8, 2, device="cuda")
    words = "(?s)DataLoader worker process 0.*CUDA error: initialization error"
    with pytest.raises(getattr(torch, "AcceleratorError", RuntimeError), match=words):
        batch(Rows(lambda number: rows[number] + 1))
    with pytest.raises(RuntimeError, match=r"(?s)DataLoader worker process 0.*CUDA"):
        batch(Rows(lambda number: rows[number]))


def test_a_worker_may_ask_for_the_card_and_return_cpu_tensors():
    assert batch(Rows(lambda number: torch.tensor(torch.cuda.is_available()))).tolist() == [True, True]
    assert batch(Rows(lambda number: on_card(number).cpu())).tolist() == [[1, 1], [1, 1]]


def test_without_workers_the_dataset_may_use_the_card_but_it_cannot_be_pinned():
    assert next(iter(DataLoader(Rows(on_card), batch_size=2))).is_cuda
    words = r"cannot pin 'torch\.cuda\.FloatTensor' only dense CPU tensors can be pinned"
    with pytest.raises(RuntimeError, match=words), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        next(iter(DataLoader(Rows(on_card), batch_size=2, pin_memory=True)))


def computed(number):
    return (torch.ones(2, device="cuda") * number).cpu()


def choose(worker):
    torch.cuda.set_device(0)
    assert torch.cuda.get_device_name() == "Tesla T4"
    assert torch.zeros(1, device="cuda").is_cuda


@pytest.mark.slow  # a Python is started anew, which imports torch
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_that_is_started_anew_has_the_card(method):
    start()
    often = {"persistent_workers": True, "worker_init_fn": choose, "pin_memory": True}
    loader = DataLoader(Rows(computed), batch_size=4, num_workers=1, multiprocessing_context=method, **often)
    for _ in range(2):
        batches = list(loader)
    assert [batch[:, 0].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert all(batch.is_pinned() and batch.to("cuda", non_blocking=True).is_cuda for batch in batches)


@pytest.mark.slow
def test_a_worker_that_is_started_anew_cannot_share_its_batch_either():
    start()
    with pytest.raises(SimulationError, match=OURS):
        batch(Rows(on_card), multiprocessing_context="spawn")


def test_who_reads_a_queue_gets_the_refusal_instead_of_waiting():
    queue = torch.multiprocessing.get_context("spawn").Queue()
    queue.put((1, torch.ones(2, device="cuda")))
    with pytest.raises(SimulationError, match="cannot share a CUDA tensor with another process"):
        queue.get(timeout=SECONDS)
    queue.put("the next")
    assert queue.get(timeout=SECONDS) == "the next"
    queue.close()


def test_who_sends_through_a_pipe_gets_the_refusal():
    one, other = torch.multiprocessing.Pipe()
    with pytest.raises(SimulationError, match="cannot share a CUDA tensor with another process"):
        one.send(torch.ones(2, device="cuda"))
    one.close()
    other.close()


def test_the_main_process_may_fetch_what_it_likes(monkeypatch):
    fetch = processes.fetching(lambda self: torch.ones(2, device="cuda"))
    assert fetch(None).is_cuda
    monkeypatch.setattr(processes, "get_worker_info", lambda: object())
    with pytest.raises(SimulationError, match=OURS):
        fetch(None)
