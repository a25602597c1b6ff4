"""The simulated clock: a host that runs ahead, queues that work in order, and waits that cost what they cost on a real card."""

import time

import pytest
import torch
from torch import nn

from devicelab import simulate_gpu
from devicelab.gpus import find
from devicelab.simgpu.machine.clock import QUEUE_DEPTH, Clock
from tools.notebooks import warm

aten = torch.ops.aten
CPU, CUDA, OTHER = torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 1)


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


BIG = (aten.mm.default, (meta(4096, 4096), meta(4096, 4096)), meta(4096, 4096))
TINY = (aten.relu.default, (meta(10),), meta(10))


@pytest.fixture
def clock():
    return Clock([find("T4"), find("T4")])


def spent(clock: Clock, call) -> float:
    before = clock.now()
    call()
    return clock.now() - before


def big_seconds(clock: Clock) -> float:
    return clock.costs[0].operator(BIG[0], BIG[1], {}, BIG[2]).device.seconds


def test_a_launch_returns_at_once_and_the_wait_pays_for_the_work(clock):
    launch = spent(clock, lambda: clock.kernel(0, *BIG))
    wait = spent(clock, lambda: clock.wait(0))
    assert launch < 20e-6
    assert big_seconds(clock) < launch + wait < big_seconds(clock) + 40e-6


def test_the_next_wait_is_billed_for_earlier_work(clock):
    for _ in range(10):
        clock.kernel(0, *BIG)
    clock.kernel(0, *TINY)
    assert spent(clock, lambda: clock.wait(0)) > 9 * big_seconds(clock)


def test_small_work_is_bound_by_the_host_not_by_the_card(clock):
    launches = spent(clock, lambda: [clock.kernel(0, *TINY) for _ in range(100)])
    assert spent(clock, lambda: clock.wait(0)) < 0.02 * launches


def test_an_empty_queue_still_costs_a_synchronization(clock):
    assert 0 < spent(clock, lambda: clock.wait(0)) < 20e-6


def test_an_operator_with_a_synchronization_after_it_costs_about_what_was_measured(clock):
    """17 us on an A100's host, in public measurements; the range holds it."""
    (low, high), before = clock.bounds(), clock.now()
    clock.kernel(0, *TINY)
    clock.wait(0)
    assert clock.bounds()[0] - low < 17e-6 < clock.bounds()[1] - high
    assert clock.now() - before == pytest.approx(17e-6, abs=3e-6)


def test_streams_of_one_card_overlap_and_one_stream_does_not(clock):
    def two(second_stream: int) -> float:
        clock.kernel(0, *BIG)
        clock.set_stream(0, second_stream)
        clock.kernel(0, *BIG)
        clock.set_stream(0, 0)
        clock.wait(0)
        return clock.now()

    alone = two(0)
    assert two(7) - alone < 0.6 * alone


def test_a_held_stream_starts_no_earlier_than_the_event(clock):
    clock.kernel(0, *BIG)
    clock.hold(0, 5, clock.mark(0, 0))
    clock.set_stream(0, 5)
    clock.kernel(0, *BIG)
    clock.wait(0, stream=5)
    assert clock.now() > 2 * big_seconds(clock)


def test_cards_work_at_the_same_time(clock):
    clock.kernel(0, *BIG)
    clock.kernel(1, *BIG)
    clock.wait(0)
    clock.wait(1)
    assert clock.now() < 1.1 * big_seconds(clock)


def test_a_full_queue_makes_the_host_wait(clock):
    """CUDA keeps a bounded number of launches; a loop without synchronize is slowed down by the card in the end."""
    times = []
    for _ in range(QUEUE_DEPTH + 10):
        times.append(spent(clock, lambda: clock.kernel(0, *BIG)))
    assert max(times[:QUEUE_DEPTH]) < 20e-6
    assert min(times[QUEUE_DEPTH + 1 :]) == pytest.approx(big_seconds(clock), rel=0.01)


@pytest.mark.parametrize(
    ("source", "target", "pinned", "non_blocking", "waits"),
    [
        (CPU, CUDA, False, False, True),
        (CPU, CUDA, False, True, True),
        (CPU, CUDA, True, False, True),
        (CPU, CUDA, True, True, False),
        (CUDA, CPU, False, False, True),
        (CUDA, CPU, True, True, False),
        (CUDA, OTHER, False, False, False),
    ],
)
def test_only_pinned_non_blocking_copies_let_the_host_run_ahead(
    clock, source, target, pinned, non_blocking, waits
):
    nbytes = 100_000_000
    link = clock.costs[0].copy(nbytes, pinned or source.type == target.type, target.type == "cpu").seconds
    taken = spent(clock, lambda: clock.copy(source, target, nbytes, pinned, non_blocking))
    assert taken > link if waits else taken < 20e-6


def test_a_copy_waits_for_the_work_queued_before_it(clock):
    clock.kernel(0, *BIG)
    assert spent(clock, lambda: clock.copy(CUDA, CPU, 4)) > big_seconds(clock)


