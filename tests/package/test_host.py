"""The host's share of simulated times: this machine's, measured once; the nominal one where nobody may depend on a machine."""

import os
import subprocess
import sys
import time
import warnings

import pytest
import torch
from torch import nn

import devicelab as lab
from devicelab import costs, simulate_gpu
from devicelab.costs import Span, here
from devicelab.errors import InputError
from tools.notebooks import warm

T4 = "Tesla T4"


@pytest.fixture
def measuring(monkeypatch):
    """Let the host be measured, and count how often."""
    monkeypatch.delenv(here.VARIABLE)
    here.measured.cache_clear()
    made = []
    smallest = here.smallest_step
    monkeypatch.setattr(here, "smallest_step", lambda: made.append(1) or smallest())
    yield made
    here.measured.cache_clear()


def fixed(monkeypatch, microseconds: float) -> None:
    """Let this machine's host need so long for an operator."""
    monkeypatch.delenv(here.VARIABLE, raising=False)
    span = Span(*(microseconds * 1e-6 * part for part in (0.9, 1, 1.2)))
    monkeypatch.setattr(here, "measured", lambda: here.Host(span, is_measured=True))


def article_step(device: str, rows: int = 100):
    model = nn.Linear(10, 2).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    data, labels = torch.randn(rows, 10).to(device), torch.randn(rows, 2).to(device)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(data), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_the_host_is_measured_once_and_only_when_a_time_is_read(measuring):
    with simulate_gpu(T4):
        torch.ones(3, device="cuda").sum().item()
    assert measuring == []
    for _ in range(2):
        with simulate_gpu(T4) as simulation:
            lab.clock()
            assert simulation.clock.host_of.is_measured
    assert measuring == [1]


def traced(function):
    with lab.trace() as t:
        function()
    return t


@pytest.mark.parametrize(
    "read",
    [
        lambda: lab.clock(),
        lambda: torch.cuda.Event(enable_timing=True).record(),
        lambda: lab.timeit(lambda: torch.ones(2, device="cuda"), seconds=0.001),
        lambda: traced(lambda: torch.ones(2, device="cuda")),
    ],
    ids=["clock", "event", "timeit", "trace"],
)
def test_every_reading_settles_the_host_first(monkeypatch, read):
    fixed(monkeypatch, 17)
    with simulate_gpu(T4) as simulation:
        read()
        assert simulation.clock.dispatch.seconds == pytest.approx(17e-6)


def test_measuring_disturbs_nothing(measuring):
    with simulate_gpu(T4):
        torch.manual_seed(7)
        expected = torch.rand(2).tolist()
        torch.manual_seed(7)
        with torch.no_grad(), lab.trace() as t, warnings.catch_warnings():
            warnings.simplefilter("error")
            begin = time.perf_counter()
            lab.clock()
            taken = time.perf_counter() - begin
            assert torch.rand(2).tolist() == expected and not torch.is_grad_enabled()
    assert measuring == [1] and taken < 2  # 0.04 s on an idle machine
    assert sum(operator.count for operator in t.operators) == 1  # torch.rand


def test_the_step_dispatches_what_a_step_with_torchs_optimizer_does():
    class Names(here.Counter):
        def __init__(self):
            super().__init__()
            self.seen = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen.append(str(func))
            return super().__torch_dispatch__(func, types, args, kwargs)

    model = nn.Linear(10, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, foreach=True)

    def torchs() -> None:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(torch.ones(4, 10)), torch.ones(4, 2)).backward()
        optimizer.step()

    seen = {}
    for name, step in (("ours", here.smallest_step()), ("torch's", torchs)):
        step()
        with Names() as names:
            step()
        seen[name] = [one for one in names.seen if one != "aten.ones.default"]
    assert seen["ours"] == seen["torch's"] and len(seen["ours"]) > 10


def test_measuring_the_host_loads_no_compiler():
    code = (
        "import sys; from devicelab.costs import here; here.measured(); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, here.VARIABLE: ""},
    )
    assert done.stdout.split() == ["False"]


