import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from devicelab import devices, simulate_gpu, timeit, trace
from devicelab.errors import InputError
from devicelab.results import Timing
from devicelab.timing import calls, devices_used, timer


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
    now = [4]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: now.__setitem__(0, threads))
    monkeypatch.setattr(timer, "_quick", lambda fn, device: [quickest[now[0]]])
    assert timer._threads(int, devices.CPU, 1e-6, 0.3) == 1
    quickest[4] = 1e-6
    assert timer._threads(int, devices.CPU, 1e-6, 0.3) == 4
    quickest[1] = 0
    assert timer._threads(int, devices.CPU, 5.0, 0.3) == 4, "long work is not tried twice"
    assert now == [4]


@pytest.mark.parametrize(("alone", "threads"), [(0.01, 1), (0.4, 4)])
def test_a_call_that_seems_long_is_tried_with_one_thread_once(monkeypatch, alone, threads):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    tried = []
    monkeypatch.setattr(timer, "once", lambda fn, device: tried.append(1) or calls.Call(0, 0, alone, 0, 0, 0))
    assert timer._threads(int, devices.CPU, 0.2, 0.3) == threads and tried == [1]


class Fake:
    """A device with a queue: submitting costs the host so much, and the device works so long; its clock is the only one."""

    def __init__(self, monkeypatch, host=0.0, work=0.0, **more):
        self.now = self.end = 0.0
        self.host, self.work, self.called, self.slept = host, work, 0, []
        self.device = devices.Device(
            "meta", "Fake", "measured", clock=lambda: self.now, synchronize=self.synchronize, **more
        )
        monkeypatch.setattr(calls.time, "perf_counter", lambda: self.now)
        devices.register(self.device)

    def synchronize(self):
        self.now = max(self.now, self.end)

    def submit(self):
        torch.empty(1, device="meta")
        self.called += 1
        self.now += self.host
        self.end = max(self.end, self.now) + self.work

    def event(self):
        return FakeEvent(self)


class FakeEvent:
    """Holds the moment at which the queue gets to it."""

    def __init__(self, fake):
        self.fake = fake

    def record(self):
        self.moment = max(self.fake.end, self.fake.now)

    def elapsed_time(self, later):
        return 1000 * (later.moment - self.moment)


@pytest.fixture
def fake(monkeypatch):
    made = []

    def make(**more):
        made.append(Fake(monkeypatch, **more))
        return made[-1]

    yield make
    for one in made:
        devices.unregister(one.device)


def test_a_sample_ends_when_the_queue_is_empty(fake):
    card = fake(host=0.001, work=0.004)
    timing = timeit(card.submit, repeats=3)
    assert timing.samples == pytest.approx([0.005] * 3)
    assert (timing.device, timing.name, timing.calls) == ("meta", "Fake", 1)


@pytest.mark.parametrize(("work", "samples", "most"), [(0.5, 3, 5), (600, 1, 2)])
def test_a_long_call_is_not_repeated_more_than_it_says(fake, work, samples, most):
    card = fake(work=work)
    timing = timeit(card.submit)
    assert len(timing.samples) == samples and card.called <= most
    assert ("one sample, so no spread" in str(timing)) == (samples == 1)


def test_a_short_call_is_taken_many_times_in_each_sample_and_the_time_given_is_kept(fake):
    card = fake(work=1e-4)
    timing = timeit(card.submit, seconds=0.12)
    assert timing.calls == pytest.approx(100, abs=1) and timing.median == pytest.approx(1e-4)
    assert card.now < 0.2, "the samples agree, so there are few"


