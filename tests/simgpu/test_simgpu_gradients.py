"""Gradients where autograd's engine and the older vmap decide: batched ones, and those of side streams."""

from functools import partial
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

from devicelab import simulate_gpu

CUDA = torch.device("cuda:0")
pytestmark = pytest.mark.filterwarnings("ignore:Please use `torch.vmap`")


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


def test_gradcheck_checks_batched_gradients():
    x = torch.rand(3, dtype=torch.double, device="cuda", requires_grad=True)
    factor = torch.rand(3, dtype=torch.double, device="cuda")
    assert torch.autograd.gradcheck(lambda a: (a * factor).sin(), x, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda a: (a * factor).sin(), x, check_batched_grad=True)
    assert torch.autograd.gradcheck(
        lambda a: F.conv1d(a.reshape(1, 1, 3), torch.ones(1, 1, 2, dtype=torch.double, device="cuda")),
        x,
        check_batched_grad=True,
    )


def test_inside_the_older_vmap_tensors_say_where_they_are():
    from torch._vmap_internals import vmap

    seen = []

    def inner(y):
        seen.append((y.device, y.is_cuda, y.get_device(), (y * 2).device, torch.zeros_like(y).device))
        return y * 2 + y.new_ones(2) + torch.zeros(2, device=y.device)

    out = vmap(inner)(torch.ones(3, 2, device="cuda"))
    assert out.device == CUDA and out.eq(3).all()
    assert vmap(vmap(inner))(torch.ones(4, 3, 2, device="cuda")).device == CUDA
    assert seen == [(CUDA, True, 0, CUDA, CUDA)] * 2
    assert vmap(inner)(torch.ones(3, 2)).device.type == "cpu"
    with pytest.raises(RuntimeError, match="at least two devices"):
        vmap(lambda y: y + torch.ones(2))(torch.ones(3, 2, device="cuda"))


def test_batched_gradients_of_a_side_path_are_refused_elsewhere():
    x = torch.ones(3, device="cuda", requires_grad=True)
    eye = torch.eye(3)
    assert torch.autograd.grad(x * 2, x, eye.cuda(), is_grads_batched=True)[0].device == CUDA
    with pytest.raises(RuntimeError, match="expected device cuda:0 but got cpu"):
        torch.autograd.grad(x * 2, x, eye, is_grads_batched=True)


class Twice(torch.autograd.Function):
    streams: ClassVar[list] = []

    @staticmethod
    def forward(ctx, x):
        Twice.streams.append(torch.cuda.current_stream())
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        Twice.streams.append(torch.cuda.current_stream())
        return gradient * 2


def test_a_functions_backward_runs_in_the_stream_of_its_forward():
    x, side = torch.ones(3, device="cuda", requires_grad=True), torch.cuda.Stream()
    for stream in (side, torch.cuda.default_stream()):
        Twice.streams.clear()
        with torch.cuda.stream(stream):
            out = Twice.apply(x)
        torch.cuda.current_stream().wait_stream(side)
        out.sum().backward()
        assert Twice.streams == [stream, stream]
    assert torch.cuda.current_stream() == torch.cuda.default_stream() and x.grad.eq(4).all()


def test_a_gradient_edge_knows_where_its_tensor_is():
    x = torch.ones(3, device="cuda", requires_grad=True)
    torch.autograd.backward(torch.autograd.graph.get_gradient_edge((x * 2).sum()))
    assert x.grad.device == CUDA and x.grad.tolist() == [2, 2, 2]
    edge = torch.autograd.graph.get_gradient_edge(x * 2)
    (gradient,) = torch.autograd.grad(edge, x, torch.ones(3, device="cuda"))
    assert gradient.device == CUDA
    with pytest.raises(RuntimeError, match="expected device cuda:0 but got cpu"):
        torch.autograd.grad(edge, x, torch.ones(3))


BUILT_IN = {
    "a product": lambda x: x * 2,
    "a layer": lambda x: F.linear(x, torch.ones(2, 3, device="cuda")),
    "a view": lambda x: x[1:],
    "a composite": lambda x: F.gelu(x).sum(),
}


@pytest.mark.parametrize("function", BUILT_IN.values(), ids=BUILT_IN)
def test_a_built_in_backward_runs_in_the_stream_of_its_forward(function):
    x, side, seen = torch.ones(3, device="cuda", requires_grad=True), torch.cuda.Stream(), []
    with torch.cuda.stream(side):
        inner = function(x)
    inner.grad_fn.register_hook(lambda *_: seen.append(torch.cuda.current_stream()))
    outer = inner.sum()
    outer.grad_fn.register_hook(lambda *_: seen.append(torch.cuda.current_stream()))
    outer.backward()
    assert seen == [torch.cuda.default_stream(), side]
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


