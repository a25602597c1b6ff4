"""torch.cuda and torch.accelerator over simulated cards, held against what PyTorch documents."""

import os
import re
import warnings

import pytest
import torch

from devicelab import simulate_gpu
from tools.notebooks import warm


@pytest.fixture
def card():
    with simulate_gpu("Tesla T4") as simulation:
        yield simulation


@pytest.fixture
def cards():
    with simulate_gpu("NVIDIA L4", count=2) as simulation:
        yield simulation


def test_a_card_is_found(card):
    assert torch.cuda.is_available()
    assert torch.cuda.device_count() == 1
    assert torch.cuda.current_device() == 0
    assert torch.cuda.get_device_name() == torch.cuda.get_device_name("cuda:0") == "Tesla T4"
    assert torch.cuda.get_device_capability(0) == (7, 5)
    assert torch.backends.cuda.is_built()
    assert torch.backends.cudnn.is_available()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_cuda_visible_devices_does_not_hide_it(hidden):
    """The variable is set before Python starts, so in a process of its own; a real card would be gone."""
    program = (
        "import torch, devicelab as lab\n"
        "print(torch.cuda.is_available(), torch.cuda.device_count())\n"
        "with lab.simulate_gpu(count=2):\n"
        "    print(torch.cuda.is_available(), torch.cuda.device_count(), torch.ones(1, device='cuda:1').device)"
    )
    done = warm.run("-c", program, env=os.environ | {"CUDA_VISIBLE_DEVICES": hidden})
    assert done.stdout.splitlines() == ["False 0", "True 2 cuda:1"], done.stderr


def test_the_wheel_stays_what_it_is(card):
    assert torch.version.cuda is None or torch.cuda._is_compiled()
    assert "+cu" in torch.__version__ or torch.version.cuda is None


def test_properties_read_as_torch_prints_them(card):
    """The form is that of a real T4's properties, printed by torch on Google Colab."""
    printed = str(torch.cuda.get_device_properties(0))
    assert re.fullmatch(
        r"_CudaDeviceProperties\(name='Tesla T4', major=7, minor=5, total_memory=15095MB, multi_processor_count=40, "
        r"uuid=[0-9a-f-]{36}, pci_bus_id=0, pci_device_id=\d+, pci_domain_id=0, L2_cache_size=4MB\)",
        printed,
    )
    assert torch.cuda.get_device_properties(0).max_threads_per_multi_processor == 1024
    assert torch.cuda.get_device_properties(0).warp_size == 32


def test_cuda_is_initialized_by_its_first_use_only(card):
    assert not torch.cuda.is_initialized()
    assert torch.cuda.is_available()
    assert torch.cuda.device_count() == 1
    assert not torch.cuda.is_initialized()
    torch.ones(1).to("cuda")
    assert torch.cuda.is_initialized()


@pytest.mark.parametrize(
    "first",
    [lambda: torch.cuda.init(), lambda: torch.cuda.synchronize(), lambda: torch.cuda.current_device()],
)
def test_these_initialize_it_too(card, first):
    first()
    assert torch.cuda.is_initialized()


def test_bfloat16_as_on_a_t4_and_on_an_l4():
    """torch says True for a T4 because it can emulate it; without emulation it says False."""
    with simulate_gpu("T4"):
        assert torch.cuda.is_bf16_supported()
        assert not torch.cuda.is_bf16_supported(including_emulation=False)
    with simulate_gpu("L4"):
        assert torch.cuda.is_bf16_supported(including_emulation=False)


def test_the_simulated_build_has_kernels_for_its_card():
    from devicelab.gpus import gpus

    for name in gpus().names:
        with simulate_gpu(name):
            major, minor = torch.cuda.get_device_capability()
            architectures = [arch for arch in torch.cuda.get_arch_list() if arch.startswith("sm_")]
            assert any(
                int(arch[3:]) // 10 == major and int(arch[3:]) % 10 <= minor for arch in architectures
            ), name


def test_no_wheel_holds_kernels_for_volta_and_for_blackwell():
    """PyTorch 2.11 and later: only the wheel for CUDA 12.6 has sm_70, and that one ends at Hopper."""
    with simulate_gpu("Tesla V100-PCIE-32GB"):
        assert {"sm_70", "sm_90"} <= set(
            torch.cuda.get_arch_list()
        ) and "sm_120" not in torch.cuda.get_arch_list()
    with simulate_gpu("Tesla T4"):
        assert {"sm_75", "compute_120"} <= set(
            torch.cuda.get_arch_list()
        ) and "sm_70" not in torch.cuda.get_arch_list()


