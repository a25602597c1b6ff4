import gc
import re
import threading
import traceback
import tracemalloc
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils import _python_dispatch as dispatch

import devicelab as lab
from devicelab import devices, simulate_gpu, units
from devicelab.errors import InputError
from devicelab.html import paragraphs
from devicelab.trace import Trace, recorder
from tools.notebooks import warm


def train(device: str, steps: int = 4, optimizer: type = torch.optim.Adam) -> None:
    """Train a little, as a script would: batches are made on the CPU and moved, the loss is read in every step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).to(device)
    updates = optimizer(model.parameters(), lr=0.01)
    for _ in range(steps):
        x = torch.randn(16, 6).to(device)
        loss = model(x).square().mean()
        updates.zero_grad()
        loss.backward()
        updates.step()
        loss.item()


def test_training_on_the_cpu_is_told_phase_by_phase():
    with lab.trace() as t:
        train("cpu")
    assert {name: phase.devices for name, phase in t.phases.items()} == {
        "forward": ("cpu",),
        "backward": ("cpu",),
        "optimizer": ("cpu",),
    }
    assert t.verdict() == "Training ran on cpu: forward, backward and optimizer."
    assert (t.origin, t.steps, t.training) == ("measured", 4, ("cpu",))
    assert not t.copies and not t.synchronizations
    assert all(operator.seconds > 0 for operator in t.operators)


def test_training_on_the_simulated_gpu_is_told_with_copies_and_waits():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        train("cuda")
    assert t.training == ("cuda:0",) and t.origin == "simulated"
    assert t.verdict() == "Training ran on cuda:0: forward, backward and optimizer."
    model, batch = sorted(t.copies, key=lambda copy: copy.steps)
    assert (batch.direction, batch.count, batch.nbytes, batch.steps) == (
        "cpu -> cuda:0",
        4,
        4 * 16 * 6 * 4,
        4,
    )
    assert batch.line.text == "x = torch.randn(16, 6).to(device)"
    assert batch.pinned is False and batch.waits
    assert (model.count, model.steps) == (4, 1), "four parameters, once"
    (read,) = (wait for wait in t.synchronizations if wait.kind != "copy")
    assert (read.line.text, read.count, read.steps) == ("loss.item()", 4, 4)
    assert read.seconds > 0


def test_the_step_counter_of_adam_does_not_make_the_optimizer_mixed():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        train("cuda")
    on_cpu = [
        operator for operator in t.operators if operator.device == "cpu" and operator.phase == "optimizer"
    ]
    assert on_cpu and all(operator.scalars for operator in on_cpu)
    assert t.phases["optimizer"].devices == ("cuda:0",)


def _asked(tensor: torch.Tensor, method: str) -> None:
    getattr(tensor, method)(1)


@pytest.mark.parametrize(("method", "where"), [("fill_", ("cuda:0",)), ("add_", ("cpu", "cuda:0"))])
def test_a_list_that_is_only_filled_in_a_backward_pass_does_not_split_it(method, where):
    """DDP with find_unused_parameters=True keeps one on the CPU."""
    used = torch.zeros(3, dtype=torch.int32)
    with simulate_gpu("Tesla T4"):
        model = nn.Linear(4, 2).cuda()
        model.bias.register_hook(lambda _: _asked(used, method))
        with lab.trace() as t:
            model(torch.ones(3, 4, device="cuda")).sum().backward()
    assert t.phases["backward"].devices == where


def test_a_gpu_that_computed_nothing_is_named():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        train("cpu")
    assert "although there is a simulated Tesla T4 (cuda:0); it computed nothing" in t.verdict()


def test_data_on_a_gpu_that_computed_nothing_is_told_apart():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        torch.ones(8).to("cuda")
        train("cpu")
    assert "with data on it; it computed nothing" in t.verdict()


def test_split_training_names_the_device_of_each_phase():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        body, head = nn.Linear(4, 4), nn.Linear(4, 1).cuda()
        updates = torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1)
        head(body(torch.randn(8, 4)).cuda()).sum().backward()
        updates.step()
    assert t.training == ("cpu", "cuda:0")
    assert t.verdict() == "Training was split between cpu and cuda:0, in forward, backward and optimizer."


def test_a_phase_on_another_device_is_named():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        w = torch.ones(4, 4, requires_grad=True)
        updates = torch.optim.SGD([w], lr=0.1)
        (w.cuda() @ torch.ones(4, 4, device="cuda")).sum().backward()
        updates.step()
    assert t.verdict() == "Training was split: forward on cuda:0, backward on cuda:0, optimizer on cpu."


def test_operators_copies_and_waits_carry_the_line_of_the_user():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        a = torch.ones(8, device="cuda")
        b = a.relu()
        b.nonzero()
        torch.cuda.synchronize()
    (relu,) = (operator for operator in t.operators if operator.name == "aten::relu")
    assert relu.line.text == "b = a.relu()" and relu.line.place.startswith("test_trace.py:")
    kinds = {wait.kind: wait.line.text for wait in t.synchronizations}
    assert kinds == {"aten::nonzero": "b.nonzero()", "torch.cuda.synchronize": "torch.cuda.synchronize()"}


def test_pinned_memory_without_waiting_is_told():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        torch.ones(1024).pin_memory().to("cuda", non_blocking=True)
    (copy,) = t.copies
    assert copy.pinned and not copy.waits
    assert "pinned" in str(t) and "the CPU waits" not in str(t)


def test_copies_of_another_thread_are_seen():
    def move() -> None:
        torch.ones(4).to("cuda")

    with simulate_gpu("Tesla T4"), lab.trace() as t:
        thread = threading.Thread(target=move)
        thread.start()
        thread.join()
    (copy,) = t.copies
    assert copy.line.text == 'torch.ones(4).to("cuda")'


def test_views_and_allocations_do_not_count_as_operators():
    x = torch.ones(4, 4)
    with lab.trace() as t:
        x.t().expand(4, 4)[0].view(2, 2).detach()
        torch.empty(3)
    assert t.operators == ()
    assert t.verdict() == "Nothing was computed here: no operator ran in this thread."


def test_evaluation_is_no_training():
    model = nn.Linear(3, 3)
    with lab.trace() as t, torch.no_grad():
        model(torch.ones(2, 3))
    assert t.verdict() == "No training here: 2 operators on cpu."
    assert set(t.phases) == set()


def test_training_by_hand_counts_backward_passes_as_steps():
    w = torch.ones(3, requires_grad=True)
    with lab.trace() as t:
        for _ in range(3):
            (w * 2).sum().backward()
    assert t.steps == 3
    assert t.verdict() == "Training ran on cpu: forward and backward; no step of an optimizer was seen."


def alternate(rounds: int, critic: int = 1) -> None:
    """Train two models by turns, as a GAN does, the first one `critic` times a round."""
    models = [nn.Linear(2, 1) for _ in range(2)]
    updates = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    for turn in ([0] * critic + [1]) * rounds:
        models[turn](torch.ones(1, 2)).sum().backward()
        updates[turn].step()


@pytest.mark.parametrize(
    ("trainings", "steps"),
    [
        ([lambda: train("cpu", 3)] * 5, 15),
        ([lambda: train("cpu", 1)] * 5, 5),
        ([lambda: alternate(3), lambda: train("cpu", 2)], 5),
        ([lambda: alternate(1)], 1),
        ([lambda: alternate(4)], 4),
        ([lambda: alternate(2, critic=5)], 10),
    ],
)
def test_steps_of_trainings_add_up_and_optimizers_that_take_turns_count_by_their_rounds(trainings, steps):
    with lab.trace() as t:
        for training in trainings:
            training()
    assert t.steps == steps


def test_a_closure_inside_the_step_is_forward_and_backward():
    model = nn.Linear(2, 1)
    updates = torch.optim.LBFGS(model.parameters(), max_iter=2)

    def closure():
        updates.zero_grad()
        loss = model(torch.ones(4, 2)).square().mean()
        loss.backward()
        return loss

    with lab.trace() as t:
        updates.step(closure)
    phases = {operator.name: operator.phase for operator in t.operators if operator.name == "aten::addmm"}
    assert phases == {"aten::addmm": "forward"}
    assert set(t.phases) == {"forward", "backward", "optimizer"}


def test_the_result_is_refused_while_the_block_runs_and_frozen_after_it():
    with lab.trace() as t:
        assert str(t) == "a trace that is still running"
        with pytest.raises(InputError, match="still running"):
            _ = t.operators
    with pytest.raises(AttributeError):
        t.steps = 3
    with pytest.raises(AttributeError, match="no 'operator'"):
        _ = t.operator


def test_a_trace_runs_once():
    once = lab.trace()
    with once:
        pass
    with pytest.raises(InputError, match="has run already"), once:
        pass


@pytest.fixture(params=["cpu", "simulated"])
def place(request):
    """Have no simulation, or one; afterwards nothing that listens may be left."""
    with simulate_gpu() if request.param == "simulated" else nullcontext():
        modes = dispatch._get_current_dispatch_mode_stack()
        yield request.param
        assert dispatch._get_current_dispatch_mode_stack() == modes and not devices.observers
        simulated = devices.simulated()
        assert simulated is None or simulated.listeners == {}
    assert not dispatch._is_in_torch_dispatch_mode


def test_traces_may_end_in_any_order_and_twice(place):
    one, other = lab.trace(), lab.trace()
    first, second = one.__enter__(), other.__enter__()
    torch.ones(2).add(1)
    one.__exit__(None, None, None)
    torch.ones(2).mul(2)
    for _ in range(2):
        other.__exit__(None, None, None)
    assert [operator.name for operator in first.operators] == ["aten::ones", "aten::add"]
    assert [operator.name for operator in second.operators if operator.name != "aten::ones"] == [
        "aten::add",
        "aten::mul",
    ]


def test_a_trace_that_another_thread_ends(place):
    tracing, errors = lab.trace(), []
    t = tracing.__enter__()
    torch.ones(2).add(1)

    def end() -> None:
        try:
            tracing.__exit__(None, None, None)
        except InputError as error:
            errors.append(str(error))

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert not devices.observers
    if place == "cpu":  # a mode can be taken off by its own thread alone
        assert len(errors) == 1 and "on the thread that entered it" in errors[0]
        tracing.__exit__(None, None, None)
    assert [operator.name for operator in t.operators] == ["aten::ones", "aten::add"]


def test_a_trace_that_ends_inside_an_operator_of_the_simulated_card_does_not_come_back():
    tracing = lab.trace()
    with simulate_gpu() as simulation:
        x = torch.ones(2, device="cuda")
        simulation.registered.watchers.append(lambda *_: tracing.__exit__(None, None, None))
        tracing.__enter__()
        x.add(1)
        assert simulation.mode.listeners == {}


@pytest.mark.skipif(
    not hasattr(dispatch.TorchDispatchMode, "supports_higher_order_operators"),
    reason="before PyTorch 2.9 no mode hears of them",
)
def test_an_operator_that_takes_functions_is_heard_by_what_it_runs():
    x = torch.ones(2)
    with lab.trace() as t:
        out = torch.ops.higher_order.cond(x.sum() > 0, torch.sin, torch.cos, (x,))
    assert torch.equal(out, x.sin())
    assert [(one.name, one.device) for one in t.operators][-1] == ("aten::sin", "cpu")


def test_an_error_ends_the_trace_and_comes_through_with_what_was_seen():
    with simulate_gpu("Tesla T4"), pytest.raises(RuntimeError, match="same device"), lab.trace() as t:
        torch.ones(2, 2, device="cuda") @ torch.ones(2, 2)
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    ((message, line),) = t.faults
    assert "same device" in message and "@" in line.text
    assert "error, at test_trace.py" in t.text()


def test_a_traceback_under_a_trace_ends_in_torchs_own_line():
    with simulate_gpu("Tesla T4"):
        with pytest.raises(RuntimeError) as caught, lab.trace():
            nn.Linear(2, 2).cuda()(torch.ones(1, 2))
        shown = "".join(traceback.format_exception(caught.value))
    assert shown.splitlines()[-2].strip("^ ~") == "" and "return F.linear(" in shown
    assert "devicelab/trace" not in shown and "_ops.py" not in shown


def test_leaving_a_trace_leaves_no_hooks_behind():
    from torch.optim.optimizer import _global_optimizer_post_hooks as hooks

    before = len(hooks)
    with lab.trace():
        assert len(hooks) == before + 1
    assert len(hooks) == before
    assert devices.observers == []


def test_a_simulation_that_begins_inside_the_block_is_told_as_one():
    with lab.trace() as t:
        torch.ones(3) * 2
        with simulate_gpu("NVIDIA L4"):
            train("cuda")
    assert (t.origin, t.name, t.training) == ("simulated", "NVIDIA L4", ("cuda:0",))
    assert 0 < t.seconds < 60 and len(t.copies) == 2


def test_simulations_in_turn_are_all_named_and_what_ran_beside_them_is_measured():
    with lab.trace() as t:
        for card in ("Tesla T4", "NVIDIA L4"):
            with simulate_gpu(card):
                torch.ones(2, device="cuda") * 2
        torch.ones(2).exp()
    assert (t.name, t.card, t.origin) == ("Tesla T4 and NVIDIA L4", "cuda", "simulated")
    (exp,) = (operator for operator in t.operators if operator.name == "aten::exp")
    assert exp.seconds > 0, "the clock of a card that is gone stands still"
    assert "has measured times, of this machine" in str(t)
    assert [event.name for event in t.events if event.name != "aten::ones"] == ["aten::mul"] * 2 + [
        "aten::exp"
    ]
    assert [event.begin for event in t.events] == sorted(event.begin for event in t.events)


def test_traces_nest():
    with lab.trace() as outer:
        torch.ones(2) + 1
        with lab.trace() as inner:
            torch.ones(2) * 2
    assert {operator.name for operator in inner.operators} == {"aten::ones", "aten::mul"}
    assert {operator.name for operator in outer.operators} == {"aten::ones", "aten::add", "aten::mul"}


def test_by_default_one_sentence_and_at_most_eight_lines():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        train("cuda")
        for function in (torch.unique, torch.nonzero, torch.det, bool, float):
            x = torch.ones(2, 2, device="cuda")
            for _ in range(2):
                function(x) if function not in (bool, float) else function(x.sum())
        x[x > 0], x.cpu(), x.tolist(), x.sum().item()
    lines = str(t).splitlines()
    assert lines[0].startswith("Training ran on cuda:0") and lines[0].endswith("[simulated, Tesla T4]")
    assert 4 < len(lines) <= 9
    assert "more in t.text()" in lines[-1] and len(t.text().splitlines()) > 20


def test_html_is_escaped_and_the_table_has_a_row_for_each_operator():
    with lab.trace() as t:
        x = torch.ones(2)
        x < 3  # noqa: B015
    table = t.table()
    assert len(table.rows) == len(t.operators)
    assert "x &lt; 3" in table._repr_html_() and "<script" not in t._repr_html_()


@pytest.mark.parametrize(
    ("sizes", "words"),
    [((1,), "1 in all, 4 B,"), ((3, 3), "2 in all, 12 B each"), ((20, 2), "2 in all, 88 B together")],
)
def test_copies_are_said_to_be_equal_only_where_they_are(sizes, words):
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        for size in sizes:
            torch.ones(size).to("cuda")
    (copy,) = t.copies
    assert (copy.smallest, copy.largest) == (4 * min(sizes), 4 * max(sizes))
    assert f"copy cpu -> cuda:0: {words}" in str(t)


def test_unequal_copies_in_every_step_are_given_on_average():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        weight = torch.ones(2, device="cuda", requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=0.1)
        for _ in range(2):
            batch = [torch.ones(size).to("cuda") for size in (4, 1, 1)]
            (weight * batch[1]).sum().backward()
            optimizer.step()
    assert "3 per step, 8 B on average" in str(t)


def test_sizes_of_several_places_of_one_line_are_joined():
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        torch.ones(3).to("cuda"), torch.ones(1).to("cuda"), torch.ones(2).to("cuda")
    (copy,) = t.copies
    assert (copy.count, copy.nbytes, copy.smallest, copy.largest) == (3, 24, 4, 12)


def test_in_html_backticked_words_are_code():
    assert (
        paragraphs("at line 2 `a < b`, `c`\nx")
        == "<p>at line 2 <code>a &lt; b</code>, <code>c</code></p><p>x</p>"
    )
    assert paragraphs("one ` alone") == "<p>one ` alone</p>"


def test_plain_data_for_json_holds_no_tensors():
    import json

    with lab.trace() as t:
        train("cpu", 1)
    data = json.loads(json.dumps(t.to_dict()))
    assert data["phases"]["backward"] == ["cpu"] and data["operators"][0]["name"].startswith("aten::")


def test_the_timeline_is_a_png_with_a_sentence():
    pytest.importorskip("matplotlib")
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        train("cuda")
    lanes = t.timeline()
    picture = lanes.still()
    assert picture.png.startswith(b"\x89PNG") and 1_000 < len(picture.png) < 100_000
    page = lanes._repr_html_()
    assert (
        page.startswith('<figure><img alt="When did who work? (simulated, Tesla T4) ') and "<svg" not in page
    )
    assert ", wrote orders for" in picture.alt and "Training ran on cuda:0" in picture.alt


def test_what_the_cpu_computes_itself_is_no_order():
    with simulate_gpu("Tesla T4"):
        torch.cuda.synchronize()  # awake
        with lab.trace() as t:
            torch.zeros(1, device="cuda")
            train("cpu")
    host, _ = t.timeline(whole=True).tracks[0].lanes
    (order,) = [bar for bar in host.bars if bar.order >= 0]
    own = sum(bar.seconds for bar in host.bars if bar.order < 0)
    said = f"The CPU worked for {units.seconds(own)}, wrote orders for {units.seconds(order.seconds)}, cuda:0 worked"
    assert said in str(t.timeline(whole=True))


def test_the_whole_timeline_is_longer_than_the_training_in_it():
    pytest.importorskip("matplotlib")
    with simulate_gpu("Tesla T4"), lab.trace() as t:
        torch.zeros(1, device="cuda")
        train("cpu")
    assert spoken_ms(t.timeline(whole=True)) > spoken_ms(t.timeline())


def test_an_order_is_written_before_its_work_begins_and_the_cpu_does_one_thing_at_a_time():
    with simulate_gpu("Tesla T4"):
        x = torch.randn(300, 300)
        with lab.trace() as t:
            y = x.to("cuda")
            for _ in range(3):
                y = y @ y
            y.sum().item()
            y.cpu()
            torch.cuda.synchronize()
    given = [event for event in t.events if event.ordered is not None]
    assert [event.name for event in given][:2] == ["cpu -> cuda:0", "aten::mm"]
    assert all(event.ordering > 0 and event.begin >= event.ordered + event.ordering - 1e-9 for event in given)
    host, card = t.timeline(whole=True).tracks[0].lanes
    for lane in (host, card):
        bars = sorted(lane.bars, key=lambda bar: bar.begin)
        assert all(after.begin >= before.end - 1e-9 for before, after in pairwise(bars))
    orders = {bar.order for bar in host.bars if bar.order >= 0}
    assert orders == {bar.order for bar in card.bars} and len(orders) == len(given) == 6
    assert [bar.kind for bar in host.bars].count("wait") == 4  # two copies, a read, synchronize()


def test_a_read_adds_the_lanes_and_no_read_takes_the_longer():
    def steps(read: bool) -> None:
        for _ in range(3):
            y = small
            for _ in range(20):
                y = y + 1
            value = (large @ large)[0, 0]
            if read:
                value.item()
        torch.cuda.synchronize()

    with simulate_gpu("Tesla T4"):
        small, large = torch.zeros(10, device="cuda"), torch.zeros(704, 704, device="cuda")
        with lab.trace() as reading:
            steps(read=True)
        with lab.trace() as keeping:
            steps(read=False)
    both = lab.timelines({"reading": reading, "keeping": keeping})
    read, kept = (track.end for track in both.tracks)
    assert 1.2 * kept < read < 2 * kept
    assert str(both).count("waited for") == 2 and "reading: " in str(both)
    with pytest.raises(InputError, match="traces with names"):
        lab.timelines([reading])


def spoken_ms(lanes) -> float:
    """Return the length of what a timeline shows."""
    return 1e3 * lanes.tracks[0].length


def test_positions_on_the_host_are_copied_over_before_the_card_uses_them():
    with simulate_gpu("Tesla T4"):
        x, rows = torch.arange(5.0, device="cuda"), torch.tensor([1, 2])
        with lab.trace() as t:
            assert x[rows].tolist() == [1, 2]
        with lab.trace() as there:
            x[rows.to("cuda")]
    (up,) = [copy for copy in t.copies if copy.target == "cuda:0"]
    assert (up.nbytes, up.count) == (16, 1)
    assert [operator.name for operator in t.operators if operator.device == "cuda:0"] == ["aten::index"]
    assert sum(copy.count for copy in there.copies) == 1  # the one that was asked for


def test_the_timeline_of_nothing_is_a_picture_too():
    pytest.importorskip("matplotlib")
    with lab.trace() as t:
        pass
    assert t.timeline().still().png.startswith(b"\x89PNG")


def test_many_operators_need_no_more_memory_than_few(monkeypatch):
    count = 100_000
    monkeypatch.setattr(recorder, "MOST_EVENTS", 1_000)
    x = torch.ones(2)
    tracing = lab.trace()
    with tracing as t:
        for _ in range(20_000):
            x + x
        gc.collect()
        tracemalloc.start()
        for _ in range(count - 20_000):
            x + x
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert grown < 100_000, f"{grown:,} bytes more after {count - 20_000:,} operators more"
    assert sum(operator.count for operator in t.operators) == count
    assert len(t.events) == 1_000 and "first 1,000 events" in t.text()


def test_more_different_sums_than_there_is_room_for_are_kept_without_their_line(monkeypatch):
    monkeypatch.setattr(recorder, "MOST_SUMS", 3)
    x = torch.ones(2)
    with lab.trace() as t:
        x + 1
        x * 2
        x - 3
        x / 4
        x + 5
    assert sum(operator.count for operator in t.operators) == 5
    assert any(operator.line is None for operator in t.operators)


def test_the_line_of_a_library_that_the_users_line_led_to_is_told_too(tmp_path):
    library = {"__name__": "lib"}
    path = str(tmp_path / "site-packages" / "lib" / "code.py")
    exec(compile("import torch\n\ndef add(x):\n    return x + 1\n", path, "exec"), library)
    x = torch.ones(2)
    with lab.trace() as t:
        library["add"](x)
    (operator,) = t.operators
    assert operator.line.text == 'library["add"](x)' and operator.line.via == "lib/code.py:4"
    assert str(operator.line).endswith('`library["add"](x)`, through lib/code.py:4')


def test_a_librarys_line_is_better_than_none(tmp_path):
    path = str(tmp_path / "site-packages" / "lib" / "code.py")
    code = compile("import torch\ntorch.ones(2)", path, "exec")
    with lab.trace() as t:
        exec(code, {"__name__": "lib"})
    assert t.operators[0].line.via == "lib/code.py:2"


def test_foreign_tensor_subclasses_and_generators_do_not_disturb():
    class Named(torch.Tensor):
        pass

    with lab.trace() as t:
        torch.ones(2).as_subclass(Named).mul(2)
        torch.cat([torch.ones(1), torch.ones(1)])
        torch.split(torch.ones(4), 2)
        torch.randperm(4)
    assert isinstance(t, Trace) and t.devices == ("cpu",)


def test_the_default_device_and_meta_tensors_are_told():
    with lab.trace() as t:
        torch.ones(4, device="meta") * 2
    assert t.devices == ("meta",)


def test_a_compiled_model_runs_operator_by_operator_under_a_trace():
    from torch._dynamo.utils import counters

    counters.clear()
    compiled = torch.compile(nn.Linear(2, 2), backend="eager")
    with lab.trace() as t:
        compiled(torch.ones(1, 2)).sum().backward()
    assert t.training == ("cpu",)
    assert not counters["frames"], "torch.compile compiled neither the model nor the trace"


def test_copies_of_a_device_that_tells_nothing_are_seen_by_their_operators(monkeypatch):
    """On Apple's GPU no driver and no simulation tells of copies; meta stands in for it here."""

    monkeypatch.setattr(devices, "present", lambda: devices.Device("mps", "Apple GPU (mps)", "measured"))
    with lab.trace() as t:
        torch.ones(4, 4).to("meta")
        torch.empty(2, device="meta").copy_(torch.ones(2))
    assert [(copy.direction, copy.nbytes, copy.waits) for copy in t.copies] == [
        ("cpu -> meta", 64, True),
        ("cpu -> meta", 8, True),
    ]
    assert {operator.name for operator in t.operators} == {"aten::ones"}
    assert "on mps the times are" in str(t)


