"""The path for a real GPU: read from trees that the profiler recorded here on the CPU, and from hand-written CUDA trees.

The CUDA trees follow what torch.profiler records on a card (names of runtime calls and copies as in docs/sources.md);
nothing here ran on one.
"""

import threading
from collections import Counter

import pytest
import torch
from torch import nn

from devicelab import devices
from devicelab.trace import Trace, profiled
from devicelab.trace.before_cuda import BeforeCuda
from devicelab.trace.build import Watch
from devicelab.trace.nodes import Node, Work
from devicelab.trace.profiled import Profiled
from devicelab.trace.tree import absolute, judge_tree, line_of

CPU_ONLY = [torch.profiler.ProfilerActivity.CPU]
CARD = devices.Device("cuda", "NVIDIA L4", "measured")


def train(steps: int = 2) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))
    updates = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        x = torch.randn(16, 6).mul(2)
        loss = model(x).square().mean()
        updates.zero_grad()
        loss.backward()
        updates.step()
        loss.item()


def counted(trace: Trace) -> Counter:
    """Count operators by name, device, phase and line; the seed of a backward pass is made between the phases."""
    counts: Counter = Counter()
    for operator in trace.operators:
        if operator.name != "aten::ones_like":
            counts[operator.name, operator.device, operator.phase, operator.line] += operator.count
    return counts


def test_the_profilers_events_amount_to_what_the_dispatch_mode_counts():
    """Two ways that share nothing but the result's type agree on every operator, phase and line of a training."""
    train(1)
    with Profiled(activities=CPU_ONLY) as seen:
        train()
    with Watch() as recorded:
        train()
    profiled_trace, recorded_trace = Trace(**seen.parts()), Trace(**recorded.parts())
    assert counted(profiled_trace) == counted(recorded_trace)
    assert len(counted(recorded_trace)) > 10
    assert profiled_trace.verdict() == recorded_trace.verdict()
    assert profiled_trace.steps == recorded_trace.steps == 2


def test_scalars_of_adam_are_told_apart_on_this_path_too():
    with Profiled(activities=CPU_ONLY) as seen:
        train(1)
    scalars = {operator.name for operator in Trace(**seen.parts()).operators if operator.scalars}
    assert "aten::add_" in scalars and "aten::addmm" not in scalars


def test_the_profiler_stops_after_so_many_steps_and_says_so(monkeypatch):
    monkeypatch.setattr(profiled, "MOST_STEPS", 3)
    calls = []
    with Profiled(lambda: calls.append(1), activities=CPU_ONLY) as seen:
        train(5)
    seen.present = CARD
    trace = Trace(**seen.parts())
    assert trace.steps == 3 and len(calls) == 5
    assert "only the first 3 steps were watched" in str(trace)


def launch(
    name: str, device: int = 0, nbytes: int = 0, call: str = "cudaLaunchKernel", begin: float = 1.0
) -> Node:
    return Node("runtime", call, begin, 5e-6, work=(Work(name, device, begin + 1e-5, 2e-6, nbytes),))


def op(
    name: str, *children: Node, begin: float = 1.0, sequence: int = -1, on: str = "cuda:0", dims: int = 2
) -> Node:
    return Node("op", name, begin, 1e-5, sequence, ((on, dims),)).add(*children)


def call(line: int, *children: Node, name: str = "<built-in method x>") -> Node:
    return Node("python", name, caller=(__file__, line)).add(*children)


def kernel(name: str = "void at::native::vectorized_elementwise_kernel", **rest) -> Node:
    return launch(name, **rest)


def sync(name: str = "cudaStreamSynchronize", seconds: float = 3e-5) -> Node:
    return Node("runtime", name, 1.0, seconds)


def judged(*roots: Node, lost=()) -> Trace:
    parts = judge_tree(roots, lost)
    return Trace(**parts, steps=0, seconds=1.0, origin="measured", card="cuda", name="NVIDIA L4")


def test_an_operator_is_where_its_kernel_ran_and_takes_the_kernels_time():
    trace = judged(call(7, op("aten::addmm", kernel("ampere_sgemm_32x32"), kernel("splitK"))))
    (operator,) = trace.operators
    assert (operator.name, operator.device, operator.count) == ("aten::addmm", "cuda:0", 1)
    assert operator.seconds == pytest.approx(4e-6)
    assert operator.line.number == 7 and operator.line.place.startswith("test_trace_profiled.py")


