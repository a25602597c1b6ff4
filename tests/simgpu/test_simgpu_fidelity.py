"""What PyTorch's own CUDA tests ask, and plain use hardly ever does: nothing passes silently that CUDA refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from devicelab import simulate_gpu


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("T4") as simulation:
        yield simulation


def adjacency():
    return torch.eye(3).to_sparse().to("cuda")


VIEWS = {
    "t": lambda s: s.t(),
    "mT": lambda s: s.mT,
    "transpose": lambda s: s.transpose(0, 1),
    "index": lambda s: s[0],
    "select": lambda s: s.select(0, 1),
    "unbind": lambda s: s.unbind()[2],
    "unsqueeze": lambda s: s.unsqueeze(0),
    "permute": lambda s: s.permute(1, 0),
    "detach": lambda s: s.detach(),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_of_a_sparse_tensor_lies_where_the_tensor_lies(view):
    assert view(adjacency()).device == torch.device("cuda:0")


def test_a_view_of_a_sparse_tensor_is_refused_beside_the_cpu():
    with pytest.raises(RuntimeError, match="mat2 is on cpu, different from other tensors on cuda:0"):
        adjacency().t() @ torch.ones(3, 2)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_a_sparse_product_is_made_where_its_factors_lie(layout):
    here, there = (torch.eye(3, device=device).to_sparse(layout=layout) for device in ("cpu", "cuda"))
    product = torch.sparse.mm(there, there)
    assert product.device.type == "cuda"
    assert product.to_dense().device.type == "cuda" and torch.sparse.mm(here, here).device.type == "cpu"
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.sparse.mm(there, here)


def test_a_graph_network_trains():
    layer, graph = nn.Linear(2, 2).cuda(), adjacency()
    torch.sparse.mm(graph, layer(torch.ones(3, 2, device="cuda"))).sum().backward()
    assert layer.weight.grad.device == torch.device("cuda:0")
    weights = adjacency().requires_grad_()
    torch.mm(weights, torch.ones(3, 2, device="cuda")).sum().backward()
    assert weights.grad.device == torch.device("cuda:0")


NO_DATA = "Cannot copy out of meta tensor; no data!"
FROM_META = {
    "to": lambda: torch.ones(2, device="meta").to("cuda"),
    "cuda": lambda: torch.ones(2, device="meta").cuda(),
    "copy_": lambda: torch.ones(2, device="cuda").copy_(torch.ones(2, device="meta")),
    "module": lambda: nn.Linear(2, 2, device="meta").to("cuda"),
    "cpu": lambda: torch.ones(2, device="meta").cpu(),
    "to the cpu": lambda: torch.ones(2, device="meta").to("cpu"),
    "tensor": lambda: torch.tensor(torch.ones(2, device="meta"), device="cpu"),
    "tolist": lambda: torch.ones(2, device="meta").tolist(),
}


@pytest.mark.parametrize("copy", FROM_META.values(), ids=FROM_META)
def test_what_has_no_values_cannot_be_copied(copy):
    with pytest.raises(NotImplementedError, match=NO_DATA):
        copy()


def test_a_meta_module_gets_memory_by_to_empty():
    assert nn.Linear(2, 2, device="meta").to_empty(device="cuda").weight.device == torch.device("cuda:0")


@pytest.mark.parametrize(("mine", "other"), [("cuda:0", "cpu"), ("cpu", "cuda:0")])
def test_a_tensor_takes_no_storage_of_another_device(mine, other):
    target, source = torch.empty(0, device=mine), torch.ones(3, device=other)
    words = f'storage of a tensor on device "{mine}" to a storage on different device "{other}".  This is no'
    with pytest.raises(RuntimeError, match=words):
        target.set_(source.untyped_storage())
    assert source.device == torch.device(other)
    assert torch.empty(0, device=other).set_(source.untyped_storage()).device == torch.device(other)


def test_asarray_keeps_what_was_asked_of_it():
    x = torch.ones(2)
    assert torch.asarray(x) is x
    assert torch.asarray(x, requires_grad=True).requires_grad
    assert torch.asarray(x, device="cuda", requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="can't alias tensor from device 'cpu' to 'cuda:0'"):
        torch.asarray(x, device="cuda", copy=False)
    with pytest.raises(ValueError, match="can't alias tensor from device 'cpu' to 'cuda:0'"):
        torch.asarray(torch.ones(2).numpy(), device="cuda", copy=False)
    with pytest.raises(ValueError, match="can't alias arbitrary sequence into a tensor"):
        torch.asarray([1.0], device="cuda", copy=False)
    with pytest.raises(TypeError, match="unexpected keyword argument 'copy'"):
        torch.tensor([1.0], device="cuda", copy=False)


def test_a_copy_to_the_host_that_nobody_waits_for_is_pinned():
    x = torch.ones(2, device="cuda")
    assert x.to("cpu", non_blocking=True).is_pinned()
    assert not x.to("cpu").is_pinned()


@pytest.mark.filterwarnings("ignore:torch.range is deprecated")
def test_range_is_made_where_it_is_asked_for():
    assert torch.range(0, 3, device="cuda").device == torch.device("cuda:0")
    out = torch.empty(0, device="cuda")
    assert torch.range(0, 3, out=out) is out and out.device == torch.device("cuda:0")
    with pytest.raises(RuntimeError, match="does not match device type of out parameter"):
        torch.range(0, 3, out=torch.empty(0), device="cuda")


@pytest.mark.parametrize("spaced", [torch.linspace, torch.logspace])
def test_limits_on_a_card_say_nothing_of_where_the_steps_between_them_go(spaced):
    """torchgen/api/python.py: a factory's device is the default one; Fill in RangeFactories.cpp reads the limits on the host."""
    far, near = torch.tensor(3.0, device="cuda"), torch.tensor(1.0)
    for limits in ((far, 5), (1, far), (far, far), (near, far), (near, near)):
        assert spaced(*limits, 3).device.type == "cpu"
        assert spaced(*limits, 3, device="cuda").device == torch.device("cuda:0")
        with torch.device("cuda"):
            assert spaced(*limits, 3).device == torch.device("cuda:0")
    out = torch.empty(0, device="cuda")
    assert spaced(near, near, 3, out=out).device == torch.device("cuda:0")
    assert torch.equal(spaced(near, far, 4), spaced(1.0, 3.0, 4))
    with pytest.raises(RuntimeError, match="only supports 0-dimensional start and end tensors"):
        spaced(far.expand(2), 5, 3)


