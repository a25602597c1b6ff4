"""What the CPU can multiply and CUDA cannot: PyTorch's operator database says which types an operator has on each."""

import pytest
import torch

from devicelab.simgpu import simulate_gpu

WORDS = {  # as reported: pytorch/pytorch issues 138829 (dot) and 44428 (matmul), with CUDA's name of the kernel
    "dot": (lambda a: torch.dot(a[0], a[0]), "\"dot\" not implemented for 'Long'"),
    "matmul": (lambda a: a @ a, "\"addmm_cuda\" not implemented for 'Long'"),
    "linear": (lambda a: torch.nn.functional.linear(a, a), "\"addmm_cuda\" not implemented for 'Long'"),
    "batched": (lambda a: torch.bmm(a[None], a[None]), "\"baddbmm_cuda\" not implemented for 'Long'"),
    "vector": (lambda a: torch.mv(a, a[0]), "\"addmv_impl_cuda\" not implemented for 'Long'"),
}


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu("Tesla T4") as simulation:
        yield simulation


@pytest.mark.parametrize("product, message", WORDS.values(), ids=WORDS)
def test_a_product_of_integers_is_refused_on_the_card_in_cudas_words(product, message):
    a = torch.arange(4).reshape(2, 2)
    product(a)
    with pytest.raises(NotImplementedError) as error:
        product(a.cuda())
    assert str(error.value) == message
    product(a.cuda().float())


@pytest.mark.parametrize(
    "name", ["mm", "bmm", "mv", "dot", "matmul", "addmm", "baddbmm", "addmv", "inner", "einsum"]
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_types_that_the_database_does_not_list_for_cuda_are_refused(name, dtype):
    from opdb import op_db

    op = next(op for op in op_db if op.name == name)
    assert dtype in op.supported_dtypes("cpu") - op.supported_dtypes("cuda")
    refused = 0
    for sample in op.sample_inputs("cpu", dtype, requires_grad=False):
        arguments = sample.transform(lambda x: x.cuda() if isinstance(x, torch.Tensor) else x)
        try:
            out = op(arguments.input, *arguments.args, **arguments.kwargs)
        except NotImplementedError:
            refused += 1
        else:
            assert out.numel() == 0 or name in ("einsum", "inner")  # these have forms without a product
    assert refused


def test_integers_are_added_and_multiplied_elementwise():
    a = torch.arange(3, device="cuda")
    assert (a * a + a).tolist() == [0, 2, 6] and a.sum().item() == 3