def test_a_composite_counts_as_the_operators_that_it_is_made_of():
    trace = judged(op("aten::linear", op("aten::t"), op("aten::addmm", op("aten::expand"), kernel())))
    assert [operator.name for operator in trace.operators] == ["aten::addmm"]


def test_an_operator_of_the_cpu_on_a_machine_with_a_gpu_is_found():
    trace = judged(op("aten::mul", on="cpu"), op("aten::mul", kernel()))
    assert {operator.device for operator in trace.operators} == {"cpu", "cuda:0"}


def test_pageable_copies_to_the_card_wait_and_have_bytes_and_line():
    up = op(
        "aten::copy_",
        launch("Memcpy HtoD (Pageable -> Device)", nbytes=4096, call="cudaMemcpyAsync"),
        sync(),
    )
    trace = judged(call(9, op("aten::to", op("aten::_to_copy", op("aten::empty_strided"), up))))
    (copy,) = trace.copies
    assert (copy.direction, copy.nbytes, copy.pinned, copy.waits) == ("cpu -> cuda:0", 4096, False, True)
    assert copy.line.number == 9 and copy.seconds == pytest.approx(2e-6)
    (wait,) = trace.synchronizations
    assert wait.kind == "copy" and trace.operators == ()


def test_pinned_copies_that_do_not_wait():
    up = op("aten::copy_", launch("Memcpy HtoD (Pinned -> Device)", 1, 64, "cudaMemcpyAsync"))
    (copy,) = judged(op("aten::_to_copy", up)).copies
    assert (copy.direction, copy.pinned, copy.waits) == ("cpu -> cuda:1", True, False)


def test_the_sizes_of_copies_from_one_line_are_kept():
    ups = (
        op("aten::copy_", launch("Memcpy HtoD (Pinned -> Device)", 1, nbytes, "cudaMemcpyAsync"))
        for nbytes in (80, 8)
    )
    trace = judged(call(9, *ups))
    (copy,) = trace.copies
    assert (copy.count, copy.nbytes, copy.smallest, copy.largest) == (2, 88, 8, 80)
    assert "2 in all, 88 B together" in str(trace)


def test_memory_that_the_profiler_does_not_know_is_neither_pinned_nor_pageable():
    up = op("aten::copy_", launch("Memcpy HtoD (Unknown -> Device)", nbytes=8, call="cudaMemcpy_ptds"))
    trace = judged(call(8, up))
    assert trace.copies[0].pinned is None and trace.copies[0].waits
    assert "pageable" not in str(trace) and len(trace.synchronizations) == 1


def test_reading_a_value_is_a_wait_and_no_copy():
    fetch = launch("Memcpy DtoH (Device -> Pageable)", nbytes=4, call="cudaMemcpyAsync")
    trace = judged(call(21, op("aten::item", op("aten::_local_scalar_dense", fetch, sync()))))
    (wait,) = trace.synchronizations
    assert (wait.kind, wait.line.number, wait.seconds) == (
        "aten::_local_scalar_dense",
        21,
        pytest.approx(3e-5),
    )
    assert trace.copies == ()


def test_a_copy_within_the_card_is_an_operator():
    trace = judged(op("aten::copy_", launch("Memcpy DtoD (Device -> Device)", nbytes=64)))
    assert trace.copies == () and trace.operators[0].device == "cuda:0"


def test_synchronizing_by_hand_is_named_by_the_function_that_was_called():
    inner = Node("python", "<built-in function _cuda_synchronize>", caller=(torch.cuda.__file__, 1)).add(
        sync("cudaDeviceSynchronize")
    )
    trace = judged(call(30, inner, name="torch/cuda/__init__.py(1122): synchronize"))
    (wait,) = trace.synchronizations
    assert (wait.kind, wait.line.number) == ("synchronize", 30)


def engine(name: str, sequence: int, *children: Node) -> Node:
    return Node("op", f"autograd::engine::evaluate_function: {name}", 3.0, 1e-4, sequence, thread=2).add(
        *children
    )


def test_backward_comes_from_another_thread_without_lines_and_marks_what_was_forward():
    forward = op("aten::addmm", kernel(), sequence=5)
    loose = op("aten::mul", kernel(begin=0.5), begin=0.5, sequence=5)
    trace = judged(call(3, loose), call(4, forward), engine("AddmmBackward0", 5, op("aten::mm", kernel())))
    phases = {operator.name: (operator.phase, operator.line) for operator in trace.operators}
    assert phases["aten::addmm"][0] == "forward" and phases["aten::mul"][0] == "other"
    assert phases["aten::mm"] == ("backward", None)
    assert (
        trace.verdict() == "Training ran on cuda:0: forward and backward; no step of an optimizer was seen."
    )