def backward_time(streams):
    """Return the simulated seconds of a backward pass of two branches, each in one of these streams."""
    # Long for a card, short for the CPU that computes its values: bytes, not products.
    weights = [torch.ones(4096, 4096, device="cuda", requires_grad=True) for _ in streams]
    outs = []
    for weight, stream in zip(weights, streams, strict=True):
        with torch.cuda.stream(stream):
            outs.append(weight * 2 * 2 * 2 * 2)
    torch.cuda.synchronize()
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    torch.autograd.backward(outs, [torch.ones_like(out) for out in outs])
    last.record()
    last.synchronize()
    return first.elapsed_time(last)


def test_branches_in_streams_of_their_own_go_back_side_by_side():
    default = torch.cuda.default_stream()
    one_by_one = backward_time([default, default])
    beside = backward_time([torch.cuda.Stream(), torch.cuda.Stream()])
    assert 0.4 * one_by_one < beside < 0.7 * one_by_one


def test_a_pass_that_fails_leaves_the_stream_as_it_was():
    x, side = torch.ones(3, device="cuda", requires_grad=True), torch.cuda.Stream()

    def fail(*_):
        raise ValueError("in a hook")

    with torch.cuda.stream(side):
        y = x * 2
    y.grad_fn.register_hook(fail)
    with pytest.raises(ValueError, match="in a hook"):
        y.sum().backward()
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_ctc_loss_takes_lengths_without_dimensions(where):
    scores = torch.randn(10, 5).log_softmax(1)
    targets, lengths = torch.tensor([1, 2]), (torch.tensor(10, device=where), torch.tensor(2))
    expected = F.ctc_loss(scores, targets, torch.tensor(10), torch.tensor(2))
    torch.testing.assert_close(F.ctc_loss(scores.cuda(), targets, *lengths).cpu(), expected)


# --- what hooks hand back -----------------------------------------------------------------------------------------


def of_a_tensor(hook):
    x = torch.ones(3, device="cuda", requires_grad=True)
    y = x * 2
    y.register_hook(hook)
    y.sum().backward()
    return x.grad


def of_a_module(register, hook):
    layer = torch.nn.Linear(3, 2).cuda()
    getattr(layer, register)(hook)
    layer(torch.ones(4, 3, device="cuda", requires_grad=True)).sum().backward()


CHANGED = "has changed the type of value (was torch.cuda.FloatTensor got torch.{}Tensor)"


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: of_a_tensor(lambda g: g.cpu()), f"hook '<lambda>' {CHANGED.format('Float')}"),
        (lambda: of_a_tensor(partial(torch.Tensor.cpu)), f"hook '<unknown>' {CHANGED.format('Float')}"),
        (lambda: of_a_tensor(lambda g: g.double()), f"hook '<lambda>' {CHANGED.format('cuda.Double')}"),
        (
            lambda: of_a_module("register_full_backward_hook", lambda _, given, out: (given[0].cpu(),)),
            f"hook 'hook' {CHANGED.format('Float')}",
        ),
        (
            lambda: of_a_module("register_full_backward_pre_hook", lambda _, out: out[0].cpu()),
            f"hook 'hook' {CHANGED.format('Float')}",
        ),
    ],
)
def test_a_hook_that_hands_back_a_gradient_elsewhere_is_refused(run, words):
    with pytest.raises(RuntimeError) as caught:
        run()
    assert str(caught.value) == words


def a_leafs(x):
    return (x * 2).grad_fn.next_functions[0][0]


NODES = {
    "an operator's": lambda x: (x * 2).exp(),
    "the last before a leaf": lambda x: x * 2,
    "a function's own": Twice.apply,
}


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
@pytest.mark.parametrize("way", ["register_hook", "register_prehook"])
def test_what_a_nodes_hook_moves_is_refused_at_once(make, way):
    """python_hook.cpp, _call_hooks."""

    def to_the_cpu(gradients, *_):
        return tuple(gradient if gradient is None else gradient.cpu() for gradient in gradients)

    x = torch.ones(3, device="cuda", requires_grad=True)
    y = make(x)
    getattr(y.grad_fn, way)(to_the_cpu)
    with pytest.raises(RuntimeError) as caught:
        y.sum().backward()
    assert str(caught.value) == (
        "hook 'to_the_cpu' has changed the type of value (was torch.cuda.FloatTensor got torch.FloatTensor)"
    )
    assert x.grad is None


