"""What PyTorch's own CUDA tests found: each kind of fault, by the behaviour that mends it."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import _prims, _refs

from devicelab import simulate_gpu
from devicelab.errors import SimulationError


@pytest.fixture
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


# --- operators written in Python ------------------------------------------------------------------------------------


def test_what_an_operator_written_in_python_makes_lies_on_the_card(card):
    x = torch.rand(2, 3, device="cuda")
    assert _prims.amax(x, (0,)).is_cuda and _refs.amin(x, (0, 1)).is_cuda and _refs.softmax(x, 1).is_cuda
    assert _prims.empty_strided((2,), (1,), dtype=torch.float32, device=x.device, requires_grad=False).is_cuda
    torch.testing.assert_close(_refs.mean(x).cpu(), x.cpu().mean())


def test_an_operator_written_in_python_refuses_a_mix_and_stays_on_the_cpu_with_cpu_tensors(card):
    x = torch.rand(2, 3)
    assert _prims.amax(x, (0,)).device.type == "cpu"
    with pytest.raises(RuntimeError, match="is not on the expected device cpu"):  # its own judge
        _prims.add(x, x.cuda())


# --- tensors without values -------------------------------------------------------------------------------------------

# With `x` on the CPU or a card and `m` on the meta device. PyTorch sends these to the meta kernels, whatever the other device.
BESIDE_META: dict[str, Callable[[Any, Any], Any]] = {
    "a product": lambda x, m: x @ m,
    "the other way round": lambda x, m: m @ x,
    "a batch of products": lambda x, m: torch.bmm(x[None], m[None]),
    "a layer": lambda x, m: F.linear(x, m),
    "a convolution": lambda x, m: F.conv2d(x[None, None], m[None, None]),
    "an embedding": lambda x, m: F.embedding(x.long(), m),
    "a sum": lambda x, m: x + m,
    "a sum in place": lambda x, m: x.add_(m),
    "a sum with a number without device": lambda x, m: x + m[0, 0],
    "rows": lambda x, m: m[x.long()[0]],
    "a list": lambda x, m: torch.cat([x, m]),
    "a stack": lambda x, m: torch.stack([x, m]),
    "a choice": lambda x, m: torch.where(x > 0, m, x),
    "a norm": lambda x, m: F.layer_norm(x, (3,), m[0]),
    "a loss": lambda x, m: F.mse_loss(x, m),
    "a mixture": lambda x, m: torch.lerp(x, m, 0.5),
    "many at once": lambda x, m: torch._foreach_add([x], [m]),
    "an output": lambda x, m: torch.add(x, x, out=m),
    "a comparison": lambda x, m: torch.equal(x, m),
}


def outcome(call, device):
    """Return where the result lies, or the error's type and first line; the second time, when torch has loaded what it needs."""
    for _ in range(2):
        try:
            result = call(torch.zeros(3, 3, device=device), torch.zeros(3, 3, device="meta"))
            told = [part.device.type for part in (result if isinstance(result, list) else [result])]
        except (RuntimeError, NotImplementedError) as error:
            told = [type(error).__name__, str(error).splitlines()[0]]
    return told


@pytest.mark.parametrize("name", BESIDE_META)
def test_beside_a_tensor_without_values_a_cards_tensor_fares_as_the_cpus_does(name):
    wanted = outcome(BESIDE_META[name], "cpu")
    with simulate_gpu("T4"):
        got = outcome(BESIDE_META[name], "cuda")
    assert got == [words.replace("cpu", "cuda:0" if len(wanted) > 1 else "cuda") for words in wanted]


# --- out= on another device -------------------------------------------------------------------------------------------


def of_a_matrix(call, x, out):
    """Call a function of a matrix."""
    return call(x.diag() + 1, out=out)