def test_the_current_card_can_be_chosen(cards):
    torch.cuda.set_device(1)
    assert torch.ones(1, device="cuda").device == torch.device("cuda:1")
    with torch.cuda.device(0):
        assert torch.cuda.current_device() == 0
        assert torch.ones(1, device="cuda").device == torch.device("cuda:0")
    assert torch.cuda.current_device() == 1
    with torch.cuda.device(-1), torch.cuda.device_of(torch.ones(1)):
        assert torch.cuda.current_device() == 1
    with torch.cuda.device_of(torch.ones(1, device="cuda:0")):
        assert torch.cuda.current_device() == 0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: torch.cuda.set_device(2), torch.AcceleratorError, "CUDA error: invalid device ordinal"),
        (lambda: torch.cuda.synchronize(5), torch.AcceleratorError, "CUDA error: invalid device ordinal"),
        (lambda: torch.cuda.get_device_properties(2), AssertionError, "Invalid device id"),
        (lambda: torch.cuda.get_device_name(7), AssertionError, "Invalid device id"),
        (lambda: torch.cuda.set_device("cpu"), ValueError, "Expected a cuda device, but got: cpu"),
        (lambda: torch.cuda.memory_allocated("cpu"), ValueError, "Expected a cuda device, but got: cpu"),
        (lambda: torch.cuda.memory_stats(3), RuntimeError, "Invalid device argument 3: did you call init?"),
    ],
)
def test_wrong_devices_are_refused_in_torchs_words(cards, call, error, words):
    torch.cuda.init()
    with pytest.raises(error, match=re.escape(words)):
        call()


def test_memory_is_counted_card_by_card(cards):
    held = torch.ones(1000, device="cuda:1")
    assert (torch.cuda.memory_allocated(0), torch.cuda.memory_allocated(1)) == (0, 4096)
    assert torch.cuda.memory_allocated(held.device) == torch.cuda.memory_allocated("cuda:1") == 4096


def test_all_ways_to_ask_for_memory_agree(card):
    held = [torch.ones(300_000, device="cuda") for _ in range(4)]
    del held[1:]
    stats = torch.cuda.memory_stats()
    assert torch.cuda.memory_allocated() == stats["allocated_bytes.all.current"] == 1_200_128
    assert torch.cuda.max_memory_allocated() == stats["allocated_bytes.all.peak"] == 4 * 1_200_128
    assert torch.cuda.memory_reserved() == stats["reserved_bytes.all.current"] == 20 * 2**20
    assert stats["requested_bytes.all.current"] == 1_200_000
    assert stats["num_ooms"] == 0
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == 1_200_128
    free, total = torch.cuda.mem_get_info()
    assert total == torch.cuda.get_device_properties(0).total_memory
    assert (
        free < total - torch.cuda.memory_reserved()
    )  # the CUDA context takes some, and torch does not count it
    del held
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == 0


def test_the_memory_summary_is_torchs_own_table(card):
    held = torch.ones(256, device="cuda")
    summary = torch.cuda.memory_summary()
    assert "PyTorch CUDA memory summary, device ID 0" in summary
    assert re.search(r"Allocated memory\s*\|\s*1024 B\s*\|\s*1024 B\s*\|", summary)
    assert held.is_cuda


def test_memory_questions_before_the_first_use_answer_zero(card):
    assert torch.cuda.memory_allocated() == torch.cuda.memory_reserved() == 0
    assert not torch.cuda.is_initialized()


def test_a_memory_fraction_is_kept(card):
    torch.cuda.set_per_process_memory_fraction(0.25)
    with pytest.raises(torch.OutOfMemoryError, match="allowed"):
        torch.empty(2**30, device="cuda")
    if hasattr(torch.cuda, "get_per_process_memory_fraction"):
        assert torch.cuda.get_per_process_memory_fraction() == pytest.approx(0.25, abs=1e-6)


def test_out_of_memory_is_one_class_under_all_its_names(card):
    with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
        torch.empty(2**33, device="cuda")
    assert type(caught.value) is torch.OutOfMemoryError
    assert isinstance(caught.value, RuntimeError)


def test_events_measure_simulated_milliseconds(card):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    torch.cuda._sleep(3_000_000)  # 2 ms at 1.5 GHz
    end.record()
    assert not end.query()
    torch.cuda.synchronize()
    assert end.query()
    assert start.elapsed_time(end) == pytest.approx(2, abs=0.05)


def test_an_event_has_an_id_of_its_own_once_it_was_recorded(card):
    first, second = torch.cuda.Event(), torch.Event("cuda")
    assert first.event_id == second.event_id == 0
    first.record()
    second.record()
    assert 0 not in (first.event_id, second.event_id) and first.event_id != second.event_id


