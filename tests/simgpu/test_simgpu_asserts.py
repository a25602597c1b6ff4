"""Device-side asserts: what a kernel checks on a card comes at the next line that waits, and the card is lost."""

import copy
import io
import os
import pickle
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

from devicelab import expect_error, explain, trace
from devicelab.simgpu import simulate_gpu
from devicelab.simgpu.rules import asserts

CARD = "Tesla T4"
ADVICE = (
    "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.\n"
    "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)
SEARCH = (
    "Search for `cudaErrorAssert' in https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more "
    "information.\n"
)
END = "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
IS_OLD = torch.__version__ < "2.9"  # tried: 2.8 to 2.15
LATE = f"CUDA error: device-side assert triggered\n{'' if IS_OLD else SEARCH}{ADVICE}{END}"
NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def card():
    with simulate_gpu(CARD) as simulation:
        yield simulation


def on(*values, **kwargs):
    return torch.tensor(*values, device="cuda", **kwargs)


def rand(*shape, **kwargs):
    return torch.rand(*shape, device="cuda", **kwargs)


def full(*shape, of=9):
    return torch.full(shape, of, device="cuda")


def bce(value, target):
    return functional.binary_cross_entropy(on([value]), on([target]))


def draw(weights, count=1, replacement=False):
    return torch.multinomial(on(weights), count, replacement)


def put(x, index, value):
    x[index] = value


# The call, the kernel with its assertion (IndexKernel.cu and so on), the argument and the values that are wrong.
GATHERED = "index out of bounds" if IS_OLD else "scatter gather kernel index out of bounds"
SCATTER = f'ScatterGatherKernel.cu operator() idx_dim >= 0 && idx_dim < index_size && "{GATHERED}"'
INDEX = 'IndexKernel.cu operator() -sizes[i] <= index && index < sizes[i] && "index out of bounds"'
ROWS = (
    "IndexKernelUtils.cu vectorized_gather_kernel ind >=0 && ind < ind_dim_size && "
    '"vectorized gather kernel index out of bounds"'
)
SELECT = "Indexing.cu indexSelectSmallIndex srcIndex < srcSelectDimSize"
ADD = "Indexing.cu indexFuncSmallIndex dstIndex < dstAddDimSize"
NLL = "Loss.cu nll_loss_forward_reduce_cuda_kernel_2d t >= 0 && t < n_classes"
NLL_2D = "NLLLoss2d.cu nll_loss2d_forward_kernel t >= 0 && t < n_classes"
TAKE = (
    'IndexKernel.cu operator() idx < numel && idx >= -numel && "cuda_take_put_kernel() index out of bounds"'
)
ASSERT = "TensorCompare.cu _assert_async_cuda_kernel "
NO_WEIGHTS = ASSERT + "probability tensor contains either `inf`, `nan` or element < 0"
NO_SUM = ASSERT + "invalid multinomial distribution (sum of probabilities <= 0)"
BINARY = "MultinomialKernel.cu binarySearchForMultinomial cumdist[size - 1] > static_cast<scalar_t>(0)"
BERNOULLI = "DistributionTemplates.h operator() 0 <= p1 && p1 <= 1"
BAG = "EmbeddingBag.cu EmbeddingBag_updateOutputKernel_sum_mean "
CALLS = {
    "cross_entropy": (lambda: functional.cross_entropy(rand(3, 4), on([0, 1, 9])), NLL, "target", [9]),
    "a negative label": (lambda: functional.cross_entropy(rand(3, 4), on([0, 1, -1])), NLL, "target", [-1]),
    "nll_loss": (lambda: nn.NLLLoss()(rand(3, 4), on([5, 1, 9])), NLL, "target", [5, 9]),
    "smoothed": (
        lambda: functional.cross_entropy(rand(3, 4), on([0, 1, 9]), label_smoothing=0.1),
        NLL, "target", [9],
    ),
    "nll_loss of one": (
        lambda: functional.nll_loss(rand(4), on(4)),
        "Loss.cu nll_loss_forward_reduce_cuda_kernel_1d t >= 0 && t < n_classes", "target", [4],
    ),
    "nll_loss, unreduced": (
        lambda: functional.nll_loss(rand(3, 4), on([0, 1, 9]), reduction="none"),
        "Loss.cu nll_loss_forward_no_reduce_cuda_kernel cur_target >= 0 && cur_target < n_classes", "target", [9],
    ),
    "segmentation": (lambda: functional.cross_entropy(rand(1, 4, 2, 2), full(1, 2, 2)), NLL_2D, "target", [9]),
    "multi_margin_loss": (
        lambda: functional.multi_margin_loss(rand(3, 4), on([0, 1, 9])),
        'MultiMarginLoss.cu MultiMarginLoss_forward_kernel target_k >= 0 && target_k < dim && "target index is out of bounds"',
        "target", [9],
    ),
    "embedding": (lambda: nn.Embedding(5, 4).cuda()(on([0, 7])), SELECT, "indices", [7]),
    "embedding, negative": (lambda: functional.embedding(on([0, -1]), rand(5, 4)), SELECT, "indices", [-1]),
    "embedding of many": (lambda: functional.embedding(full(20, of=5), rand(5, 4)), ROWS, "indices", [5]),
    "embedding of many, in odd rows": (
        lambda: functional.embedding(full(20, of=5), rand(5, 3)), SCATTER, "indices", [5],
    ),
    "embedding with max_norm": (
        lambda: functional.embedding(on([0, 7]), rand(5, 4), max_norm=1.0), SELECT, "indices", [7],
    ),
    "embedding_bag": (
        lambda: functional.embedding_bag(on([0, 7]), rand(5, 4), on([0])),
        BAG + "input[emb] < numRows", "indices", [7],
    ),
    "embedding_bag, largest": (
        lambda: functional.embedding_bag(on([0, 7]), rand(5, 4), on([0]), mode="max"),
        "EmbeddingBag.cu EmbeddingBag_updateOutputKernel_max input[emb] < numRows", "indices", [7],
    ),
    "embedding_bag, falling offsets": (
        lambda: functional.embedding_bag(on([0, 1, 2]), rand(5, 4), on([0, 3, 1])),
        BAG + "end >= begin", "offsets", [3],
    ),
    "index": (lambda: rand(3, 5)[on([0, 7])], INDEX, "indices", [7]),
    "index, from the end": (lambda: rand(3, 5)[:, on([-6])], INDEX, "indices", [-6]),
    "index, by rows": (lambda: rand(3, 4)[on([0, 7])], ROWS, "indices", [7]),
    "index, with the CPU's": (lambda: rand(3, 5)[torch.tensor([7])], INDEX, "indices", [7]),
    "index by a list": (lambda: rand(3, 5)[[0, 7]], INDEX, "indices", [7]),
    "index of the second": (lambda: rand(3, 5)[on([0, 0]), on([0, 8])], INDEX, "indices", [8]),
    "index_put": (lambda: put(rand(3, 4), on([0, 7]), rand(2, 4)), INDEX, "indices", [7]),
    "index_put, out of place": (lambda: rand(3).index_put((on([7]),), on(1.0)), INDEX, "indices", [7]),
    "index_put, accumulating": (
        lambda: rand(3).index_put_((on([7]),), on([1.0]), accumulate=True), ASSERT, "indices", [7],
    ),
    "gather": (lambda: rand(3, 4).gather(1, on([[0, 9]])), SCATTER, "index", [9]),
    "scatter_ of a number": (lambda: rand(3, 4).scatter_(1, on([[0, -1]]), 1.0), SCATTER, "index", [-1]),
    "scatter": (lambda: rand(3, 4).scatter(1, on([[0, 9]]), rand(1, 2)), SCATTER, "index", [9]),
    "scatter_add_": (lambda: rand(3, 4).scatter_add_(1, on([[0, 9]]), rand(1, 2)), SCATTER, "index", [9]),
    "scatter_reduce": (
        lambda: rand(3, 4).scatter_reduce(1, on([[0, 9]]), rand(1, 2), "amax"), SCATTER, "index", [9],
    ),
    "index_select": (lambda: rand(3, 4).index_select(1, on([0, 4])), SELECT, "index", [4]),
    "index_add_": (lambda: rand(3, 4).index_add_(0, on([0, 7]), rand(2, 4)), ADD, "index", [7]),
    "index_add of many": (
        lambda: rand(3).index_add(0, full(20), rand(20)),
        "Indexing.cu indexFuncLargeIndex dstIndex < dstAddDimSize", "index", [9],
    ),
    "index_copy_": (
        lambda: rand(3, 4).index_copy_(0, on([0, -1]), rand(2, 4)),
        'IndexKernel.cu operator() idx >= 0 && idx < self_dim_size && "index_copy_(): index out of bounds"', "index", [-1],
    ),
    "index_fill_": (
        lambda: rand(3).index_fill_(0, on([-4]), 1.0),
        'IndexKernel.cu operator() idx >= -self_dim_size && idx < self_dim_size && "index out of bounds"', "index", [-4],
    ),
    "index_reduce_": (lambda: rand(3).index_reduce_(0, on([0, 7]), rand(2), "prod"), ADD, "index", [7]),
    "take": (lambda: rand(3).take(on([3])), TAKE, "index", [3]),
    "put_": (lambda: rand(3).put_(on([-4]), on([1.0])), TAKE, "index", [-4]),
    "masked_scatter": (
        lambda: rand(3).masked_scatter(rand(3) > -1, rand(2)),
        "IndexKernel.cu masked_scatter_size_check totalElements <= srcSize", "the number of values in source", [2],
    ),
    "BCE": (lambda: bce(1.5, 1.0), "Loss.cu operator() input_val >= zero && input_val <= one", "self", [1.5]),
    "BCE of logits": (
        lambda: nn.BCELoss()(on([0.5, -3.0]), on([1.0, 0.0])),
        "Loss.cu operator() input_val >= zero && input_val <= one", "self", [-3.0],
    ),
    "BCE, target": (
        lambda: bce(0.5, 2.0), "Loss.cu operator() target_val >= zero && target_val <= one", "target", [2.0],
    ),
    "multinomial, negative": (lambda: draw([-1.0, 2.0]), NO_WEIGHTS, "self", [-1.0]),
    "multinomial, infinite": (lambda: draw([INF, 2.0]), NO_WEIGHTS, "self", [INF]),
    "multinomial, sum of zero": (lambda: draw([[0.0, 0.0], [1.0, 2.0]]), NO_SUM, "the sums of self", [0.0]),
    "multinomial, replaced": (
        lambda: draw([-1.0, 2.0], 3, True), "MultinomialKernel.cu renormRowsL1 !(val < zero)", "self", [-1.0],
    ),
    "multinomial, replaced, infinite": (lambda: draw([INF, 2.0], 3, True), BINARY, "self", [INF]),
    "multinomial, replaced, zero": (lambda: draw([0.0, 0.0], 3, True), BINARY, "the sums of self", [0.0]),
    "bernoulli": (lambda: torch.bernoulli(on([0.5, 2.0])), BERNOULLI, "self", [2.0]),
    "bernoulli_ of a tensor": (lambda: rand(2).bernoulli_(on([0.5, -1.0])), BERNOULLI, "p", [-1.0]),
    "poisson": (
        lambda: torch.poisson(on([-1.0])),
        'Distributions.cu operator() lambda >= 0 && "invalid Poisson rate, expected rate to be non-negative"', "self", [-1.0],
    ),
    "max_unpool2d": (
        lambda: functional.max_unpool2d(rand(1, 1, 2, 2), full(1, 1, 2, 2, of=99), [2, 2]),
        "MaxUnpooling.cu max_unpooling2d_forward_kernel maxind >= 0 && maxind < outputImageSize", "indices", [99],
    ),
    "max_unpool3d": (
        lambda: functional.max_unpool3d(rand(1, 1, 2, 2, 2), full(1, 1, 2, 2, 2, of=-1), [2, 2, 2]),
        "MaxUnpooling.cu max_unpooling3d_forward_kernel index >= 0 && index < outputImageSize", "indices", [-1],
    ),
    "repeat_interleave": (
        lambda: torch.repeat_interleave(on([1, 2]), output_size=9),
        "Repeat.cu compute_cuda_kernel result_size == cumsum_ptr[size - 1]", "the sum of repeats", [3],
    ),
    "repeat_interleave, negative": (
        lambda: rand(2).repeat_interleave(on([1, -1]), output_size=0),
        "Repeat.cu compute_cuda_kernel repeat >= 0", "repeats", [-1],
    ),
    "labels as bytes": (
        lambda: functional.nll_loss(rand(3, 4), on([0, 1, 9], dtype=torch.uint8)), NLL, "target", [9],
    ),
    "one_hot": (lambda: functional.one_hot(on([0, 7]), 3), SCATTER, "index", [7]),
    "take, into a tensor": (lambda: torch.take(rand(3), on([3]), out=rand(1)), TAKE, "index", [3]),
    "segment_reduce": (
        lambda: torch.segment_reduce(rand(3), "sum", lengths=on([4, -1]), unsafe=True),
        "SegmentReduce.cu segment_reduce_forward_kernel lengths_data[lengths_idx] >= 0", "lengths", [-1],
    ),
    "_assert_async without words": (lambda: torch._assert_async(on(0)), ASSERT, "", []),
    "_assert_async": (lambda: torch._assert_async(on(0), "all must be well"), ASSERT + "all must be well", "", []),
}  # fmt: skip


@pytest.mark.parametrize("call, kernel, argument, values", CALLS.values(), ids=CALLS)
def test_what_a_kernel_asserts_comes_at_the_next_line_that_waits(call, kernel, argument, values, capsys):
    call()  # launched: nothing is known yet
    more = rand(2, requires_grad=True) * 2
    more.sum().backward()
    assert capsys.readouterr().err == ""
    with pytest.raises(torch.AcceleratorError) as met:
        torch.cuda.synchronize()
    assert str(met.value) == LATE
    file, function, assertion = kernel.split(" ", 2)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"/pytorch/aten/src/ATen/native/cuda/{file}:")
    assert line.endswith(f": {function}: block: [0,0,0], thread: [0,0,0] Assertion `{assertion}` failed.")
    fault = met.value.asserted
    assert (fault.argument, list(fault.values)) == (argument, values)
    assert fault.line.text != "" and fault.line.file == __file__