def test_the_example_on_the_page_prints_what_the_page_shows(tmp_path):
    page = (
        (Path(__file__).parents[2] / "docs" / "evidence.md").read_text("utf-8").partition("## `lab.trace`")[2]
    )
    found = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", page, re.DOTALL)
    (tmp_path / "example.py").write_text(found[1], "utf-8")
    result = warm.run(str(tmp_path / "example.py"))
    assert re.sub(r"\d+ %", "N %", result.stdout).strip() == re.sub(r"\d+ %", "N %", found[2]).strip(), (
        result.stderr
    )


def test_a_subclass_that_takes_an_operator_apart_is_counted_by_its_parts_alone_on_a_simulated_card():
    from torch.testing._internal.two_tensor import TwoTensor

    def counts() -> list[int]:
        pair = TwoTensor(torch.ones(2), torch.ones(2))
        with lab.trace() as t:
            (pair * 2).sum()
        return [
            sum(one.count for one in t.operators if one.name == f"aten::{name}") for name in ("mul", "sum")
        ]

    with simulate_gpu():
        assert counts() == [
            2,
            2,
        ]  # of its two tensors; the call that was taken apart is no operator of its own


def test_a_trace_of_another_thread_stays_there_when_a_simulation_begins_and_ends():
    """Only the thread that entered a trace changes over: the one that starts a simulation must not take it along."""
    ready, go, found = threading.Event(), threading.Event(), []

    def work() -> None:
        with lab.trace() as t:
            torch.ones(2).add(1)
            ready.set()
            go.wait(60)
            torch.ones(2).add(1)
        found.append(sum(one.count for one in t.operators if one.name == "aten::add"))

    with simulate_gpu() as outer:
        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(60)
        with simulate_gpu():
            for _ in range(3):
                torch.ones(2).add(1)
        go.set()
        thread.join()
        assert outer.mode.listeners == {}
    assert found == [2]
