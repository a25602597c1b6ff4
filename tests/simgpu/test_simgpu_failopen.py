"""No operator takes a tensor of a card and gives one that lies elsewhere: in threads, in others' operators, in scripted code."""

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import opdb
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_upper_left
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_map

from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.stand_ins import threads
from devicelab.versions import release

OLD_CUDA = bool(torch.version.cuda) and release(torch.__version__) < (2, 12)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def simulation() -> Iterator[Any]:
    with simulate_gpu(count=2) as running:
        yield running


def in_a_thread(program: Callable[[], None]) -> None:
    """Run a program in a thread of its own; raise its error here."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            program()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("op", opdb.chosen(fraction=opdb.FRACTION / 2), ids=opdb.name_of)
def test_operators_in_threads(op: Any) -> None:
    """Forward and backward in a thread: every operator's result, every output and every gradient lies on the card."""
    if opdb.name_of(op) in opdb.EXCEPTIONS:
        pytest.xfail(opdb.EXCEPTIONS[opdb.name_of(op)])
    samples = opdb.samples(op, torch.float32)[:3]
    runs: list[Any] = []
    for sample in samples:
        with (
            warnings.catch_warnings(),
            opdb.DrawsRandomNumbers(),
        ):  # below a mode torch takes other ways, here as there
            warnings.simplefilter("ignore")
            runs.append((sample, opdb.forward_and_backward(op, sample, "cpu")))

    def program() -> None:
        for sample, expected in runs:
            with opdb.Witness() as witness:
                found = opdb.forward_and_backward(op, sample, "cuda:0")
            opdb.compare(found, expected, values=False)
            assert not witness.escaped

    with simulate_gpu():
        in_a_thread(program)


def test_the_witness_sees_an_escape(simulation: Any) -> None:
    ones = torch.ones(2, device="cuda")
    with threads.undisturbed(), opdb.Witness() as witness:
        ones + ones
    assert witness.escaped == ["aten.add.Tensor"]


def test_python_operators_of_others(simulation: Any) -> None:
    @torch.library.custom_op("devicelab_test::scale_and_make", mutates_args=())
    def scale_and_make(x: torch.Tensor) -> torch.Tensor:
        made = torch.ones(x.shape, device=x.device)
        assert made.device == x.device
        assert (x * made).device == x.device
        return x * 2 + made

    assert scale_and_make(torch.ones(2, device="cuda:1")).device == torch.device("cuda", 1)
    assert scale_and_make(torch.ones(2)).device.type == "cpu"

    @torch.library.custom_op("devicelab_test::mixes", mutates_args=())
    def mixes(x: torch.Tensor) -> torch.Tensor:
        return x + torch.ones(2)

    with pytest.raises(RuntimeError, match="at least two devices"):
        mixes(torch.ones(2, device="cuda"))

    @torch.library.custom_op("devicelab_test::moves", mutates_args=())
    def moves(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        made = torch.zeros(index.shape, device=index.device)
        return made + index + x.to(index.device)[0]

    x, index = (
        torch.ones(2),
        torch.ones(2),
    )  # such an operator may be given tensors of two devices, and judges them itself
    assert moves(x.cuda(), index).device.type == "cpu"
    assert moves(x, index.to("cuda:1")).device == torch.device("cuda", 1)


def test_autograd_functions(simulation: Any) -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x * 2 + torch.zeros(x.shape, device=x.device)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            assert gradient.device == x.device
            return gradient * 2

    x = torch.ones(3, device="cuda:1", requires_grad=True)
    Double.apply(x).sum().backward()
    assert x.grad is not None
    assert x.grad.device == torch.device("cuda", 1)


def test_scripted_code(simulation: Any) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x) * 2 + torch.zeros_like(x)

    scripted: Any = torch.jit.script(function)
    traced = torch.jit.trace(lambda x: torch.sigmoid(x) @ x.t(), torch.ones(2, 2, device="cuda"))
    assert scripted(torch.ones(2, device="cuda")).device == torch.device("cuda", 0)
    assert traced(torch.ones(2, 2, device="cuda")).device == torch.device("cuda", 0)
    module = torch.jit.script(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.LSTM(3, 4))).cuda()
    assert module(torch.ones(5, 2, device="cuda"))[0].device == torch.device("cuda", 0)
    with pytest.raises(RuntimeError, match="TorchScript interpreter"):
        module(torch.ones(5, 2))