def kind_of(kernel):
    """What explain calls a kernel's line that somebody pasted."""
    if "target_k" in kernel or "n_classes" in kernel:
        return "label out of range"
    outside = ("val", "probability", "p1 <= 1", "Poisson", "cumdist", "multinomial")
    return "probability out of range" if any(word in kernel for word in outside) else "index out of range"


# What these found wrong is nothing that a text could tell more about.
OTHERS = ("masked_scatter", "end >= begin", "_assert_async", "repeat", "cumsum_ptr", "lengths_data")
PASTED = {name: case[1] for name, case in CALLS.items() if not any(word in case[1] for word in OTHERS)}
PASTED |= {name: CALLS[name][1] for name in ("multinomial, negative", "multinomial, sum of zero")}


def test_explain_knows_a_pasted_line_of_each_kernel():
    for kernel in PASTED.values():
        file, function, assertion = kernel.split(" ", 2)
        line = f"../{file}:1: {function}: block: [0,0,0], thread: [0,0,0] Assertion `{assertion}` failed."
        with_error = f"{line}\ntorch.AcceleratorError: {LATE}"
        assert explain(line).kind == explain(with_error).kind == kind_of(kernel), kernel


def test_explain_knows_the_error_alone():
    found = explain(f"torch.AcceleratorError: {LATE}")
    assert found.known and "CUDA_LAUNCH_BLOCKING=1" in found.fix