def test_the_function_says_the_cards_number_as_the_method_does():
    for x in (torch.ones(1, device="cuda"), torch.eye(2).to_sparse().cuda()):
        assert torch.get_device(x) == x.get_device() == 0
    assert torch.get_device(torch.ones(1)) == -1


def test_a_sparse_tensor_is_no_array_wherever_it_lies():
    with pytest.raises(TypeError, match="can't convert Sparse layout tensor to numpy"):
        torch.eye(2).to_sparse().cuda().numpy()


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_complex_convolution_looks_at_types_and_devices_before_it_takes_numbers_apart(name):
    conv = getattr(F, name)
    real, numbers = torch.ones(1, 1, 3, 3, device="cuda"), torch.ones(1, 1, 3, 3, device="cuda").cfloat()
    complex_, float_ = r"\(CUDAComplexFloatType\)", r"\(torch.cuda.FloatTensor\)"
    same = "should be the same"
    with pytest.raises(RuntimeError, match=f"^Input type {complex_} and weight type {float_} {same}$"):
        conv(numbers, real)
    with pytest.raises(RuntimeError, match=f"^Input type {float_} and weight type {complex_} {same}$"):
        conv(real, numbers)
    with pytest.raises(
        RuntimeError, match=rf"^Input type {complex_} and weight type \(CPUComplexFloatType\) {same}$"
    ):
        conv(numbers, numbers.cpu())
    with pytest.raises(RuntimeError, match=rf"^Input type {complex_} and bias type {float_} {same}$"):
        conv(numbers, numbers, real[0, 0, 0, :1])
    assert conv(numbers, numbers).device == torch.device("cuda:0")


def test_a_stream_may_be_entered_again_inside_itself():
    stream = torch.cuda.Stream()
    with stream:
        with stream:
            pass
        assert torch.cuda.current_stream() == stream
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


@pytest.mark.parametrize("name", ["self", "tensor1"])
def test_addcmul_takes_a_number_of_the_cpu_as_its_last_factor_only(name):
    x, number = torch.ones(3, device="cuda"), torch.tensor(2.0)
    assert torch.addcmul(x, x, number).device == torch.device("cuda:0")
    factors = {"self": x, "tensor1": x, "tensor2": x} | {name: number}
    with pytest.raises(RuntimeError, match=f"CPU Scalar support for {name} argument is not supported"):
        torch.addcmul(factors["self"], factors["tensor1"], factors["tensor2"])


@pytest.mark.parametrize("place", ["cpu", "cuda", "cuda:0"])
def test_a_generator_says_of_itself_what_it_was_told(place):
    """CUDAHooks.cpp, getNewGenerator: a card without a number stays without one."""
    assert str(torch.Generator(place).device) == place


def test_a_permutation_on_the_cpu_has_words_of_its_own_for_a_cards_generator():
    with pytest.raises(RuntimeError, match=r"^Expected a 'cpu' generator device but found 'cuda:0'$"):
        torch.randperm(3, generator=torch.Generator("cuda:0"))
    with pytest.raises(RuntimeError, match=r"^Expected a 'cpu' generator device but found 'cuda'$"):
        torch.utils.data.random_split(range(4), [2, 2], generator=torch.Generator("cuda"))
    with pytest.raises(RuntimeError, match=r"^Expected a 'cuda' device type for generator but found 'cpu'$"):
        torch.randperm(3, device="cuda", generator=torch.Generator())


def test_a_card_that_is_not_there_is_asked_in_vain():
    with pytest.raises(torch.AcceleratorError, match="invalid device ordinal"):
        torch.cuda.mem_get_info(5)
    for ask in (torch.cuda.current_stream, torch.cuda.default_stream):
        with pytest.raises(RuntimeError, match=r"^Device index value 5 is out of index range \[0, \d\)$"):
            ask(5)


def test_priorities_outside_the_range_become_the_nearest_in_it():
    least, greatest = torch.cuda.Stream.priority_range()
    assert (least, greatest) == (0, -3)
    assert [torch.cuda.Stream(priority=p).priority for p in (7, 0, -1, -9)] == [0, 0, -1, -3]


@pytest.mark.parametrize(
    "name", ["_foreach_addcdiv", "_foreach_addcmul", "_foreach_addcdiv_", "_foreach_addcmul_"]
)
def test_the_numbers_of_a_list_operator_belong_on_the_cpu(name):
    """ForeachUtils.h, convert_tensor_to_scalar_list."""
    lists = [[torch.ones(2, device="cuda"), torch.ones(3, device="cuda")] for _ in range(3)]
    with pytest.raises(RuntimeError, match="Expected scalars to be on CPU, got cuda:0 instead"):
        getattr(torch, name)(*lists, torch.tensor([1.0, 2.0], device="cuda"))
    out = getattr(torch, name)(*lists, torch.tensor([1.0, 2.0]))
    assert [one.tolist() for one in (out or lists[0])] == [[2.0] * 2, [3.0] * 3]