def test_an_event_is_on_the_card_of_the_stream_that_it_was_recorded_in(cards):
    event, of_its_kind = torch.cuda.Event(), torch.Event("cuda")
    assert event.device is None and of_its_kind.device == torch.device("cuda")
    for one in (event, of_its_kind):
        one.record(torch.cuda.Stream("cuda:1"))
        assert one.device == torch.device("cuda", 1)
    assert torch.cuda.current_stream().record_event().device == torch.device("cuda", 0)
    assert torch.Event("cpu").device == torch.device("cpu")


def test_an_event_can_be_waited_for(card):
    event = torch.cuda.Event()
    torch.cuda._sleep(3_000_000)
    event.record()
    before = card.clock.now()
    event.synchronize()
    assert card.clock.now() - before == pytest.approx(2e-3, rel=0.05)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: (torch.cuda.Event(), torch.cuda.Event()),
            ValueError,
            "Both events must be created with argument 'enable_timing=True'.",
        ),
        (
            lambda: (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)),
            ValueError,
            "Both events must be recorded before calculating elapsed time.",
        ),
    ],
)
def test_events_refuse_in_torchs_words(card, make, error, words):
    start, end = make()
    with pytest.raises(error, match=re.escape(words)):
        start.elapsed_time(end)


def test_an_event_that_the_queue_has_not_reached_cannot_be_read(card):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    torch.cuda._sleep(3_000_000)
    end.record()
    with pytest.raises(RuntimeError, match=r"Both events must be completed before calculating elapsed time."):
        start.elapsed_time(end)


def test_an_event_stays_on_its_card(cards):
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(0))
    with pytest.raises(RuntimeError, match="Event device 0 does not match recording stream's device 1"):
        event.record(torch.cuda.current_stream(1))


def test_streams_are_streams(card):
    side = torch.cuda.Stream()
    assert isinstance(side, torch.cuda.Stream)
    assert isinstance(side, torch.Stream)
    assert side != torch.cuda.current_stream() == torch.cuda.default_stream()
    assert len({side, torch.cuda.default_stream(), torch.cuda.current_stream()}) == 2
    assert side.device == torch.device("cuda:0")
    with torch.cuda.stream(side) as entered:
        assert torch.cuda.current_stream() == side
        assert entered is None or entered == side
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    with torch.cuda.stream(None):
        assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert not torch.cuda.is_current_stream_capturing()


def test_work_in_a_side_stream_overlaps_until_it_is_waited_for(card):
    side = torch.cuda.Stream()
    torch.cuda.synchronize()
    before = card.clock.now()
    torch.cuda._sleep(3_000_000)
    with torch.cuda.stream(side):
        torch.cuda._sleep(3_000_000)
    torch.cuda.synchronize()
    assert card.clock.now() - before == pytest.approx(2e-3, rel=0.05)
    torch.cuda._sleep(3_000_000)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(3_000_000)
    assert not side.query()
    side.synchronize()
    assert side.query()
    assert card.clock.now() - before == pytest.approx(6e-3, rel=0.05)


def test_a_stream_of_another_card_moves_there_and_back(cards):
    with torch.cuda.stream(torch.cuda.Stream(device=1)):
        assert torch.cuda.current_device() == 1
    assert torch.cuda.current_device() == 0


def test_a_stream_on_a_card_that_is_not_there_is_refused(cards):
    with pytest.raises(torch.AcceleratorError, match="invalid device ordinal"):
        torch.cuda.Stream(device=4)


def test_events_of_two_cards_have_no_time_between_them(cards):
    """cudaEventElapsedTime gives cudaErrorInvalidResourceHandle where the events belong to two contexts."""
    events = [torch.cuda.Event(enable_timing=True) for _ in cards.cards]
    for index, event in enumerate(events):
        event.record(torch.cuda.current_stream(index))
        event.synchronize()
    with pytest.raises(torch.AcceleratorError, match=r"^CUDA error: invalid resource handle\n"):
        events[0].elapsed_time(events[1])
    assert events[0].elapsed_time(events[0]) == 0


def test_torchs_own_names_for_streams_and_events_make_simulated_ones(card):
    """As the documentation of torch.accelerator times work."""
    start, end = torch.Event(enable_timing=True), torch.Event("cuda", enable_timing=True)
    start.record()
    torch.cuda._sleep(3_000_000)
    end.record()
    torch.accelerator.synchronize()
    assert start.elapsed_time(end) == pytest.approx(2, abs=0.05)
    side = torch.Stream(device="cuda")
    with side:
        assert torch.accelerator.current_stream() == side
    assert isinstance(side, torch.Stream)
    assert isinstance(start, torch.Event)
    assert not isinstance(3, torch.Stream)