def test_every_operator_of_the_table_is_one_of_this_pytorch():
    names = {name for name in asserts.table() if not name.endswith("_")}
    assert {name for name in names if not hasattr(torch.ops.aten, name)} == set()


WAITS = {
    "item": lambda x: x.sum().item(),
    "cpu": lambda x: x.cpu(),
    "a copy into the host's memory": lambda x: torch.empty(5, 3).copy_(x),
    "a copy from the host": lambda x: torch.ones(2).to("cuda"),
    "synchronize": lambda x: torch.cuda.synchronize(),
    "a stream": lambda x: torch.cuda.current_stream().synchronize(),
    "an event": lambda x: torch.cuda.current_stream().record_event().synchronize(),
    "the accelerator": lambda x: torch.accelerator.synchronize(),
    "nonzero": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "unique": lambda x: x.unique(),
    "bool": lambda x: bool((x > 0).all()),
    "float": lambda x: float(x[0, 0]),
    "print": lambda x: str(x),
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(force=True),
    "equal": lambda x: torch.equal(x, x.clone()),
    "save": lambda x: torch.save(x, io.BytesIO()),
    "pickle": lambda x: pickle.dumps(x),
    "empty_cache": lambda x: torch.cuda.empty_cache(),
    "Module.cpu": lambda x: nn.Linear(2, 2, device="cuda").cpu(),
}


