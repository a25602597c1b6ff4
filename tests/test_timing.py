import pytest
import torch
from torch import nn

from devicelab import simulate_gpu, timeit, timing
from devicelab.errors import InputError
from devicelab.results import Timing
from devicelab.timing import devices_used


def test_a_timing_keeps_its_raw_samples_and_says_where_it_ran():
    x = torch.ones(64, 64)
    timing = timeit(lambda: x @ x, seconds=0.02)
    assert timing.device == "cpu" and timing.origin == "measured"
    assert len(timing.samples) >= 3 and min(timing.samples) > 0
    assert min(timing.samples) <= timing.median <= max(timing.samples)
    assert "[measured, cpu]" in str(timing)


def test_the_function_is_warm_before_the_first_sample():
    calls = []
    timeit(lambda: calls.append(torch.ones(1)), repeats=4)
    assert len(calls) > 4


def test_repeats_asks_for_that_many_samples_of_one_call():
    timing = timeit(lambda: torch.ones(1), repeats=7)
    assert len(timing.samples) == 7 and timing.calls == 1


def test_the_number_of_threads_is_set_and_put_back():
    before, seen = torch.get_num_threads(), set()
    timing = timeit(lambda: seen.add(torch.get_num_threads()), repeats=2, threads=1)
    assert timing.threads == 1 and 1 in seen
    assert torch.get_num_threads() == before


def test_left_out_the_faster_number_of_threads_is_taken(monkeypatch):
    quickest = {1: 2e-6, 4: 9e-6}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(timing, "_quickest", lambda fn, threads, repeats: quickest[threads])
    assert timing._best_threads(int) == 1
    quickest[4] = 1e-6
    assert timing._best_threads(int) == 4
    quickest.update({1: 0.1, 4: 0.2})
    assert timing._best_threads(int) == 4, "long work is not tried twice"


def test_work_on_the_simulated_gpu_is_labelled_simulated_with_low_and_high():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(64, 64, device="cuda")
        timing = timeit(lambda: x @ x)
    assert (timing.device, timing.origin, timing.name) == ("cuda:0", "simulated", "Tesla T4")
    assert timing.low is not None and timing.high is not None
    assert 0 < timing.low <= timing.median <= timing.high


def test_simulated_time_is_the_same_every_time():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(64, 64, device="cuda")
        first, second = (timeit(lambda: x @ x) for _ in range(2))
    assert first.samples == pytest.approx(second.samples, rel=1e-9)
    assert first.spread == pytest.approx(0, abs=1e-12)


def test_work_on_the_cpu_is_measured_even_while_a_gpu_is_simulated():
    x = torch.ones(64, 64)
    with simulate_gpu("Tesla T4"):
        timing = timeit(lambda: x @ x, seconds=0.02)
        assert (torch.ones(2, device="cuda") * 2).is_cuda, "the simulation goes on after the measurement"
    assert (timing.device, timing.origin) == ("cpu", "measured")


def test_a_call_that_uses_both_devices_names_both():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(4)
        timing = timeit(lambda: x.cuda().sum().cpu() + 1)
    assert timing.device == "cpu and cuda:0" and timing.origin == "simulated"


def test_devices_used_sees_forward_and_backward_on_the_cpu():
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    assert devices_used(lambda: model(x).sum().backward()) == ["cpu"]


def test_wide_samples_are_called_unstable():
    wide = Timing((1.0, 2.0, 3.0, 4.0), 1, "cpu", "CPU", "measured", 1)
    close = Timing((1.0, 1.01, 1.02, 1.0), 1, "cpu", "CPU", "measured", 1)
    assert wide.unstable and "measure again" in str(wide)
    assert not close.unstable and "measure again" not in str(close)


def test_a_busy_machine_is_said_beside_a_measured_time():
    def close(origin, load):
        return str(Timing((1.0, 1.01, 1.02), 1, "cpu", "CPU", origin, 1, load=load))

    assert "busy (load 3.0 per core)" in close("measured", 3.0)
    assert (
        "busy" not in close("measured", 0.5)
        and "busy" not in close("simulated", 3.0)
        and "busy" not in close("measured", None)
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fn": 3}, "needs a function"),
        ({"fn": int, "repeats": 0}, "repeats must be between 1 and"),
        ({"fn": int, "seconds": -1}, "seconds must be between"),
        ({"fn": int, "seconds": float("nan")}, "seconds must be between"),
        ({"fn": int, "threads": -2}, "threads must be between 1 and"),
    ],
)
def test_unusable_arguments_are_refused_with_the_allowed_ones(arguments, words):
    with pytest.raises(InputError, match=words):
        timeit(**arguments)


def test_an_error_of_the_timed_function_comes_through():
    def fails():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        timeit(fails)