def test_an_optimizer_step_is_a_span_of_time_on_its_thread():
    span = Node("op", "Optimizer.step#SGD.step", 10.0, 1.0)
    inside = op("aten::_foreach_add_", kernel(begin=10.5), begin=10.5)
    outside = op("aten::mul", kernel(begin=12.0), begin=12.0)
    trace = judged(span, inside, outside)
    assert {operator.name: operator.phase for operator in trace.operators} == {
        "aten::_foreach_add_": "optimizer",
        "aten::mul": "other",
    }


def test_copies_and_waits_know_in_how_many_steps_they_came():
    def step(begin: float) -> list[Node]:
        up = launch("Memcpy HtoD (Pinned -> Device)", nbytes=8, begin=begin)
        return [
            call(5, op("aten::copy_", up, begin=begin)),
            Node("op", "Optimizer.step#SGD.step", begin + 0.5, 0.1),
        ]

    trace = judged(*step(1.0), *step(2.0), *step(3.0))
    assert [(copy.count, copy.steps) for copy in trace.copies] == [(3, 3)]


def test_the_profilers_own_wait_at_its_end_is_not_the_users():
    own = Node("python", "torch/profiler/profiler.py(300): stop", caller=(__file__, 50)).add(
        sync("cudaDeviceSynchronize")
    )
    assert judged(own, sync("cudaDeviceSynchronize")).synchronizations == ()


def test_a_training_step_in_the_shape_of_pytorchs_own_test():
    """The nesting is that of test_profiler_experimental_tree_cuda_detailed in PyTorch's test/profiler/test_profiler_tree.py."""
    ones = call(10, op("aten::ones", op("aten::empty", dims=0), op("aten::fill_", kernel())))
    addmm = op(
        "aten::addmm",
        launch("Memcpy DtoD (Device -> Device)", call="cudaMemcpyAsync"),
        kernel("sgemm"),
        sequence=7,
    )
    linear = call(11, op("aten::linear", op("aten::t", op("aten::transpose")), addmm))
    backward = call(
        12,
        Node("python", "<built-in method run_backward of torch._C._EngineBase object>").add(
            engine("AddmmBackward0", 7, op("AddmmBackward0", op("aten::t"), op("aten::mm", kernel()))),
            engine("torch::autograd::AccumulateGrad", -1, op("aten::add_", kernel(begin=3.5), begin=3.5)),
        ),
        name="torch/_tensor.py(1): backward",
    )
    span = Node("op", "Optimizer.step#SGD.step", 5.0, 1.0)
    update = op("aten::_foreach_add_", kernel(begin=5.5), begin=5.5)
    step = call(
        13,
        Node("python", "torch/autograd/profiler.py(1): __enter__").add(span),
        Node("python", "torch/optim/sgd.py(1): step").add(update),
        name="torch/optim/optimizer.py(1): wrapper",
    )
    trace = judged(ones, linear, backward, step)
    assert {operator.name: (operator.phase, operator.line.number) for operator in trace.operators} == {
        "aten::ones": ("other", 10),
        "aten::addmm": ("forward", 11),
        "aten::mm": ("backward", 12),
        "aten::add_": ("backward", 12),
        "aten::_foreach_add_": ("optimizer", 13),
    }
    assert trace.verdict() == "Training ran on cuda:0: forward, backward and optimizer."
    assert trace.copies == () and trace.synchronizations == ()


def test_backward_without_lines_is_said(monkeypatch):
    with Profiled(activities=CPU_ONLY) as seen:
        pass
    elsewhere = [op("aten::mul", kernel(), sequence=3), engine("MulBackward0", 3, op("aten::mul", kernel()))]
    monkeypatch.setattr(profiled, "read", lambda profiler: (elsewhere, []))
    assert "backward ran in another thread, without your frames" in str(Trace(**seen.parts()))


def test_work_of_the_card_that_nobody_here_started_is_not_lost():
    trace = judged(lost=[Work("graph_kernel", 0, 1.0, 1e-5)])
    (operator,) = trace.operators
    assert (operator.name, operator.device, operator.phase) == ("graph_kernel", "cuda:0", "other")