def fail(x=None):
    """Launch a kernel whose assertion fails."""
    return functional.cross_entropy(rand(3, 4, requires_grad=True), full(3))


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_whatever_waits_meets_the_error(wait):
    x = rand(5, 3)
    fail()
    with pytest.raises(torch.AcceleratorError, match="device-side assert triggered"):
        wait(x)


NEEDS = WAITS | {
    "an operator": lambda x: x + 1,
    "in place": lambda x: x.add_(1),
    "a factory": lambda x: torch.zeros(2, device="cuda"),
    "numbers": lambda x: torch.randn(2, device="cuda"),
    "a like": lambda x: torch.ones_like(x),
    "to": lambda x: torch.ones(2).cuda(),
    "deepcopy": lambda x: copy.deepcopy(x),
    "an event": lambda x: torch.cuda.Event().record(),
    "a stream": lambda x: torch.cuda.Stream(),
    "query": lambda x: torch.cuda.current_stream().query(),
    "wait_stream": lambda x: torch.cuda.Stream().wait_stream(torch.cuda.current_stream()),
    "pin_memory": lambda x: torch.ones(2).pin_memory(),
    "mem_get_info": lambda x: torch.cuda.mem_get_info(),
    "non_blocking": lambda x: x.to("cpu", non_blocking=True),
}


