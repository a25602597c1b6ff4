"""The simulated card's memory: the caching allocator's sizes and rules, held against what its documentation and source say."""

import gc
import random
import sys
import threading

import pytest
import torch

from devicelab import simulate_gpu
from devicelab.errors import InputError
from devicelab.gpus import find
from devicelab.simgpu.machine.memory import CONTEXT, VARIABLE, Ledger, words

KIB, MIB, GIB = 2**10, 2**20, 2**30


@pytest.fixture
def ledger():
    return Ledger(find("T4"))


def allocated(ledger: Ledger) -> int:
    return ledger.stats()["allocated_bytes"]["all"]["current"]


def reserved(ledger: Ledger) -> int:
    return ledger.stats()["reserved_bytes"]["all"]["current"]


@pytest.mark.parametrize(
    ("asked", "counted", "segment"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),  # the largest small request
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),  # from here on a segment of its own, in steps of 2 MiB
        (11 * MIB, 11 * MIB, 12 * MIB),
        (100 * MIB + 1, 100 * MIB + 512, 102 * MIB),
    ],
)
def test_a_request_is_rounded_to_512_bytes_and_reserves_a_segment(ledger, asked, counted, segment):
    held = ledger.take(asked)
    assert reserved(ledger) == segment
    # what would be left of a large block beyond 1 MiB is split off; less stays with it
    rest = segment - counted
    assert allocated(ledger) == (counted if asked <= MIB or rest > MIB else segment)
    assert held is not None


def test_no_bytes_take_no_memory(ledger):
    assert ledger.take(0) is None
    assert (allocated(ledger), reserved(ledger)) == (0, 0)


def test_small_tensors_share_a_segment(ledger):
    held = [ledger.take(100 * KIB) for _ in range(20)]
    assert reserved(ledger) == 2 * MIB
    held.append(ledger.take(100 * KIB))
    assert reserved(ledger) == 4 * MIB


def test_freed_memory_stays_reserved_until_the_cache_is_emptied(ledger):
    held = ledger.take(50 * MIB)
    del held
    assert (allocated(ledger), reserved(ledger)) == (0, 50 * MIB)
    ledger.empty_cache()
    assert reserved(ledger) == 0


def test_empty_cache_keeps_a_segment_that_is_partly_in_use(ledger):
    first, second = ledger.take(4 * MIB), ledger.take(4 * MIB)
    del first
    ledger.empty_cache()
    assert reserved(ledger) == 20 * MIB
    del second
    ledger.empty_cache()
    assert reserved(ledger) == 0


def test_freed_neighbours_merge_into_room_for_something_larger(ledger):
    held = [ledger.take(5 * MIB) for _ in range(4)]  # fills one segment of 20 MiB
    assert reserved(ledger) == 20 * MIB
    del held[1:3]
    held.append(ledger.take(9 * MIB))
    assert reserved(ledger) == 20 * MIB


def test_pieces_that_are_not_neighbours_do_not_make_room(ledger):
    held = [ledger.take(5 * MIB) for _ in range(4)]
    del held[2], held[0]
    held.append(ledger.take(9 * MIB))
    assert reserved(ledger) == 40 * MIB


def test_peaks_are_kept_and_can_be_reset(ledger):
    held = [ledger.take(3 * MIB) for _ in range(3)]
    del held[1:]
    figure = ledger.stats()["allocated_bytes"]["all"]
    assert (figure["current"], figure["peak"], figure["allocated"], figure["freed"]) == (
        3 * MIB,
        9 * MIB,
        9 * MIB,
        6 * MIB,
    )
    ledger.reset_peaks()
    assert ledger.stats()["allocated_bytes"]["all"]["peak"] == 3 * MIB