def test_low_and_high_bound_the_clock_at_every_moment(clock):
    for act in (
        lambda: clock.kernel(0, *BIG),
        lambda: clock.kernel(0, *TINY),
        lambda: clock.host(*TINY),
        lambda: clock.copy(CPU, CUDA, 1_000_000),
        lambda: clock.wait(0),
    ):
        act()
        low, high = clock.bounds()
        assert 0 < low < clock.now() < high


def article_step(device: str):
    """The article's model: Linear(10, 2), 100 rows, MSE, SGD."""
    model = nn.Linear(10, 2).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    data, labels = torch.randn(100, 10).to(device), torch.randn(100, 2).to(device)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(data), labels)
        loss.backward()
        optimizer.step()
        return loss

    step()
    return step


def test_the_articles_step_is_bound_by_its_launches():
    with simulate_gpu("Tesla T4") as simulation:
        step = article_step("cuda")
        torch.cuda.synchronize()
        submitted = spent(simulation.clock, step)
        rest = spent(simulation.clock, torch.cuda.synchronize)
    assert 80e-6 < submitted < 300e-6
    assert rest < 0.1 * submitted


def test_a_large_step_is_bound_by_the_card_and_the_naive_clock_misses_it():
    with simulate_gpu("Tesla T4") as simulation:
        model, data = nn.Linear(1024, 1024).cuda(), torch.ones(2048, 1024, device="cuda")
        torch.cuda.synchronize()
        naive = spent(simulation.clock, lambda: model(data))
        right = naive + spent(simulation.clock, torch.cuda.synchronize)
    arithmetic = 2 * 2048 * 1024 * 1024 / 8.1e12
    assert naive < 30e-6
    assert arithmetic < right < 4 * arithmetic


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x.sum().cpu(),
        lambda x: x.sum().tolist(),
        lambda x: bool(x.sum() > 0),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.masked_select(x, x > 0),
        lambda x: torch.unique(x[:2]),
        lambda x: repr(x[0, 0]),
    ],
    ids=["item", "cpu", "tolist", "bool", "nonzero", "mask", "masked_select", "unique", "repr"],
)
def test_what_needs_a_value_waits_for_the_card(wait):
    with simulate_gpu() as simulation:
        data = torch.ones(1500, 1500, device="cuda")
        torch.cuda.synchronize()
        product = data @ data
        before = simulation.clock.now()
        wait(product)
        assert simulation.clock.now() - before > 1e-3  # the product takes 1.7 ms


@pytest.mark.parametrize(
    "go_on",
    [
        lambda x: x.sum(),
        lambda x: x[0],
        lambda x: x.t(),
        lambda x: x.shape,
        lambda x: x.clone(),
        lambda x: x.device,
    ],
    ids=["sum", "index", "view", "shape", "clone", "device"],
)
def test_what_needs_no_value_does_not_wait(go_on):
    with simulate_gpu() as simulation:
        data = torch.ones(1500, 1500, device="cuda")
        torch.cuda.synchronize()
        product = data @ data
        before = simulation.clock.now()
        go_on(product)
        assert simulation.clock.now() - before < 50e-6


PROGRAM = """
import torch
from devicelab import simulate_gpu
with simulate_gpu("Tesla T4") as simulation:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(32, 64).cuda()).square().mean().backward()
        optimizer.step()
    torch.cuda.synchronize()
    print(simulation.clock.now().hex(), *(bound.hex() for bound in simulation.clock.bounds()))
"""


def test_the_same_program_takes_the_same_simulated_time_in_another_process(capsys):
    exec(PROGRAM, {})
    here = capsys.readouterr().out
    there = warm.run("-c", PROGRAM).stdout
    assert here == there
    assert len(here.split()) == 3


def test_pythons_own_clocks_cannot_see_it():
    with simulate_gpu() as simulation:
        torch.cuda.init()
        before, simulated = time.perf_counter(), simulation.clock.now()
        torch.cuda._sleep(3_000_000_000)  # two simulated seconds
        torch.cuda.synchronize()
        assert simulation.clock.now() - simulated > 1.9
        assert time.perf_counter() - before < 1


def test_the_context_is_created_once_at_the_first_use():
    with simulate_gpu() as simulation:
        assert simulation.clock.now() == 0
        first = spent(simulation.clock, lambda: torch.ones(1).to("cuda"))
        second = spent(simulation.clock, lambda: torch.ones(1).to("cuda"))
    assert first > 0.1 > 1e-3 > second


def test_debug_mode_reports_operators_that_wait():
    with simulate_gpu():
        x = torch.ones(3, device="cuda")
        torch.cuda.set_sync_debug_mode("error")
        with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
            x.sum().item()
        torch.cuda.set_sync_debug_mode("warn")
        with pytest.warns(UserWarning, match="called a synchronizing CUDA operation"):
            x.nonzero()
        torch.cuda.synchronize()  # asked for, so not reported
        torch.cuda.set_sync_debug_mode("default")
        assert x.sum().item() == 3