def test_from_then_on_all_that_needs_the_card_fails_the_same_way():
    x = rand(5, 3)
    fail()
    with pytest.raises(torch.AcceleratorError):
        torch.cuda.synchronize()
    for name, need in NEEDS.items():
        with pytest.raises(torch.AcceleratorError) as met:
            need(x)
        assert (str(met.value), met.value.error_code) == (LATE, 710), name


def test_the_error_is_the_same_on_every_thread_and_the_kernels_line_comes_once(capsys):
    x, met = rand(5), []
    fail()

    def work():
        try:
            x.sum().item()
        except torch.AcceleratorError as error:
            met.append(str(error))

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert met == [LATE, LATE]
    assert capsys.readouterr().err.count("Assertion") == 1


def test_what_needs_no_card_goes_on():
    x = rand(5, 3)
    fail()
    with pytest.raises(torch.AcceleratorError):
        torch.cuda.synchronize()
    assert (x.view(15).shape, x.t().device, x.detach().is_cuda) == ((15,), torch.device("cuda", 0), True)
    assert torch.cuda.is_available() and torch.cuda.memory_allocated() > 0
    assert torch.cuda.get_device_name() == CARD
    assert torch.ones(3).sum() == 3


def test_a_step_of_training_with_a_wrong_label_goes_on_to_the_line_that_waits():
    model = nn.Sequential(nn.Embedding(9, 8), nn.Flatten(), nn.Linear(16, 4)).cuda()
    optimizer = torch.optim.Adam(model.parameters())
    loss = functional.cross_entropy(model(on([[0, 1], [2, 3]])), on([0, 4]))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    with pytest.raises(torch.AcceleratorError) as met:
        loss.item()
    assert met.value.asserted.line.text.startswith("loss = functional.cross_entropy")


@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 3, 3)])
def test_a_backward_behind_a_failed_kernel_writes_nowhere(shape):
    """On the CPU such a backward would write past the end of the gradient."""
    scores = rand(shape, requires_grad=True)
    labels = torch.full((shape[0], *shape[2:]), 10**7, device="cuda")
    functional.cross_entropy(scores, labels).backward()
    assert scores.grad.shape == shape
    table = rand(5, 4, requires_grad=True)
    functional.embedding_bag(full(2, 1, of=10**7), table).sum().backward()
    functional.embedding(full(1, of=10**7), table).sum().backward()
    functional.multi_margin_loss(table, full(5)).backward()
    assert table.grad.device.type == "cuda"


def test_no_number_of_a_failed_kernel_is_ever_read():
    out = fail()
    host = out.detach().to("cpu", non_blocking=True)  # does not wait: on a card, whatever lies in that memory
    assert host.isnan()
    mine = torch.full((3, 4), 7.0).pin_memory()
    mine.copy_(rand(3, 4), non_blocking=True)
    assert (mine == 7).all(), "a copy behind the failed kernel never comes"