SAME = "Expected the output and input tensors to be on the same device, but got the output tensor on cpu, "
ELSEWHERE: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "quantile": (
        lambda x, out: torch.quantile(x, 0.5, out=out),
        "quantile() out tensor must be on the same device as the input tensor",
    ),
    "nanquantile": (
        lambda x, out: torch.nanquantile(x, 0.5, out=out),
        "quantile() out tensor must be on the same device as the input tensor",
    ),
    "tensordot": (
        lambda x, out: torch.tensordot(x, x, dims=1, out=out),
        f"tensordot: {SAME}input tensor a on cuda:0, and input tensor b on cuda:0",
    ),
    "dot": (
        lambda x, out: torch.dot(x, x, out=out),
        f"dot: {SAME}the 'input' tensor on cuda:0, and the 'other' tensor on cuda:0",
    ),
    "vdot": (
        lambda x, out: torch.vdot(x, x, out=out),
        f"vdot: {SAME}the 'input' tensor on cuda:0, and the 'other' tensor on cuda:0",
    ),
    **{
        name: (
            partial(of_a_matrix, call),
            f"{words}: Expected result and input tensors to be on the same device, but got result on cpu and input on cuda:0",
        )
        for name, words, call in [
            ("linalg.cond", "linalg.cond", lambda a, out: torch.linalg.cond(a, out=out)),
            (
                "linalg.matrix_rank",
                "torch.linalg.matrix_rank",
                lambda a, out: torch.linalg.matrix_rank(a, out=out),
            ),
            ("linalg.matrix_power", "matrix_power", lambda a, out: torch.linalg.matrix_power(a, 3, out=out)),
            ("linalg.pinv", "linalg.pinv", lambda a, out: torch.linalg.pinv(a, out=out)),
            ("linalg.tensorinv", "tensorinv", lambda a, out: torch.linalg.tensorinv(a, ind=1, out=out)),
            ("linalg.tensorsolve", "tensorsolve", lambda a, out: torch.linalg.tensorsolve(a, a[0], out=out)),
            ("cholesky_solve", "cholesky_solve", lambda a, out: torch.cholesky_solve(a, a.tril(), out=out)),
        ]
    },
    **{
        name: (
            partial(of_a_matrix, call),
            f"{words}: Expected result and input tensors to be on the same device, but got result on cuda:0 and input on cpu",
        )
        for name, words, call in [
            ("linalg.norm", "linalg.norm", lambda a, out: torch.linalg.norm(a, out=out)),
            ("linalg.matrix_norm", "linalg.matrix_norm", lambda a, out: torch.linalg.matrix_norm(a, out=out)),
            ("the nuclear norm", "linalg.matrix_norm", lambda a, out: torch.norm(a, "nuc", out=out)),
        ]
    },
    "linalg.multi_dot": (
        lambda x, out: torch.linalg.multi_dot([x, x], out=out),
        "multi_dot(): expected out tensor to be on device cuda:0 but got cpu",
    ),
    "inner": (
        lambda x, out: torch.inner(x, x, out=out),
        "Expected tensor to have cuda DeviceType, but got tensor with cpu DeviceType (while checking arguments for inner())",
    ),
    "special.ndtr": (
        lambda x, out: torch.special.ndtr(x, out=out),
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
    ),
    "mode": (
        lambda x, out: torch.mode(x, 0, out=(out, torch.empty((), dtype=torch.long, device=out.device))),
        "expected device 'cuda:0' but got 'cpu' for values output",
    ),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_output_on_the_cpu_is_refused_in_the_words_of_the_function_and_one_on_the_card_taken(card, name):
    call, words = ELSEWHERE[name]
    with pytest.raises(RuntimeError) as caught:
        call(torch.rand(3, device="cuda"), torch.empty(0).to(dtype_of(name)))
    assert str(caught.value) == words
    out = torch.empty(0, device="cuda", dtype=dtype_of(name))
    call(torch.rand(3, device="cuda"), out)
    assert out.is_cuda


def dtype_of(name):
    """Return the type of the function's result."""
    return torch.int64 if name == "linalg.matrix_rank" else torch.float32


def test_inner_asks_for_the_kind_of_device_alone(card):
    words = "^Expected tensor to have cuda DeviceType, but got tensor with cpu DeviceType"
    with pytest.raises(RuntimeError, match=words):
        torch.inner(torch.rand(2, device="cuda"), torch.rand(2))


def test_a_product_with_a_vector_into_the_cpu_is_refused(card):
    with pytest.raises(
        RuntimeError, match=r"mat is on cuda:0, different from other tensors on cpu .*addmv_out"
    ):
        torch.mv(torch.rand(2, 2, device="cuda"), torch.rand(2, device="cuda"), out=torch.empty(2))


# --- older ways ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def always():
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