def test_tensors_remember_streams(card):
    torch.ones(3, device="cuda").record_stream(torch.cuda.Stream())


def test_the_idiom_of_the_tutorials_finds_the_card(card):
    device = (
        torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    )
    assert device == torch.device("cuda")
    assert torch.ones(1, device=device).device == torch.device("cuda:0")
    assert torch.get_device_module("cuda") is torch.cuda
    assert torch.get_device_module() is torch.cuda


def test_the_accelerator_speaks_of_the_same_cards(cards):
    acc = torch.accelerator
    assert acc.device_count() == 2
    acc.set_device_index(1)
    assert acc.current_device_index() == torch.cuda.current_device() == 1
    assert acc.current_stream() == torch.cuda.current_stream()
    acc.synchronize()
    side = torch.cuda.Stream(device=0)
    acc.set_stream(side)
    assert torch.cuda.current_stream(0) == side


@pytest.mark.skipif(
    not hasattr(torch.accelerator, "memory_allocated"),
    reason="torch.accelerator.memory_* came with torch 2.9",
)
def test_the_accelerators_memory_is_cudas(card):
    acc = torch.accelerator
    assert acc.memory_allocated() == 0
    held = torch.ones(1000, device="cuda")
    assert acc.memory_allocated() == torch.cuda.memory_allocated() == 4096
    assert acc.memory_reserved() == torch.cuda.memory_reserved()
    assert acc.memory_stats()["allocated_bytes.all.current"] == 4096
    del held
    acc.empty_cache()
    assert acc.memory_reserved() == 0
    acc.reset_peak_memory_stats()
    assert acc.max_memory_allocated() == 0


def test_random_numbers_of_the_card_have_their_own_seed(card):
    torch.cuda.manual_seed_all(3)
    state = torch.cuda.get_rng_state()
    first = torch.rand(4, device="cuda").tolist()
    torch.cuda.set_rng_state(state)
    assert torch.rand(4, device="cuda").tolist() == first
    assert torch.cuda.initial_seed() == 3


def test_a_seed_given_before_the_card_is_used_holds(card):
    torch.manual_seed(11)
    first = torch.rand(4, device="cuda").tolist()
    torch.manual_seed(11)
    assert torch.rand(4, device="cuda").tolist() == first


def test_profilers_marks_do_nothing_and_do_not_fail(card):
    with torch.cuda.nvtx.range("forward"):
        assert torch.cuda.nvtx.range_push("inner") == 1
        torch.cuda.nvtx.mark("here")
        assert torch.cuda.nvtx.range_pop() == 1
    with torch.cuda.profiler.profile():
        pass


def test_flags_of_the_backends_can_be_set_as_on_a_gpu(card):
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=True):
        assert torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.deterministic
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    assert torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = before


def test_leaving_gives_everything_back():
    def look() -> dict[str, object]:
        places = (
            torch._C,
            torch.cuda,
            torch.cuda.streams,
            torch.cuda.nvtx,
            torch.cuda.graphs,
            torch.accelerator,
            torch._tensor_str,
        )
        return {f"{place.__name__}.{name}": value for place in places for name, value in vars(place).items()}

    with simulate_gpu():  # the first time, torch loads modules of its own
        pass
    before = look()
    with simulate_gpu("L4", count=2):
        torch.cuda.set_device(1)
        torch.ones(3, device="cuda")
        torch.cuda.Stream().synchronize()
        torch.cuda.manual_seed(5)
        assert torch.accelerator.is_available()
    after = look()
    assert [name for name in before.keys() | after.keys() if before.get(name) is not after.get(name)] == []
    assert torch.cuda.is_available() == (torch.cuda.device_count() > 0)
    assert not torch.cuda.is_initialized()


def test_after_leaving_errors_are_those_of_before():
    def words() -> str:
        with pytest.raises((AssertionError, RuntimeError)) as caught:
            torch.cuda.current_device()
        return str(caught.value)

    if torch.cuda.is_available():
        pytest.skip("a real GPU answers")
    before = words()
    with simulate_gpu():
        torch.ones(1, device="cuda")
    assert words() == before


def test_starting_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with simulate_gpu("V100-SXM2"):
            torch.ones(1, device="cuda").sum().item()


def test_a_seed_does_not_wake_the_card():
    with simulate_gpu("Tesla T4"):
        torch.cuda.manual_seed(3)
        assert not torch.cuda.is_initialized()
        first = torch.rand(2, device="cuda").tolist()
        torch.cuda.manual_seed(3)
        assert torch.rand(2, device="cuda").tolist() == first