def test_the_memory_of_what_comes_behind_is_counted():
    before = torch.cuda.memory_allocated()
    fail()
    held = [rand(1000) * 2, rand(1000)[full(1, of=5000)]]
    assert torch.cuda.memory_allocated() - before >= 4096 + 512 and len(held) == 2


def test_an_event_from_before_the_kernel_can_still_be_waited_for():
    event = torch.cuda.current_stream().record_event()
    torch.cuda._sleep(10**8)
    fail()
    event.synchronize()
    with pytest.raises(torch.AcceleratorError):
        torch.cuda.current_stream().record_event().synchronize()


def test_the_other_card_goes_on(card):
    card.stop()
    with simulate_gpu(CARD, 2):
        fail()
        with pytest.raises(torch.AcceleratorError):
            torch.cuda.synchronize(0)
        assert torch.ones(3, device="cuda:1").sum().item() == 3


def test_what_the_host_must_know_at_once_raises_at_its_own_line():
    eye = torch.eye(3, device="cuda").to_sparse()
    with pytest.raises(torch.AcceleratorError) as met:
        eye.index_select(0, full(1))
    assert met.value.asserted.values == (9,)


def test_launch_blocking_raises_at_its_own_line(monkeypatch, card):
    card.stop()
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    with simulate_gpu(CARD):
        scores, labels = rand(3, 4), on([0, 1, 9])
        big = rand(1000, 1000)
        big = big @ big
        assert torch.cuda.current_stream().query(), "every launch waits"
        with pytest.raises(torch.AcceleratorError) as met:
            functional.cross_entropy(scores, labels)
        assert str(met.value) == LATE.replace(ADVICE, "")
        with pytest.raises(torch.AcceleratorError):
            big.sum()


def test_the_variable_counts_when_cuda_starts_not_later(monkeypatch):
    rand(1)
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    fail()


AT_ONCE = {
    "a mask of another shape": (lambda: rand(3)[on([True, False])], IndexError, "The shape of the mask"),
    "too many": (lambda: rand(3)[on([0]), on([0])], IndexError, "too many indices"),
    "a number": (lambda: rand(3)[5], IndexError, "out of bounds"),
    "no rows": (lambda: rand(0, 3)[on([0])], IndexError, "out of bounds for dimension with size 0"),
    "index_select's dtype": (lambda: rand(3).index_select(0, on([0.0])), RuntimeError, "dtype"),
    "gather's shape": (lambda: rand(3).gather(0, on([[0]])), RuntimeError, "dimensions"),
    "labels of another shape": (
        lambda: functional.cross_entropy(rand(3, 4), on([0])), ValueError, "batch_size",
    ),
    "more than there are": (lambda: draw([1.0, 2.0], 5), RuntimeError, "cannot sample n_sample"),
    "an assert of nothing": (lambda: torch._assert_async(on([])), RuntimeError, "with no values is ambiguous"),
    "an assert of two": (lambda: torch._assert_async(on([0, 0])), RuntimeError, "more than one value is ambiguous"),
    "p of bernoulli_": (lambda: rand(3).bernoulli_(2.0), RuntimeError, "expects p to be in"),
    "dropout": (lambda: functional.dropout(rand(3), 2.0), ValueError, "probability"),
    "bincount": (lambda: torch.bincount(on([-1])), RuntimeError, "non-negative"),
    "repeats": (lambda: torch.repeat_interleave(on([1, -1])), RuntimeError, "repeats can not be negative"),
    "std": (lambda: torch.normal(on([0.0]), on([-1.0])), RuntimeError, "std"),
}  # fmt: skip


def test_what_the_host_checks_on_cuda_too_raises_at_once():
    for call, error, words in AT_ONCE.values():
        with pytest.raises(error, match=words):
            call()
    torch.cuda.synchronize()


def test_the_cpus_own_tensors_raise_at_once():
    with pytest.raises(IndexError, match="Target 9 is out of bounds"):
        functional.cross_entropy(torch.rand(3, 4), torch.tensor([0, 1, 9]))
    with pytest.raises(IndexError):
        torch.rand(3)[torch.tensor([7])]
    torch.cuda.synchronize()