def test_what_a_leafs_hook_moves_is_refused_at_once():
    x = torch.ones(3, device="cuda", requires_grad=True)
    leaf = a_leafs(x)
    leaf.register_prehook(lambda gradients: (gradients[0].cpu(),))
    with pytest.raises(RuntimeError, match="hook '<lambda>' has changed the type of value"):
        (x * 2).sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_a_nodes_hook_makes_in_its_place_is_taken(device):
    x = torch.ones(3, device=device, requires_grad=True)
    y = x * 2
    handles = [
        y.grad_fn.register_hook(lambda given, _: (given[0] * 3, *given[1:])),
        y.grad_fn.register_prehook(lambda given: None),
    ]
    y.sum().backward(retain_graph=True)
    assert x.grad.device == x.device and x.grad.tolist() == [6.0] * 3
    for handle in handles:
        handle.remove()
    y.sum().backward()
    assert x.grad.tolist() == [8.0] * 3


def test_after_the_simulation_nodes_have_their_own_methods(card):
    node = (torch.ones(1, requires_grad=True) * 2).grad_fn
    during = type(node).register_hook
    card.stop()
    assert type(node).register_hook is not during and "devicelab" not in repr(type(node).register_hook)
    assert type(type(node).register_hook).__name__ == "method_descriptor"


def test_a_hook_that_keeps_the_place_or_hands_back_nothing_is_heard():
    seen = []
    assert of_a_tensor(lambda g: seen.append(g.device)).tolist() == [2.0] * 3 and seen == [CUDA]
    assert of_a_tensor(lambda g: g * 5).tolist() == [10.0] * 3
    of_a_module("register_full_backward_hook", lambda _, given, out: (given[0] * 2,))


# --- what composite operators make of nothing and keep for the backward pass ---------------------------------------


def connectionist(x):
    labels = torch.ones(2, 2, dtype=torch.long, device="cuda")
    return F.ctc_loss(x.log_softmax(2), labels, torch.tensor([5, 5]), torch.tensor([2, 2]))


@pytest.mark.parametrize(
    ("function", "shape"),
    [(lambda x: torch.cov(x), (3, 4)), (lambda x: torch.corrcoef(x), (3, 4)), (connectionist, (5, 2, 4))],
)
@pytest.mark.parametrize("how", ["checkpoint", "save_on_cpu"])
def test_what_is_kept_for_the_backward_pass_lies_on_the_card(function, shape, how):
    x = torch.rand(shape, device="cuda", requires_grad=True)
    (expected,) = torch.autograd.grad(function(x).sum(), x)
    if how == "checkpoint":
        out = checkpoint(function, x, use_reentrant=False)
    else:
        with torch.autograd.graph.save_on_cpu():
            out = function(x)
    (found,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
@pytest.mark.parametrize("packed", [False, True])
def test_a_recurrent_layer_goes_back_in_training_mode_only(kind, packed):
    """cuDNN keeps nothing else for its backward: aten/src/ATen/native/cudnn/RNN.cpp."""
    layer = kind(2, 3, bidirectional=True).cuda()
    data = torch.ones(4, 2, 2, device="cuda")
    given = torch.nn.utils.rnn.pack_padded_sequence(data, torch.tensor([4, 3])) if packed else data

    def back():
        out, _ = layer(given)
        (out.data if packed else out).sum().backward()

    back()
    layer.eval()
    with pytest.raises(RuntimeError, match="cudnn RNN backward can only be called in training mode"):
        back()
    with torch.backends.cudnn.flags(enabled=False):
        back()
    with torch.no_grad():
        layer(given)
    layer.cpu()
    given = given.cpu()
    back()


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_a_recurrent_layer_goes_back_once(kind):
    """torch/csrc/autograd/FunctionsManual.cpp, kCudnnDoubleBackwardMsg: a gradient penalty meets it."""
    layer, x = kind(2, 3).cuda(), torch.ones(4, 2, 2, device="cuda", requires_grad=True)

    def penalty():
        (gradient,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
        gradient.pow(2).sum().backward()

    with pytest.raises(
        NotImplementedError, match=r"the derivative for '_cudnn_rnn_backward' is not implemented. Double"
    ):
        penalty()
    with torch.backends.cudnn.flags(enabled=False):
        penalty()
    assert layer.weight_hh_l0.grad.device == CUDA
    layer.zero_grad()
    out = layer(x)[0].sum()
    out.backward(retain_graph=True)
    once = layer.weight_hh_l0.grad.clone()
    out.backward()
    assert torch.allclose(layer.weight_hh_l0.grad, 2 * once), "the same backward pass, twice"


def test_the_nodes_of_what_cudnn_computes_have_the_cpus_names():
    scores, labels = (
        torch.rand(5, 1, 3, device="cuda", requires_grad=True),
        torch.ones(1, 2, dtype=torch.int32),
    )
    assert (
        type(F.ctc_loss(scores, labels, (5,), (2,), reduction="none").grad_fn).__name__ == "CtcLossBackward0"
    )