def test_the_error_has_cudas_words(ledger):
    held = ledger.take(10 * GIB)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        ledger.take(6 * GIB)
    free = find("T4").total_memory - CONTEXT - 10 * GIB
    assert str(caught.value) == (
        f"CUDA out of memory. Tried to allocate 6.00 GiB. GPU 0 has a total capacity of 14.74 GiB of which {free / GIB:.2f} GiB "
        f"is free. Including non-PyTorch memory, this process has {10 + CONTEXT / GIB:.2f} GiB memory in use. Of the allocated "
        "memory 10.00 GiB is allocated by PyTorch, and 0 bytes is reserved by PyTorch but unallocated. If reserved but "
        f"unallocated memory is large try setting {VARIABLE}=expandable_segments:True to avoid fragmentation.  See documentation "
        "for Memory Management  (https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
    )
    assert held is not None


# A genuine message of PyTorch 2.10 (Project-MONAI/MONAI issue 8735): nothing allocated, 32 GiB asked of an RTX 4090.
GENUINE = (
    "CUDA out of memory. Tried to allocate 32.00 GiB. GPU 0 has a total capacity of 23.52 GiB of which {free} GiB is free. "
    "Including non-PyTorch memory, this process has 386.00 MiB memory in use. Of the allocated memory 0 bytes is allocated by "
    "PyTorch, and 0 bytes is reserved by PyTorch but unallocated. If reserved but unallocated memory is large try setting "
    "PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for Memory Management  "
    "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
)


def test_the_error_is_the_genuine_one_word_for_word(monkeypatch):
    """Only the free memory differs: some of the real card was in use by the desktop."""
    monkeypatch.setattr("devicelab.simgpu.machine.memory.VARIABLE", "PYTORCH_ALLOC_CONF")
    with pytest.raises(torch.OutOfMemoryError) as caught:
        Ledger(find("RTX 4090")).take(32 * GIB)
    assert str(caught.value) == GENUINE.format(free="23.14")


def test_what_no_card_will_ever_hold_is_refused_in_other_words():
    with simulate_gpu("T4"), pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2**60, dtype=torch.int8, device="cuda")
    assert str(caught.value) == "CUDA out of memory. Tried to allocate more than 1EB memory."


def test_giving_the_cache_back_waits_for_all_streams_and_is_counted(ledger):
    before = ledger.stats()["num_sync_all_streams"]
    ledger.empty_cache()
    assert ledger.stats()["num_sync_all_streams"] == before + 1
    ledger.reset_accumulated()
    assert ledger.stats()["num_sync_all_streams"] == 0


def test_the_cache_is_given_back_before_memory_runs_out(ledger):
    for size in (4, 5, 6, 7):  # GiB; each fits, all together do not
        held = ledger.take(size * GIB)
        del held
    assert ledger.stats()["num_ooms"] == 0
    assert ledger.stats()["num_alloc_retries"] > 0


def test_a_fragmented_cache_can_fail_although_enough_is_free(ledger):
    held = [ledger.take(5 * MIB) for _ in range(4 * 700)]  # 700 segments of 20 MiB
    del held[::2]
    with pytest.raises(torch.OutOfMemoryError, match=r"GiB is reserved by PyTorch but unallocated"):
        ledger.take(2 * GIB)


def test_check_says_what_take_would_and_counts_nothing(ledger):
    ledger.check(10 * GIB)
    assert reserved(ledger) == 0
    with pytest.raises(torch.OutOfMemoryError):
        ledger.check(15 * GIB)


def test_a_fraction_limits_the_process_in_cudas_words(ledger):
    ledger.limit(0.5)
    with pytest.raises(
        torch.OutOfMemoryError, match=r"memory in use\. 7\.37 GiB allowed; Of the allocated memory"
    ):
        ledger.take(8 * GIB)
    with pytest.raises(InputError, match=r"fraction must be between 0\.0 and 1\.0"):
        ledger.limit(1.5)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.50 KiB"),
        (20 * MIB, "20.00 MiB"),
        (GIB * 3 // 2, "1.50 GiB"),
    ],
)
def test_sizes_read_as_the_allocator_writes_them(nbytes, text):
    assert words(nbytes) == text