def test_what_cuda_reads_unchecked_is_refused():
    with pytest.raises(RuntimeError, match="not in the valid range"):
        functional.embedding_bag(on([0, -1]), rand(5, 4), on([0]))
    with pytest.raises(RuntimeError, match="out of range"):
        functional.multilabel_margin_loss(rand(1, 4), on([[9, 0, 0, -1]]))
    torch.cuda.synchronize()


def test_the_ignored_label_is_no_fault():
    functional.cross_entropy(rand(3, 4), on([0, 1, -100])).item()
    functional.cross_entropy(rand(3, 4), on([0, 1, 255]), ignore_index=255).item()
    rand(3)[on([-3])].cpu()


def test_a_new_simulation_is_a_new_card_and_says_what_a_real_one_needs(card, capsys):
    fail()
    card.stop()
    printed = capsys.readouterr().err
    assert "nll_loss_forward_reduce_cuda_kernel_2d" in printed, "said at the end at the latest, as CUDA does"
    with simulate_gpu(CARD):
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "new process" in said
        assert rand(3).sum().item() > 0
    with simulate_gpu(CARD):
        assert capsys.readouterr().err == ""


def test_explain_names_the_operator_the_values_and_the_line_that_launched():
    labels = on([0, 1, 9, -3])
    loss = functional.cross_entropy(rand(4, 4), labels)
    with expect_error(torch.AcceleratorError) as seen:
        loss.item()
    found = explain(seen)
    assert found.known and found.seen and found.kind == "device-side assert"
    assert found.what == "nll_loss met target = 9, -3; allowed is 0 to 3."
    assert found.code == "loss = functional.cross_entropy(rand(4, 4), labels)"
    assert found.file == "test_simgpu_asserts.py" and found.line is not None
    assert "where the host found out" in found.blames and str(found.line) not in found.blames
    assert "until the process restarts" in found.why


def test_a_trace_names_the_line_that_launched_the_failed_kernel():
    with trace() as seen:
        out = rand(3, 5)[full(1)]
        rand(3)
    [(message, line)] = seen.faults
    assert message == "device-side assert: index met indices = 9; allowed is -3 to 2"
    assert line.text == "out = rand(3, 5)[full(1)]" and out.is_cuda
    assert f"`: {message}" in seen.text()


def test_explain_finds_the_same_behind_other_errors_and_at_later_lines():
    fail()
    with pytest.raises(torch.AcceleratorError):
        torch.cuda.synchronize()
    try:
        try:
            rand(3)
        except torch.AcceleratorError as error:
            raise ValueError("the step failed") from error
    except ValueError as error:
        assert explain(error).what.startswith("nll_loss met target = 9")


def test_explain_says_where_in_a_library_it_was_launched():
    nn.Embedding(5, 4).cuda()(full(3))
    with pytest.raises(torch.AcceleratorError) as met:
        torch.cuda.synchronize()
    found = explain(met.value)
    assert (found.what, found.code) == (
        "embedding met indices = 9; allowed is 0 to 4.",
        "nn.Embedding(5, 4).cuda()(full(3))",
    )


DIVISIONS = {
    "//": (lambda a, b: a // b, [-1, -4]),
    "%": (lambda a, b: a % b, [-1, 1]),
    "fmod": (torch.fmod, [-1, -1]),
    "div, trunc": (lambda a, b: torch.div(a, b, rounding_mode="trunc"), [-1, -3]),
    "in place": (lambda a, b: a.floor_divide_(b), [-1, -4]),
    "bytes": (lambda a, b: a.abs().byte() // b.byte(), [255, 3]),
    "by a number": (lambda a, b: a // 0, [-1, -1]),
    "of a number": (lambda a, b: 5 // b, [-1, 2]),
}


def test_integers_divided_by_zero_give_any_value_on_a_card_and_no_error():
    given = {name: divide(on([7, -7]), on([0, 2])).tolist() for name, (divide, _) in DIVISIONS.items()}
    assert given == {name: values for name, (_, values) in DIVISIONS.items()}


def test_a_division_in_place_is_made_once():
    assert on([8, 7]).floor_divide_(on([2, 0])).tolist() == [4, -1]


def test_integers_divided_by_zero_on_the_cpu_raise():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        torch.tensor([1]) // torch.tensor([0])
    assert os.environ.get("CUDA_LAUNCH_BLOCKING") is None
