"""Compiled functions run as they are written on a simulated card: said once, told in every timing, refused on request."""

import re
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils._python_dispatch import TorchDispatchMode

import devicelab as lab
from devicelab import compiled, runner
from devicelab.errors import InputError, SimulationError
from devicelab.simgpu import simulate_gpu

CUDA = torch.device("cuda", 0)
UNCOMPILED = "torch.compile is left out"
ATTENTION = sys.modules["torch.nn.attention.flex_attention"]


def double(x):
    return x * 2


class Backend:
    """A compiler that notes what it is given and runs it as it is."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph, inputs):
        self.graphs.append(graph)
        return graph


@pytest.fixture
def backend():
    torch._dynamo.reset()
    yield Backend()
    torch._dynamo.reset()


@pytest.fixture
def card():
    with simulate_gpu("T4") as simulation, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=UNCOMPILED)
        yield simulation


# How programs ask for compilation -----------------------------------------------------------------------------------


def test_a_function_is_compiled_by_nobody_and_runs_on_the_card(card, backend):
    x = torch.ones(2, device="cuda")
    assert torch.compile(double, backend=backend)(x).device == CUDA
    assert torch.compile(double, backend=backend, fullgraph=True, dynamic=True)(x).tolist() == [2, 2]
    assert not backend.graphs


@pytest.mark.parametrize("mode", ["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"])
def test_every_mode_runs(card, mode):
    assert torch.compile(double, mode=mode)(torch.ones(2, device="cuda")).device == CUDA


def test_what_compile_itself_refuses_stays_refused(card):
    with pytest.raises(RuntimeError, match="Unrecognized mode=nonsense"):
        torch.compile(double, mode="nonsense")
    with pytest.raises(torch._dynamo.exc.InvalidBackend):
        torch.compile(double, backend="nonsense")


def test_decorators_with_and_without_arguments(card):
    @torch.compile
    def plain(x):
        return x + 1

    @torch.compile(fullgraph=True, dynamic=False)
    def with_arguments(x):
        return plain(x) + 1

    assert with_arguments(torch.zeros(2, device="cuda")).tolist() == [2, 2]


def test_a_graph_break_is_no_error_where_nothing_becomes_a_graph(card):
    @torch.compile(fullgraph=True)
    def breaking(x):
        return double(x) if x.sum().item() > 0 else x

    assert breaking(torch.ones(2, device="cuda")).tolist() == [2, 2]


def test_a_compiled_module_is_what_it_is_in_pytorch(card):
    model = nn.Linear(3, 2).cuda()
    wrapped = torch.compile(model)
    assert wrapped._orig_mod is model and wrapped.weight is model.weight
    assert list(wrapped.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    state = {key.removeprefix("_orig_mod."): value for key, value in wrapped.state_dict().items()}
    model.load_state_dict(state)
    wrapped(torch.ones(1, 3, device="cuda")).sum().backward()
    assert model.weight.grad.device == CUDA
    assert isinstance(wrapped, torch._dynamo.OptimizedModule)


def test_a_module_compiles_itself_in_place(card):
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU()).cuda()
    model.compile(mode="max-autotune")
    assert model(torch.ones(1, 3, device="cuda")).device == CUDA
    assert list(model.state_dict()) == ["0.weight", "0.bias"]


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"foreach": True, "capturable": True}])
def test_an_optimizers_compiled_step_takes_it(card, options):
    model = nn.Linear(3, 2).cuda()
    optimizer = torch.optim.Adam(model.parameters(), **options)
    before = model.weight.detach().clone()

    @torch.compile(fullgraph=False)
    def step():
        optimizer.step()

    model(torch.ones(1, 3, device="cuda")).sum().backward()
    step()
    torch.compile(optimizer.step)()
    assert not torch.equal(model.weight, before)


def test_a_function_compiled_before_the_start_runs_as_it_is_written(backend):
    early = torch.compile(double, backend=backend)
    with simulate_gpu(), pytest.warns(UserWarning, match=UNCOMPILED):
        assert early(torch.ones(2, device="cuda")).device == CUDA
    assert not backend.graphs


def test_what_was_compiled_before_the_start_does_not_run_past_the_card(backend):
    ran = []
    early = torch.compile(
        double, backend=lambda graph, inputs: lambda *values: ran.append(1) or graph(*values)
    )
    early(torch.ones(2))
    with simulate_gpu(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert early(torch.ones(2, device="cuda")).device == CUDA
        assert torch._dynamo.run(early)(torch.ones(2, device="cuda")).device == CUDA  # what is compiled, only
        with torch.compiler.set_stance("eager_on_recompile"):
            assert early(torch.ones(2, device="cuda")).device == CUDA
    assert len(ran) == 1


def test_after_leaving_it_is_compiled_again(backend):
    def program(x):
        return torch.zeros(2, device=x.device) + x.to(torch.float64).float() + torch.ones_like(x)

    within = None
    with simulate_gpu(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        within = torch.compile(program, backend=backend, fullgraph=True)
        within(torch.ones(2, device="cuda"))
    assert not backend.graphs
    assert within(torch.ones(2)).tolist() == [2, 2] and len(backend.graphs) == 1
    assert torch._dynamo.eval_frame._callback_from_stance.__module__ == "torch._dynamo.eval_frame"
    assert torch._ops.HigherOrderOperator.dispatch.__module__ == "torch._ops"


def test_what_the_compiler_collects_within_it_forgets_afterwards(backend):
    collected = torch._dynamo.trace_rules.get_torch_obj_rule_map
    with simulate_gpu():
        collected.cache_clear()  # as torch._dynamo.reset() does
        assert torch.zeros in collected()
    assert torch.zeros in collected()


# What is said -------------------------------------------------------------------------------------------------------


def test_it_is_said_once_and_in_the_programs_own_line():
    with simulate_gpu(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        wrapped = torch.compile(nn.Linear(2, 2).cuda())
        assert not said, "nothing has run yet"
        for _ in range(2):
            wrapped(torch.ones(1, 2, device="cuda"))
        torch.compile(double)(torch.ones(1, device="cuda"))
    told = [warning for warning in said if UNCOMPILED in str(warning.message)]
    assert [warning.filename for warning in told] == [__file__]
    line = told[0].lineno
    with open(__file__, encoding="utf-8") as source:
        assert "wrapped(torch.ones(1, 2" in source.read().splitlines()[line - 1]
    assert 'compiled="refuse"' in str(told[0].message)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.compile(double, disable=True)(x),
        lambda x: torch.compiler.disable(double)(x),
        lambda x: torch.compiler.disable(torch.compile(double))(x),
        lambda x: torch.cond(x.sum() > 0, torch.sin, torch.cos, (x,)),
        lambda x: forced(x),
    ],
    ids=["disable=True", "compiler.disable", "compiled and disabled", "torch.cond", "set_stance"],
)
def test_nothing_is_said_where_the_program_did_not_ask_for_compilation(call):
    with simulate_gpu(compiled="refuse"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert call(torch.ones(2, device="cuda")).device == CUDA


def forced(x):
    with torch.compiler.set_stance("force_eager"):
        return torch.compile(double, backend="eager")(x)


def test_a_timing_says_that_it_is_uncompiled(card):
    x = torch.ones(2, device="cuda")
    timing = lab.timeit(lambda: torch.compile(double)(x), repeats=1)
    assert timing.uncompiled and timing.to_dict()["uncompiled"]
    assert timing.label == "simulated, uncompiled, cuda:0 (Tesla T4)"
    assert UNCOMPILED in str(timing)
    plain = lab.timeit(lambda: double(x), repeats=1)
    assert not plain.uncompiled and UNCOMPILED not in str(plain)


def test_a_time_of_the_cpu_says_it_too(card):
    x = torch.ones(2)
    assert lab.timeit(lambda: torch.compile(double)(x), repeats=1).label == "measured, uncompiled, cpu"


def test_a_comparison_says_which_is_uncompiled(card):
    x, wrapped = torch.ones(2, device="cuda"), torch.compile(double)
    table = lab.compare({"plain": lambda: double(x), "compiled": lambda: wrapped(x)}, repeats=1)
    rows = dict(zip(("plain", "compiled"), table.rows(), strict=True))
    assert "uncompiled" in rows["compiled"][-1] and "uncompiled" not in rows["plain"][-1]
    assert str(table).count(UNCOMPILED) == 1


def test_a_naive_timing_and_a_sweep_say_it(card):
    def step(device, rows, width):
        x, wrapped = torch.ones(rows, width, device=device), torch.compile(double)
        return lambda: wrapped(x)

    assert UNCOMPILED in str(lab.timeit_naive(step("cuda", 2, 2), seconds=0.01))
    assert str(lab.sweep(rows=2, widths=4, budget=0.5, step=step)).count(UNCOMPILED) == 1


def test_a_trace_says_it_and_hears_each_operator(card):
    x = torch.ones(2, device="cuda")
    with lab.trace() as t:
        torch.compile(lambda x: (x * 2).sin())(x)
    assert {operator.name for operator in t.operators} == {"aten::mul", "aten::sin"}
    assert UNCOMPILED in str(t) and UNCOMPILED in t.text()
    with lab.trace() as plain:
        double(x)
    assert UNCOMPILED not in str(plain)


def test_an_estimate_says_it_also_where_the_compiled_function_lies_within(card):
    x, wrapped = torch.ones(2, device="cuda"), torch.compile(double)
    assert UNCOMPILED in str(lab.estimate(lambda: wrapped(x)))
    assert UNCOMPILED not in str(lab.estimate(double, x))


# Refused on request -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.compile(double),
        lambda: torch.compile(double, backend="eager"),
        lambda: torch.compile(nn.Identity()),
        lambda: torch._dynamo.optimize("eager")(double),
        lambda: torch.compile(torch.compile(double)),
    ],
    ids=["function", "eager backend", "module", "dynamo.optimize", "twice"],
)
def test_on_request_compiled_functions_are_refused_in_words(make):
    early = make()
    with simulate_gpu(compiled="refuse"):
        x = torch.ones(2, device="cuda")
        for call in (early, make()):
            with pytest.raises(SimulationError, match=r"torch\.compile is not simulated"):
                call(x)


def test_the_command_that_runs_scripts_refuses_on_request(tmp_path, capsys):
    script = tmp_path / "train.py"
    script.write_text("import torch\nprint(torch.compile(torch.sin)(torch.zeros(1, device='cuda')).device)")
    options = ["--simulate-gpu", "--compiled", "refuse", str(script)]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        patch.setattr(sys, "argv", list(sys.argv))
        patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
        assert runner.main(options) == 1
        assert "torch.compile is not simulated" in capsys.readouterr().err
        with pytest.warns(UserWarning, match=UNCOMPILED):
            assert runner.main(["--simulate-gpu", str(script)]) == 0
    seen = capsys.readouterr()
    assert seen.out == "cuda:0\n" and UNCOMPILED in seen.err


def test_an_estimate_goes_on_where_compiled_functions_are_refused():
    with simulate_gpu(compiled="refuse"):
        assert UNCOMPILED in str(lab.estimate(torch.compile(double), torch.ones(2, device="cuda")))


@pytest.mark.parametrize("value", ["eager", "", None, True, ["run"]])
def test_another_word_is_an_input_error(value):
    with pytest.raises(InputError, match='"run" .* or "refuse", but it is ' + re.escape(repr(value))):
        simulate_gpu(compiled=value)


# What scripts call around it ----------------------------------------------------------------------------------------


def test_what_scripts_ask_the_compiler_is_answered_as_without_compilation(card):
    asked = []

    @torch.compile
    def program(x):
        asked.append((torch.compiler.is_compiling(), torch.compiler.is_dynamo_compiling()))
        return x

    x = torch.ones(2, 2, device="cuda")
    torch._dynamo.mark_dynamic(x, 0)
    torch._dynamo.mark_static(x, 1)
    torch.compiler.cudagraph_mark_step_begin()
    program(x)
    torch._dynamo.reset()
    torch.compiler.reset()
    assert asked == [(False, False)]


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch._dynamo.explain(double)(torch.ones(2, device="cuda")),
        lambda: torch._dynamo.export(double)(torch.ones(2, device="cuda")),
        lambda: torch.export.export(nn.Linear(2, 2).cuda(), (torch.ones(1, 2, device="cuda"),), strict=True),
        lambda: torch._inductor.compile(torch.fx.symbolic_trace(nn.Identity()), []),
    ],
)
def test_who_wants_the_graph_itself_is_told_that_there_is_none(card, call):
    with pytest.raises(SimulationError, match="nothing is compiled, so there is no graph"):
        call()


# Operators that take functions --------------------------------------------------------------------------------------


def causal(batch, head, q, kv):
    return q >= kv


@pytest.mark.filterwarnings("ignore:flex_attention called")
@pytest.mark.parametrize("compile", [lambda function: function, torch.compile], ids=["plain", "compiled"])
def test_flex_attention_is_attention(card, compile):
    """With a causal mask and no score_mod it is scaled_dot_product_attention, which PyTorch computes otherwise."""
    q = torch.randn(2, 2, 128, 16, device="cuda", dtype=torch.float64, requires_grad=True)
    mask = create_block_mask(causal, None, None, 128, 128, device="cuda")
    out = compile(flex_attention)(q, q, q, block_mask=mask)
    gradient = torch.autograd.grad(out.square().sum(), q)[0]
    wanted = nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    assert out.device == gradient.device == CUDA
    torch.testing.assert_close(out, wanted)
    torch.testing.assert_close(gradient, torch.autograd.grad(wanted.square().sum(), q)[0])


@pytest.mark.filterwarnings("ignore:flex_attention called")
def test_a_tensor_that_score_mod_captures_gets_its_gradient(card):
    q = torch.randn(1, 4, 128, 16, device="cuda")
    bias = torch.zeros(4, device="cuda", requires_grad=True)
    weight = torch.arange(128.0, device="cuda")

    def score_mod(score, batch, head, i, j):
        return score + bias[head] * weight[j]

    flex_attention(q, q, q, score_mod=score_mod).square().sum().backward()
    slow = bias.detach().requires_grad_()
    scores = (q @ q.mT) / 4 + slow[:, None, None] * weight
    (scores.softmax(-1) @ q).square().sum().backward()
    torch.testing.assert_close(bias.grad, slow.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:flex_attention called")
def test_a_cpu_tensor_in_score_mod_or_mask_mod_is_refused_as_on_cuda(card):
    q, bias = torch.randn(1, 2, 128, 16, device="cuda"), torch.zeros(2)
    words = "indices should be either on cpu or on the same device as the indexed tensor"
    with pytest.raises(RuntimeError, match=words):
        flex_attention(q, q, q, score_mod=lambda score, b, h, i, j: score + bias[h])
    with pytest.raises(RuntimeError, match=words):
        create_block_mask(lambda b, h, i, j: bias[h] > 0, 1, 2, 128, 128, device="cuda")
    with pytest.raises(RuntimeError, match="two devices, cuda:0 and cpu"):
        flex_attention(q, q, q, score_mod=lambda score, b, h, i, j: score + torch.zeros(2))
    with pytest.raises(RuntimeError, match="q/k/v and block_mask to be on the same device"):
        flex_attention(q, q, q, block_mask=create_block_mask(causal, None, None, 128, 128, device="cpu"))


@pytest.mark.skipif(
    torch._C.DispatchKey.AutocastCUDA not in torch.ops.higher_order.flex_attention.py_kernels,
    reason="this PyTorch has no autocast for it",
)
@pytest.mark.filterwarnings("ignore:flex_attention called")
def test_autocast_casts_what_goes_into_flex_attention(card):
    q = torch.randn(1, 1, 128, 16, device="cuda")
    with torch.autocast("cuda", dtype=torch.float16):
        assert flex_attention(q, q, q).dtype == torch.float16


@pytest.mark.skipif(
    not hasattr(ATTENTION, "_WARNINGS_SHOWN"), reason="this PyTorch does not give that advice once"
)
def test_the_advice_to_compile_flex_attention_is_given_where_it_is_not(monkeypatch):
    monkeypatch.setattr(ATTENTION, "_WARNINGS_SHOWN", set())
    with simulate_gpu(), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        q = torch.randn(1, 1, 128, 16, device="cuda")
        torch.compile(flex_attention)(q, q, q)
        assert not [one for one in said if "called without torch.compile" in str(one.message)]
        flex_attention(q, q, q)
        flex_attention(q, q, q)
    assert len([one for one in said if "called without torch.compile" in str(one.message)]) == 1
    assert set(ATTENTION._WARNINGS_SHOWN) == {"flex_attention_performance"}


def test_torch_cond_takes_the_branch_and_its_gradient(card):
    x = torch.ones(3, device="cuda", requires_grad=True)
    for sign in (1, -1):
        out = torch.cond((x * sign).sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))
        (gradient,) = torch.autograd.grad(out.sum(), x)
        wanted = x.cos() if sign > 0 else -x.sin()
        assert out.device == gradient.device == CUDA and torch.equal(gradient, wanted)


def test_what_a_branch_mixes_is_refused_in_cudas_words(card):
    x = torch.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match=r"Expected all tensors to be on the same device.*cuda:0 and cpu"):
        torch.cond(x.sum() > 0, lambda x: x + torch.ones(3), lambda x: x, (x,))


def test_loops_and_scans_run_what_they_are_given(card):
    from torch._higher_order_ops import associative_scan, scan, while_loop
    from torch._higher_order_ops.map import map as map_over

    x = torch.arange(1.0, 5.0, device="cuda")
    start = torch.zeros((), device="cuda", dtype=torch.int64)
    _, doubled = while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (start, x))
    carry, sums = scan(lambda carry, one: (carry + one, carry + one), torch.zeros((), device="cuda"), x)
    running = associative_scan(torch.add, x, 0, combine_mode="generic")
    mapped = map_over(lambda one: one + 1, x)
    assert doubled.tolist() == [8, 16, 24, 32]
    assert carry.item() == 10 and sums.tolist() == running.tolist() == [1, 3, 6, 10]
    assert mapped.tolist() == [2, 3, 4, 5]
    assert {one.device for one in (doubled, carry, sums, running, mapped)} == {CUDA}


def test_torch_func_goes_through_them(card):
    def program(x):
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

    x = torch.ones(2, 3, device="cuda")
    x[1] = -1
    assert torch.equal(torch.vmap(program)(x), torch.stack([x[0].sin(), x[1].cos()]))
    assert torch.equal(torch.func.grad(lambda x: program(x).sum())(x), -x.sin())
    value, tangent = torch.func.jvp(program, (x + 1,), (torch.ones_like(x),))
    assert torch.equal(value, (x + 1).sin()) and torch.equal(tangent, (x + 1).cos())


def test_a_scan_has_the_gradient_of_a_loop(card):
    from torch._higher_order_ops import scan

    x = torch.rand(4, 3, device="cuda", requires_grad=True)
    carry, out = scan(
        lambda carry, one: (carry * one + 1, carry.sin() * one), torch.ones(3, device="cuda"), x
    )
    state, outs = torch.ones(3, device="cuda"), []
    for one in x:
        outs.append(state.sin() * one)
        state = state * one + 1
    (got,) = torch.autograd.grad((carry.sum() + out.square().sum()), x)
    (wanted,) = torch.autograd.grad((state.sum() + torch.stack(outs).square().sum()), x)
    torch.testing.assert_close(got, wanted)


def test_an_estimate_sees_into_them(card):
    x = torch.ones(64, 64, device="cuda")
    pred = torch.ones((), device="cuda") > 0
    found = lab.estimate(lambda: torch.cond(pred, lambda x: x @ x, lambda x: x, (x,)))
    assert found.operators >= 1 and found.synchronizations == 1


# Without a simulation -----------------------------------------------------------------------------------------------


def test_a_trace_without_a_simulation_says_it_and_spoils_nothing(backend):
    wrapped = torch.compile(double, backend=backend, fullgraph=True)
    with lab.trace() as t:
        wrapped(torch.ones(2))
    assert UNCOMPILED in str(t) and not backend.graphs
    wrapped(torch.ones(2))
    assert len(backend.graphs) == 1, "a trace made the function uncompiled for good"


def test_what_was_compiled_already_is_traced_operator_by_operator(backend):
    def program(x):
        return (x * 2).sin()

    wrapped = torch.compile(program, backend=lambda graph, inputs: lambda *values: (values[0].cos(),))
    wrapped(torch.ones(2))
    with lab.trace() as t:
        wrapped(torch.ones(2))
    assert "aten::sin" in {operator.name for operator in t.operators}


def test_a_timing_without_a_simulation_is_compiled_and_says_nothing(backend):
    wrapped = torch.compile(double, backend=backend, fullgraph=True)
    timing = lab.timeit(lambda: wrapped(torch.ones(2)), repeats=2)
    assert backend.graphs and not timing.uncompiled and timing.label == "measured, cpu"


def test_operators_with_gradients_are_traced_without_a_simulation():
    x = torch.ones(3, requires_grad=True)

    def step():
        torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,)).sum().backward()

    with lab.trace() as t:
        step()
    assert torch.equal(x.grad, x.cos()) and t.training == ("cpu",)
    assert "aten::sin" in {operator.name for operator in t.operators}


@pytest.mark.filterwarnings("ignore:flex_attention called")
def test_flex_attention_is_traced_without_a_simulation():
    q = torch.randn(1, 1, 128, 16)
    with lab.trace() as t:
        out = flex_attention(q, q, q)
    torch.testing.assert_close(out, nn.functional.scaled_dot_product_attention(q, q, q))
    assert len(t.operators) > 5


def test_another_threads_compiled_functions_are_left_alone(backend):
    import threading

    wrapped = torch.compile(double, backend=backend)
    with lab.trace() as t:
        thread = threading.Thread(target=wrapped, args=(torch.ones(2),))
        thread.start()
        thread.join()
    assert UNCOMPILED not in str(t)
    if hasattr(torch._dynamo.config, "inline_torch_dispatch_torch_compile"):
        assert len(backend.graphs) == 1
    else:  # an earlier PyTorch compiles on no thread while any of them has a mode
        assert not backend.graphs


def test_who_holds_compilation_off_lets_go_in_any_order():
    first, second = compiled.Hold(), compiled.Hold()
    before = torch._dynamo.eval_frame._callback_from_stance
    compiled.hold(first)
    compiled.hold(second)
    compiled.release(first)
    assert torch._dynamo.eval_frame._callback_from_stance is not before
    compiled.release(second)
    compiled.release(second)
    assert torch._dynamo.eval_frame._callback_from_stance is before


def test_a_trace_that_outlives_a_simulation_keeps_seeing(backend):
    wrapped = torch.compile(double, backend=backend)
    with lab.trace() as t:
        with simulate_gpu(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped(torch.ones(2, device="cuda"))
        wrapped(torch.ones(2))
    assert not backend.graphs and sum(operator.name == "aten::mul" for operator in t.operators) == 2


@pytest.mark.skipif(
    not hasattr(TorchDispatchMode, "supports_higher_order_operators"),
    reason="before PyTorch 2.9 no mode hears of them",
)
def test_an_operator_whose_functions_nobody_runs_is_refused_in_words(card):
    hidden = torch.ops.higher_order.strict_mode
    with pytest.raises(SimulationError, match=r"takes functions.* it is neither simulated nor estimated"):
        hidden(double, (torch.ones(2, device="cuda"),))