def test_samples_that_differ_go_on_until_the_time_is_spent(fake):
    card = fake(work=1e-3)

    def uneven():
        card.work = 1e-3 * (1 + card.called // 100 % 2)  # a sample here has about 84 calls
        card.submit()

    assert len(timeit(uneven, seconds=1).samples) > 5


def test_calls_that_come_to_take_far_longer_do_not_take_far_more_time(fake):
    card = fake(work=1e-3)

    def slower():
        card.work = 1e-3 if card.called < 20 else 0.05
        card.submit()

    timing = timeit(slower, seconds=0.3)
    assert card.now < 3 and len(timing.samples) < 3


def test_host_and_gpu_time_come_apart_by_events(fake):
    card = fake(host=0.002, work=0.03)
    object.__setattr__(card.device, "event", card.event)
    timing = timeit(card.submit, repeats=3)
    assert timing.host == pytest.approx(0.002) and timing.gpu == pytest.approx(0.032)
    assert "The host needs 2.00 ms to submit a call; the GPU works 32.0 ms on it." in str(timing)


def test_a_real_card_sleeps_while_the_host_submits_so_that_gaps_do_not_count(fake, monkeypatch):
    card = fake(host=0.002, work=0.001)

    def sleep(cycles):
        card.slept.append(cycles)
        card.end = max(card.end, card.now) + cycles / calls.CYCLES

    monkeypatch.setattr(torch.cuda, "_sleep", sleep)
    real = devices.Device(
        "cuda", "Fake", "measured", card.device.clock, synchronize=card.synchronize, event=card.event
    )
    assert calls.event_seconds(card.submit, real, host=0.002) == pytest.approx(0.001)
    assert len(card.slept) == 1
    calls.event_seconds(card.submit, real, host=5.0)
    assert len(card.slept) == 1, "a card is not put to sleep for seconds"


def test_a_real_gpu_gives_its_events_and_its_synchronize(monkeypatch):
    made = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "Event", lambda **options: made.append(options))
    device = devices.real_accelerator()
    assert (device.type, device.name, device.synchronize) == ("cuda", "Tesla T4", torch.cuda.synchronize)
    device.event()
    assert made == [{"enable_timing": True}]


def test_on_the_simulated_card_host_and_gpu_come_apart_and_on_the_cpu_they_do_not():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(1024, 1024, device="cuda")
        timing = timeit(lambda: x @ x)
        waits = timeit(lambda: (x @ x).sum().item())
    assert 0 < timing.host < timing.gpu < timing.median
    assert waits.host == pytest.approx(waits.median, rel=0.05), (
        "a call that waits keeps the host all the time"
    )
    assert timing.to_dict()["gpu"] == timing.gpu
    on_cpu = timeit(lambda: torch.ones(1), repeats=1)
    assert on_cpu.host is None and on_cpu.gpu is None and "submit" not in str(on_cpu)


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


def test_a_trace_inside_work_that_the_simulation_leaves_alone_sees_it_and_measures():
    x, traces = torch.ones(4), []

    def work() -> None:
        with trace() as t:
            x + x
        traces.append(t)

    with simulate_gpu("Tesla T4"):
        timeit(work, repeats=1)
    assert [[one.name for one in t.operators] for t in traces] == [["aten::add"]] * len(traces)
    assert {t.origin for t in traces[1:]} == {"measured"}, "the first call looks for the devices of the work"
    assert all(t.operators[0].seconds > 0 for t in traces)


def test_a_compiled_function_is_timed_compiled():
    ran = []
    compiled = torch.compile(
        lambda x: x * 2, backend=lambda graph, inputs: lambda *values: ran.append(1) or graph(*values)
    )
    timing = timeit(lambda: compiled(torch.ones(2)), repeats=3)
    assert timing.device == "cpu" and len(ran) >= 3


@pytest.mark.skipif(
    not hasattr(TorchDispatchMode, "supports_higher_order_operators"),
    reason="before PyTorch 2.9 no mode hears of them",
)
def test_an_operator_that_takes_functions_is_timed():
    x = torch.ones(2)
    timing = timeit(lambda: torch.ops.higher_order.cond(x.sum() > 0, torch.sin, torch.cos, (x,)), repeats=1)
    assert timing.device == "cpu"


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
    assert "±" not in wide.text and "(quartiles " in wide.text and "±" in close.text
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
        ({"fn": 3}, "needs a function to call, but it got int, perhaps what a call returned"),
        ({"fn": None}, "Give the function itself, step and not step"),
        ({"fn": lambda x, y=1, *more: x}, "calls the function without arguments, but it needs x. Wrap it"),
        ({"fn": lambda: (n for n in "ab")}, "returned a generator, so nothing of it has run yet"),
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


def test_a_coroutine_is_refused_and_closed(recwarn):
    async def work():
        return 1

    with pytest.raises(InputError, match="asynchronous: a call only makes a coroutine"):
        timeit(work)
    assert not recwarn.list


def test_a_function_that_changes_state_and_returns_nothing_is_timed_as_it_is():
    seen: list[int] = []
    assert len(timeit(lambda: seen.append(1), repeats=5).samples) == 5
    assert len(seen) >= 6, "the warm-up call counts too"