def test_what_is_measured_is_a_host(measuring):
    host = costs.host()
    assert host.is_measured and 0 < host.dispatch.low <= host.dispatch.seconds <= host.dispatch.high
    assert 1e-7 < host.dispatch.seconds < 1e-3
    assert "measured on this machine" in str(host)


def test_a_machine_whose_steps_differ_widely_is_called_busy(monkeypatch):
    here.measured.cache_clear()
    monkeypatch.setattr(here, "_blocks", lambda step: [1e-4] * 5 + [9e-4] * 5)
    assert here.measured().is_busy and "while it was busy" in str(here.measured())
    here.measured.cache_clear()
    monkeypatch.setattr(here, "_blocks", lambda step: [1e-4, 1.02e-4, 1.01e-4, 1e-4, 1.03e-4])
    assert not here.measured().is_busy
    here.measured.cache_clear()


def test_a_timing_says_where_the_hosts_share_is_from(monkeypatch):
    def told() -> str:
        with simulate_gpu(T4):
            timing = lab.timeit(lambda: torch.ones(2, device="cuda") + 1, seconds=0.001)
        assert timing.origin == "simulated" and str(timing.to_dict()["host_note"]) in str(timing)
        return str(timing)

    assert "(a nominal host: 5.00 µs for each operator); the GPU works" in told()
    assert told().endswith("on it (estimated).")
    fixed(monkeypatch, 8)
    assert "(8.00 µs for each operator measured on this machine); the GPU works" in told()


def test_an_estimate_keeps_the_nominal_host_and_says_so(monkeypatch):
    def estimate():
        return lab.estimate(lambda x: (x @ x).sum(), torch.ones(8, 8), gpu=T4)

    nominal = estimate()
    fixed(monkeypatch, 100)
    assert estimate().seconds == nominal.seconds
    with simulate_gpu(T4):
        lab.clock()
        assert estimate().seconds == nominal.seconds
    assert "; on a nominal host" in str(nominal)


@pytest.mark.parametrize("microseconds", [1, 5, 20, 50])
def test_at_the_articles_size_a_card_is_not_ahead_of_the_cpu_it_sits_in(monkeypatch, microseconds):
    """Of the model's own numbers: what the CPU's step pays for its operators, the card's pays too, and launches on top."""
    step = article_step("cpu", rows=1)
    step()
    with here.Counter() as counter:
        step()
    fixed(monkeypatch, microseconds)
    with simulate_gpu(T4):
        timing = lab.timeit(article_step("cuda"), seconds=0.001)
    low, high = timing.range
    assert timing.median > counter.count * microseconds * 1e-6
    assert low < timing.median < high


def test_only_the_nominal_host_can_be_asked_for(monkeypatch):
    assert costs.host() == costs.NOMINAL  # as all tests have it: tests/conftest.py
    monkeypatch.setenv(here.VARIABLE, "fast")
    with pytest.raises(InputError, match='DEVICELAB_HOST="fast": only "nominal" is known'):
        costs.host()


def test_nobody_takes_the_measured_steps_for_the_learners(measuring):
    with simulate_gpu(T4), lab.trace() as t:
        torch.ones(2, device="cuda")
    assert measuring and t.steps == 0


def test_two_processes_with_the_nominal_host_agree():
    lines = (
        "import torch",
        "from devicelab import clock, simulate_gpu",
        "simulate_gpu('Tesla T4')",
        "torch.ones(2).cuda()",
    )
    code = "\n".join([*lines, "print(clock())"])
    assert warm.run("-c", code).stdout == warm.run("-c", code).stdout != ""


def test_a_first_use_costs_what_later_ones_do():
    with simulate_gpu(T4):
        x, image = torch.ones(8, 8, device="cuda"), torch.ones(1, 1, 8, 8, device="cuda")
        for use in (lambda: x @ x, lambda: nn.functional.conv2d(image, image[..., :3, :3])):
            taken = []
            for _ in range(2):
                torch.cuda.synchronize()
                begin = lab.clock()
                use()
                taken.append(lab.clock() - begin)
            assert taken[0] == pytest.approx(taken[1])