def test_the_books_balance_after_any_history(ledger):
    chance, held = random.Random(0), []
    for _ in range(3000):
        if held and chance.random() < 0.5:
            held.pop(chance.randrange(len(held)))
        else:
            held.append(ledger.take(chance.choice([100, 5000, 700 * KIB, 3 * MIB, 12 * MIB, 40 * MIB])))
    stats = ledger.stats()
    blocks = sum(watch.block.size for watch in ledger._watches.values())
    assert stats["allocated_bytes"]["all"]["current"] == blocks
    for name in ("allocated_bytes", "reserved_bytes", "inactive_split_bytes", "segment"):
        parts = stats[name]
        assert parts["all"]["current"] == parts["small_pool"]["current"] + parts["large_pool"]["current"]
        assert parts["all"]["allocated"] - parts["all"]["freed"] == parts["all"]["current"]
    free = sum(size for pool in (ledger.small, ledger.large) for size, *_ in pool.free)
    assert blocks + free == stats["reserved_bytes"]["all"]["current"]
    held.clear()
    ledger.empty_cache()
    assert (
        ledger.stats()["reserved_bytes"]["all"]["current"]
        == ledger.stats()["inactive_split"]["all"]["current"]
        == 0
    )


def test_threads_may_take_and_free_at_the_same_time(ledger):
    def work() -> None:
        held = []
        for i in range(2000):
            held.append(ledger.take(1000 * (i % 50 + 1)))
            if len(held) > 20:
                del held[:10]

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert allocated(ledger) == 0


def test_tensors_take_memory_as_long_as_anything_uses_their_storage():
    with simulate_gpu():
        x = torch.ones(1000, device="cuda")
        assert torch.cuda.memory_allocated() == 4096
        view = x[10:20]
        del x
        assert torch.cuda.memory_allocated() == 4096
        del view
        assert torch.cuda.memory_allocated() == 0
        assert torch.cuda.memory_reserved() == 2 * MIB


def test_a_models_memory_is_the_sum_of_its_rounded_parameters():
    with simulate_gpu():
        torch.nn.Linear(10, 2).cuda()
        assert torch.cuda.max_memory_allocated() == 2 * 512


def test_a_training_loop_keeps_its_memory():
    """No leak: ten steps hold what three do."""
    with simulate_gpu():
        model = torch.nn.Linear(64, 64).cuda()
        optimizer = torch.optim.Adam(model.parameters())
        data, seen = torch.ones(8, 64, device="cuda"), []
        for _ in range(10):
            optimizer.zero_grad()
            model(data).sum().backward()
            optimizer.step()
            seen.append(torch.cuda.memory_allocated())
        assert seen[2:] == [seen[2]] * 8


def test_a_card_that_is_too_small_refuses_before_the_hosts_memory_is_used():
    with (
        simulate_gpu("Tesla T4"),
        pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 40\.00 GiB"),
    ):
        torch.empty(10 * GIB, device="cuda")


def test_after_the_error_training_can_go_on():
    with simulate_gpu("Tesla T4"):
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(5 * GIB, device="cuda")
        assert torch.ones(3, device="cuda").sum().item() == 3


def test_a_refused_operand_is_freed_with_its_last_name():
    with simulate_gpu("Tesla T4"):
        gc.collect()
        gc.disable()
        try:
            before = torch.cuda.memory_allocated()
            x = torch.ones(1000, device="cuda")
            message = ""
            try:  # pytest.raises would keep the error, and with it its frames
                x + torch.ones(1000)
            except RuntimeError as error:
                message = str(error)
            del x
            assert "same device" in message and torch.cuda.memory_allocated() == before
        finally:
            gc.enable()


def test_no_line_of_python_runs_when_a_tensor_dies():
    """A Ctrl-C that met such a line would be printed and lost."""
    with simulate_gpu("T4"):
        held = [torch.ones(3, device="cuda") for _ in range(3)]
        ran = []
        sys.setprofile(lambda frame, event, what: ran.append(frame.f_code) if event == "call" else None)
        try:
            held.clear()
        finally:
            sys.setprofile(None)
        assert ran == [] and torch.cuda.memory_allocated() == 0