def test_the_older_ways_to_the_card_warn_in_cudas_words(card, always):
    with pytest.warns(
        UserWarning, match=r"^The torch\.cuda\.\*DtypeTensor constructors are no longer recommended"
    ):
        torch.cuda.FloatTensor([0])
    with pytest.warns(
        UserWarning, match=r"^torch.set_default_tensor_type\(\) is deprecated as of PyTorch 2\.1"
    ):
        torch.set_default_tensor_type(torch.cuda.FloatTensor)
    torch.set_default_device(None)


def test_they_warn_once(card):
    torch.cuda.FloatTensor([0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.cuda.FloatTensor([0])


# --- autocast ---------------------------------------------------------------------------------------------------------


def test_autocast_takes_a_card_by_its_number(card):
    layer, x = torch.nn.Linear(2, 2).cuda(), torch.rand(2, 2, device="cuda")
    with torch.autocast("cuda:0", dtype=torch.float16):
        assert layer(x).dtype == torch.float16 and torch.is_autocast_enabled("cuda:0")
        with torch.autocast("cuda", enabled=False):
            assert layer(x).dtype == torch.float32 and not torch.is_autocast_enabled("cuda:0")
    assert layer(x).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.float32 and not torch.is_autocast_enabled("cuda:0")


def outputs_under(device, dtype):
    """Return which outputs have gradients: one made under no_grad first, then with gradients, under inference mode, and again."""
    layer, x = torch.nn.Linear(2, 2).to(device), torch.rand(2, 2, device=device)
    found = []
    with torch.autocast(device, dtype=dtype):
        for context in (torch.no_grad, torch.enable_grad, torch.no_grad, torch.enable_grad):
            with context():
                found.append(layer(x).requires_grad)
        torch.clear_autocast_cache()
        for context in (torch.inference_mode, torch.enable_grad):
            with context():
                found.append(layer(x).requires_grad)
    return found


def test_a_cast_that_was_kept_under_no_grad_has_gradients_where_pytorchs_own_has(card):
    assert outputs_under("cuda", torch.float16) == outputs_under("cpu", torch.bfloat16)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_exponential_distribution_never_gives_zero_on_the_card(card, dtype):
    assert torch.empty(2_000_000, dtype=dtype, device="cuda").exponential_().min() > 0


# --- storages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["_share_fd_cpu_", "_share_filename_cpu_"])
def test_a_cards_storage_is_not_shared_as_the_hosts_memory_is(card, name):
    with pytest.raises(RuntimeError, match=rf"^{name.removesuffix('cpu_')}: only available on CPU$"):
        getattr(torch.ones(2, device="cuda").untyped_storage(), name)()
    assert getattr(torch.ones(2).untyped_storage(), name)()


@pytest.mark.parametrize(
    "make",
    [lambda: torch.ones(2, device="meta").untyped_storage(), lambda: torch.UntypedStorage(2, device="meta")],
)
def test_a_storage_without_values_is_not_read(card, make):
    with pytest.raises(NotImplementedError, match=r"^Not available for 'meta' device type$"):
        make()[0]


def test_a_capsule_of_dlpack_is_refused_and_the_tensor_itself_taken(card):
    x = torch.ones(2, device="cuda")
    with pytest.raises(SimulationError, match="makes no DLPack capsules"):
        torch.utils.dlpack.to_dlpack(x)
    assert torch.from_dlpack(x).is_cuda


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_another_devices_storage_is_not_shared_as_a_cards_is(card, device):
    with pytest.raises(RuntimeError, match=r"^_share_cuda_: only available on CUDA$"):
        torch.ones(2, device=device).untyped_storage()._share_cuda_()


def test_narrow_copy_speaks_as_narrow_does_on_a_card(card):
    x = torch.ones(4, device="cuda")
    with pytest.raises(RuntimeError, match=r"narrow\(\): length must be non-negative\."):
        torch.narrow_copy(x, 0, 0, -1)
    assert (
        torch.narrow_copy(x, 0, 1, 2).is_cuda
        and torch.narrow_copy(torch.ones(4), 0, 1, 2).device.type == "cpu"
    )


def test_cuda_selects_in_at_most_25_dimensions(card):
    x = torch.ones([1] * 26, device="cuda")
    for call in (lambda x: x.median(0), lambda x: x.nanmedian(dim=0)):
        with pytest.raises(RuntimeError, match=r"^median\(\) cannot operate on more than 25 dimensions$"):
            call(x)
        call(x[0]), call(x.cpu())
    with pytest.raises(RuntimeError, match=r"^cannot operate on more than 25 dimensions$"):
        x.kthvalue(1)
    assert x.median().is_cuda