class Wrapped(torch.Tensor):
    """A subclass that holds a tensor and hands every operator on to it, as quantized and distributed tensors do."""

    inner: Any

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> "Wrapped":
        out = torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, device=inner.device)
        out.inner = inner
        return out

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Wrapped({self.inner})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        def unwrap(value: Any) -> Any:
            return value.inner if isinstance(value, Wrapped) else value

        out = func(*tree_map(unwrap, args), **tree_map(unwrap, kwargs or {}))
        out = tree_map(lambda value: Wrapped(value) if isinstance(value, torch.Tensor) else value, out)
        return return_and_correct_aliasing(func, args, kwargs or {}, out)


def test_subclasses_that_wrap_a_tensor(simulation: Any) -> None:
    wrapped: Any = Wrapped(torch.ones(3, device="cuda"))
    assert wrapped.device == torch.device("cuda", 0)
    assert (wrapped + 1).inner.device == torch.device("cuda", 0)
    with pytest.raises(RuntimeError, match="at least two devices"):
        wrapped + torch.ones(3)


class Unasked(Wrapped):
    """One whose calls are taken at __torch_dispatch__ alone, as those of most wrappers."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [Wrapped, Unasked])
@pytest.mark.parametrize(
    "call",
    [torch.fft.fft, torch.linalg.norm, lambda x: torch.inner(x, x), lambda x: F.cosine_similarity(x, x),
     lambda x: F.conv2d(x[None, None], x[None, None]), lambda x: torch.take_along_dim(x, x.long(), 0)],
)  # fmt: skip
def test_what_cuda_checks_first_takes_them_too(simulation: Any, kind: Any, call: Any) -> None:
    out = call(kind(torch.eye(3, device="cuda")))
    assert isinstance(out, Wrapped) and out.device == out.inner.device == torch.device("cuda", 0)
    assert torch.equal(out.inner.cpu(), call(torch.eye(3)))


@pytest.mark.parametrize("kind", [Wrapped, Unasked])
def test_what_cuda_checks_first_refuses_their_mixes(simulation: Any, kind: Any) -> None:
    with pytest.raises(
        RuntimeError, match="Expected tensor to have cuda DeviceType, but got tensor with cpu"
    ):
        torch.inner(kind(torch.eye(3, device="cuda")), torch.eye(3))


def test_subclasses_train(simulation: Any) -> None:
    """C++ must not take such a tensor for a CUDA tensor: autograd would end the process."""
    wrapped: Any = Wrapped(torch.ones(3, device="cuda:1")).requires_grad_()
    (wrapped * 2).sum().backward()
    assert (wrapped.grad.device, wrapped.grad.inner.tolist()) == (torch.device("cuda", 1), [2, 2, 2])
    rows = [torch.ones(2, 3), torch.ones(4, 3)]
    nested: Any = torch.nested.nested_tensor(rows, device="cuda", layout=torch.jagged, requires_grad=True)
    nn.Linear(3, 2).cuda()(nested).values().sum().backward()
    assert nested.device == nested.grad.device == torch.device("cuda", 0)


@pytest.mark.skipif(
    OLD_CUDA, reason="PyTorch 2.8 to 2.11 built for CUDA wakes the driver itself for a fake tensor"
)
def test_fake_tensors_keep_the_card(simulation: Any) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    model, data = nn.Linear(3, 2).cuda(), torch.ones(4, 3, device="cuda")
    with FakeTensorMode() as mode:
        weight, fake = mode.from_tensor(model.weight), mode.from_tensor(data)
        F.linear(fake, weight).sum().backward()
        assert weight.grad is not None
        assert weight.grad.device == torch.ones(2, device="cuda").device == torch.device("cuda", 0)
    assert (data + 1).device == torch.device("cuda", 0)
    assert torch.cuda.memory_allocated() < 4096


@pytest.mark.parametrize(
    "program",
    [
        lambda x: torch.func.grad(lambda y: (y * 2).sum())(x),
        lambda x: torch.func.vmap(lambda y: y * torch.ones((), device="cuda"))(x),
        lambda x: torch.func.jacrev(torch.sin)(x),
        lambda x: torch.func.jacfwd(torch.sin)(x),
        lambda x: torch.func.hessian(lambda y: (y**3).sum())(x),
        lambda x: torch.func.jvp(torch.sin, (x,), (x,))[1],
        pytest.param(
            lambda x: torch.func.linearize(torch.sin, x)[1](x),
            marks=pytest.mark.skipif(
                OLD_CUDA, reason="PyTorch 2.8 to 2.11 built for CUDA wakes the driver itself there"
            ),
        ),
        lambda x: torch.autograd.functional.jacobian(torch.sin, x),
        lambda x: torch.cdist(x[None], x[None]),
        lambda x: F.cosine_similarity(x, x, dim=0),
        lambda x: torch.quantile(x, 0.5),
        lambda x: torch.einsum("i,j->ij", x, x),
        lambda x: torch.stft(
            torch.cat([x] * 10), 8, window=torch.hann_window(8, device="cuda"), return_complex=True
        ),
        lambda x: torch.histc(x),
        lambda x: torch.linalg.matrix_rank(torch.zeros(0, 0, device="cuda")),
        lambda x: F.pad(x, (1, 1)),
        lambda x: torch.inference_mode()(lambda: x * 2)(),
        lambda x: nn.TransformerEncoderLayer(4, 2, batch_first=True).cuda().eval()(x[:4].reshape(1, 1, 4)),
        lambda x: nn.MultiheadAttention(4, 2).cuda()(*[x[:4].reshape(1, 1, 4)] * 3)[0],
        lambda x: nn.utils.rnn.pack_sequence([x, x[:2]]).data,
    ],
)
def test_what_torch_takes_apart_by_itself(
    simulation: Any, program: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    with opdb.Witness() as witness:
        assert program(torch.arange(5.0, device="cuda")).device == torch.device("cuda", 0)
    assert not witness.escaped


def apply(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function: for the interpreter, always at the same place."""
    return function(*args)


