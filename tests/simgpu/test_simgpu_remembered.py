"""What torch.cuda.memory tells of the allocator: snapshots, history, observers, and memory that no tensor has."""

import pickle
from pathlib import Path

import pytest
import torch
from torch.cuda import memory

from devicelab import simulate_gpu

MIB = 2**20


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


def make(*shape):
    return torch.empty(*shape, device="cuda")


def drop(held):
    held.clear()


def named(frames):
    return [frame["name"] for frame in frames]


def test_a_snapshot_holds_segments_with_their_blocks_in_order():
    kept, gone, large = make(100), make(300), make(4 * MIB)
    del gone
    small, big = torch.cuda.memory_snapshot()
    assert (small["segment_type"], big["segment_type"]) == ("small", "large")
    assert (small["total_size"], small["allocated_size"], small["requested_size"]) == (2 * MIB, 512, 400)
    assert [(block["state"], block["size"], block["requested_size"]) for block in small["blocks"]] == [
        ("active_allocated", 512, 400), ("inactive", 2 * MIB - 512, 0),
    ]  # fmt: skip
    assert [block["address"] - small["address"] for block in small["blocks"]] == [0, 512]
    assert sum(segment["total_size"] for segment in (small, big)) == torch.cuda.memory_reserved()
    assert sum(segment["active_size"] for segment in (small, big)) == torch.cuda.memory_allocated()
    assert (kept.device, large.device, small["device"], big["stream"]) == (kept.device, kept.device, 0, 0)
    assert all(not segment["frames"] for segment in (small, big)), "nothing was asked to be recorded"
    assert torch.cuda.memory_snapshot((1, 0)) == [] if torch.__version__ >= "2.9" else True


def test_each_card_is_in_it_with_its_number(card):
    card.stop()
    with simulate_gpu("T4", count=2):
        kept = [torch.ones(3, device=f"cuda:{index}") for index in (1, 0)]
        assert [segment["device"] for segment in torch.cuda.memory_snapshot()] == [0, 1] and kept
        assert len(memory._snapshot()["device_traces"]) == 2


def test_the_history_says_what_came_and_went_and_which_lines_did_so(tmp_path):
    memory._record_memory_history(max_entries=100)
    held = [make(4 * MIB)]
    drop(held)
    torch.cuda.empty_cache()
    (trace,) = memory._snapshot()["device_traces"]
    assert [(entry["action"], entry["size"], named(entry["frames"])[0]) for entry in trace] == [
        ("segment_alloc", 16 * MIB, "make"), ("alloc", 16 * MIB, "make"), ("free_requested", 16 * MIB, "drop"),
        ("free_completed", 16 * MIB, "drop"), ("segment_free", 16 * MIB, "empty_cache"),
    ]  # fmt: skip
    assert len({entry["addr"] for entry in trace}) == 1
    frame = trace[1]["frames"][0]
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    assert frame["filename"] == __file__ and lines[frame["line"] - 1].strip().startswith("return torch.empty")
    assert named(trace[1]["frames"])[1] == "test_the_history_says_what_came_and_went_and_which_lines_did_so"
    memory._dump_snapshot(str(tmp_path / "snapshot.pickle"))
    kept = pickle.loads((tmp_path / "snapshot.pickle").read_bytes())["device_traces"][0]
    assert kept[: len(trace)] == trace and kept[-1]["action"] == "snapshot"


@pytest.mark.parametrize(
    ("context", "allocated", "freed"), [("alloc", ["make"], ["make"]), ("state", [], []), (None, [], [])]
)
def test_the_context_says_which_lines_are_kept(context, allocated, freed):
    memory._record_memory_history(context=context)
    held, kept = [make(100)], make(100)
    drop(held)
    snapshot = memory._snapshot()
    lines = {entry["action"]: named(entry.get("frames", [])) for entry in snapshot["device_traces"][0]}
    assert lines["alloc"][:1] == allocated and lines["free_requested"][:1] == freed
    (block,) = [block for block in snapshot["segments"][0]["blocks"] if block["state"] == "active_allocated"]
    assert named(block["frames"])[:1] == (["make"] if context else []) and kept.is_cuda


def test_only_the_newest_entries_are_kept_and_none_once_it_ends():
    assert not torch._C._cuda_isHistoryEnabled()
    memory._record_memory_history(max_entries=3)
    assert torch._C._cuda_isHistoryEnabled()
    held = [make(100) for _ in range(5)]
    assert len(memory._snapshot()["device_traces"][0]) == 3 and held
    memory._record_memory_history("state")
    assert len(memory._snapshot()["device_traces"][0]) == 1
    memory._record_memory_history(None)
    assert memory._snapshot()["device_traces"] == [[]] and not torch._C._cuda_isHistoryEnabled()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"enabled": "some"}, "expected state to be 'state', 'all', or None"),
        ({"context": "free"}, "expected context to be 'state', 'alloc', 'all', or None"),
        ({"stacks": "cpp"}, "expected stacks to be 'python', or 'all'"),
    ],
)
def test_a_wrong_wish_is_refused_in_pytorchs_words(given, words):
    with pytest.raises(RuntimeError, match=words):
        memory._record_memory_history(**given)


def test_pytorchs_own_tools_read_a_snapshot():
    from torch.cuda import _memory_viz as tools

    memory._record_memory_history()
    held = [make(1000)]
    drop(held)
    snapshot = memory._snapshot()
    assert "cudaMalloc" in tools.trace(snapshot) and "total_reserved: 2.0MiB" in tools.segsum(snapshot)
    assert tools.trace_plot(snapshot) and tools.segment_plot(snapshot)


def test_an_observer_hears_of_memory_that_ran_out_and_may_take_a_snapshot(card):
    heard = []

    def observer(*figures):
        heard.append((*figures, memory._snapshot()["device_traces"][0][-1]))

    torch._C._cuda_attach_out_of_memory_observer(observer)
    memory._record_memory_history()
    make(4 * MIB)
    with pytest.raises(torch.OutOfMemoryError):
        make(2**34)
    ((device, asked, total, free, entry),) = heard
    assert (device, asked, total) == (0, 2**36, card.cards[0].spec.total_memory)
    assert (entry["action"], entry["size"], entry["device_free"]) == ("oom", 2**36, free) and 0 < free < total


def test_memory_that_no_tensor_has():
    before = torch.cuda.memory_allocated()
    address = torch.cuda.caching_allocator_alloc(1000)
    assert torch.cuda.memory_allocated() - before == 1024
    torch.cuda.caching_allocator_delete(address)
    assert torch.cuda.memory_allocated() == before
    with pytest.raises(RuntimeError, match="invalid device pointer"):
        torch.cuda.caching_allocator_delete(address)