def test_of_an_expression_the_line_is_the_functions():
    inside = op("aten::add", kernel())
    Node("python", "train.py(12): step", function=(__file__, 12), caller=(__file__, 40)).add(inside)
    assert line_of(inside).number == 12


def test_names_that_the_profiler_shortened_are_found_again():
    assert absolute("torch/nn/functional.py") == torch.nn.functional.__file__
    assert absolute("/a/b.py") == "/a/b.py" and absolute("nowhere/at/all.py") == "nowhere/at/all.py"


class Stub:
    """Stands for a Profiled, which needs a card."""

    entered = 0

    def __enter__(self):
        Stub.entered += 1
        return self

    def __exit__(self, *error):
        pass

    def parts(self):
        seen = judge_tree([op("aten::mm", kernel())])
        return {
            **seen,
            "steps": 2,
            "seconds": 1.0,
            "origin": "measured",
            "card": "cuda",
            "name": "NVIDIA L4",
            "notes": (),
        }


@pytest.fixture
def cuda_begins(monkeypatch):
    """Return a function that does what the first use of CUDA does: it calls what was queued until then."""
    queue: list = []
    monkeypatch.setattr(torch.cuda, "_lazy_call", queue.append)
    return lambda: [call() for call in queue]


def test_a_whole_script_is_watched_without_touching_cuda_until_it_does_so_itself(cuda_begins):
    Stub.entered = 0
    with BeforeCuda(profiled=Stub) as seen:
        train(1)
        assert Stub.entered == 0
        cuda_begins()
        assert Stub.entered == 1 and torch.utils._python_dispatch._get_current_dispatch_mode() is None
        torch.ones(2) * 2  # on a machine with CUDA the profiler would see it
    trace = Trace(**seen.parts())
    assert {operator.device for operator in trace.operators} == {"cpu", "cuda:0"}
    assert trace.steps == 1 + 2 and trace.card == "cuda"


def test_a_script_that_never_touches_cuda_is_told_by_the_dispatch_mode_alone(cuda_begins):
    with BeforeCuda(profiled=Stub) as seen:
        train(1)
    cuda_begins()  # after the end: nothing is to be started any more
    assert Trace(**seen.parts()).verdict().startswith("Training ran on cpu: forward, backward and optimizer")


def test_cuda_that_another_thread_began_is_watched_from_the_next_step_on(cuda_begins):
    Stub.entered = 0
    with BeforeCuda(profiled=Stub):
        thread = threading.Thread(target=cuda_begins)
        thread.start()
        thread.join()
        assert Stub.entered == 0
        train(1)
        assert Stub.entered == 1


def test_a_real_gpu_is_traced_by_the_profiler_alone(monkeypatch):
    import devicelab as lab

    monkeypatch.setattr(devices, "present", lambda: CARD)
    monkeypatch.setattr(profiled.Profiled, "__enter__", lambda self: self)
    with pytest.raises(AttributeError), lab.trace():  # nothing was recorded, and no dispatch mode stood in
        assert torch.utils._python_dispatch._get_current_dispatch_mode() is None


def test_a_thread_is_heard_beside_the_profiler_with_all_its_phases(cuda_begins):
    def work():
        with seen.on_thread():
            train(1)

    with BeforeCuda(profiled=Stub) as seen:
        cuda_begins()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    trace = Trace(**seen.parts())
    assert trace.phases["optimizer"].devices == trace.phases["backward"].devices == ("cpu",)
    assert trace.steps == 2, "as the profiler counts them, which hears the steps of all threads"


def test_the_timeline_has_the_orders_the_copies_and_the_waits_in_the_cpus_order():
    up = op(
        "aten::copy_",
        launch("Memcpy HtoD (Pageable -> Device)", nbytes=4096, call="cudaMemcpyAsync", begin=1.0),
        Node("runtime", "cudaStreamSynchronize", 1.00001, 3e-5),
    )
    add = op("aten::add", kernel(begin=1.0001), begin=1.0001)
    trace = judged(call(7, up), call(8, add))
    copy, wait, added = trace.events
    assert (copy.name, copy.phase, copy.device) == ("cpu -> cuda:0", "copy", "cuda:0")
    assert (wait.phase, wait.device, wait.seconds) == ("wait", "cpu", 3e-5)
    assert added.begin - added.ordered == pytest.approx(1e-5) and added.ordering == pytest.approx(1e-5)
    host, card = trace.timeline(whole=True).tracks[0].lanes
    assert [bar.kind for bar in host.bars] == ["copy", "wait", "other"] and len(card.bars) == 2