def test_a_cpu_tensor_is_never_adopted(simulation: Any) -> None:
    """C++ composites make tensors on the way that follow their operands. What the learner makes does not."""
    card = torch.ones(3, device="cuda")
    makers: list[Callable[[], torch.Tensor]] = [
        lambda: apply(torch.ones, 3),
        lambda: torch.Tensor([1, 2, 3]),
        lambda: torch.FloatTensor(3),
        lambda: torch.ones(3).new_ones(3),
        lambda: torch.zeros_like(torch.ones(3)),
        lambda: torch.rand(3).mul_(2),
        lambda: torch.fft.fftfreq(3),
        lambda: torch.hann_window(3),
        lambda: torch.nn.Parameter(torch.ones(3)),
        lambda: torch.nn.Linear(3, 3).bias,
        lambda: torch.eye(3)[0],
    ]
    for number, make in enumerate(makers):
        with pytest.raises(RuntimeError, match="at least two devices"):
            apply(torch.add, card, make())
            pytest.fail(f"number {number} was adopted")
    with torch.device("cpu"), pytest.raises(RuntimeError, match="at least two devices"):
        card + torch.ones(3)
    with opdb.DrawsRandomNumbers(), pytest.raises(RuntimeError, match="at least two devices"):
        card + torch.ones(3)


class Own(torch.Tensor):
    pass


def test_subclasses_are_made_by_their_name_and_lie_where_their_data_do(simulation: Any) -> None:
    for made in (Own([1.0, 2.0]), Own(2), Own(torch.ones(2))):
        assert type(made) is Own and made.device.type == "cpu" and made.cuda().is_cuda
    assert Own(torch.ones(2, device="cuda")).is_cuda and torch.Tensor(2).cuda().is_cuda
    with pytest.raises(RuntimeError, match="at least two devices"):
        Own([1.0, 2.0]).cuda() + torch.ones(2)


def test_a_bias_of_torchs_own_class_reaches_attention(simulation: Any) -> None:
    query = torch.rand(1, 1, 4, 8, device="cuda")
    found = F.scaled_dot_product_attention(query, query, query, attn_mask=causal_upper_left(4, 4))
    torch.testing.assert_close(found, F.scaled_dot_product_attention(query, query, query, is_causal=True))
