"""How often the host waits: for each row of rules/waits.yaml, for functions, and for copies, as CUDA does it."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import devicelab as lab
from devicelab import devices, simulate_gpu
from devicelab.simgpu.rules import waits
from devicelab.versions import release

HEADERS = Path(torch.__file__).parent / "include" / "ATen"
NUMBERS_FILL = "try_dispatch_index_fill_" in (HEADERS / "TensorIndexing.h").read_text(encoding="utf-8")
MASKS_ARE_PINNED = release(torch.__version__) >= (2, 9)


class Waits(devices.Observer):
    """Counts the moments at which the host waits, and keeps the copies."""

    def __init__(self):
        self.count, self.copies = 0, []

    def copied(self, source, target, nbytes, pinned, waits, seconds, buffer=None, end=()):
        self.copies.append((source.type, target.type, nbytes, pinned, waits))

    def waited(self, seconds, why):
        self.count += 1

    def began(self, device):
        pass

    ended = began

    def met(self, last, seconds):
        pass

    def touched(self, tensor, how):
        pass

    def failed(self, message):
        pass


def watched(call) -> Waits:
    watcher = Waits()
    devices.observers.append(watcher)
    try:
        call()
    finally:
        devices.observers.remove(watcher)
    return watcher


@pytest.fixture(scope="module", autouse=True)
def simulation():
    with simulate_gpu("Tesla T4") as running:
        yield running


class Tensors:
    """What the cases need, on the card; made anew, so that an operator in place spoils nothing."""

    def __init__(self):
        torch.manual_seed(0)
        self.x = torch.rand(4, device="cuda")
        self.y = torch.rand((), device="cuda")
        self.matrix = torch.rand(5, 5, device="cuda")
        self.positive = self.matrix @ self.matrix.T + torch.eye(5, device="cuda")
        self.labels = torch.tensor([0, 1, 2, 0, 1], device="cuda")
        self.mask = torch.tensor([True, False, True, False], device="cuda")
        self.no_gaps = torch.tensor([[True, True, False]], device="cuda")
        self.mask_of_cpu = torch.tensor([True, False, True, False])
        self.at = torch.tensor([0, 2, 3], device="cuda")
        self.once = torch.full((1,), 2, device="cuda")
        self.coo = torch.sparse_coo_tensor(
            self.at[None], torch.ones(3, device="cuda"), (4,), check_invariants=False
        )
        self.scores = torch.rand(5, 2, 4, device="cuda").log_softmax(-1).requires_grad_()
        self.lengths = torch.tensor([4, 5]), torch.tensor([2, 2])
        self.targets = torch.ones(2, 2, dtype=torch.long, device="cuda")
        self.small, self.many = torch.ones(2, device="cuda"), torch.rand(3, 3000, device="cuda")
        self.weight = torch.rand(5, device="cuda")


def put(tensor, index, value):
    tensor[index] = value


def gradient(function, tensor):
    leaf = tensor.clone().requires_grad_()
    out = function(leaf)
    return lambda: out.backward()


def ctc(t, lengths=None):
    return F.ctc_loss(t.scores, t.targets, *(lengths or t.lengths))


linalg = torch.linalg
# By the name in the table: what waits so often, what of the same operator waits not at all.
OPERATORS = {
    "normal": (lambda t: torch.normal(t.x, t.x), 1, lambda t: torch.normal(t.x, 1.0)),
    "equal": (lambda t: torch.equal(t.x, t.x + 0), 1, lambda t: torch.equal(t.x, t.matrix)),
    "_linalg_check_errors": (lambda t: linalg.cholesky(t.positive), 1, lambda t: linalg.cholesky_ex(t.positive)),
    "cholesky": (lambda t: torch.cholesky(t.positive), 1, None),
    "cholesky_inverse": (lambda t: torch.cholesky_inverse(t.positive), 1, None),
    "linalg_cholesky_ex": (
        lambda t: linalg.cholesky_ex(t.positive, check_errors=True), 1, lambda t: linalg.cholesky_ex(t.positive)
    ),
    "linalg_inv_ex": (lambda t: linalg.inv_ex(t.positive, check_errors=True), 1, lambda t: linalg.inv_ex(t.positive)),
    "_linalg_solve_ex": (
        lambda t: linalg.solve_ex(t.positive, t.matrix, check_errors=True),
        1,
        lambda t: linalg.solve_ex(t.positive, t.matrix),
    ),
    "linalg_lu_factor_ex": (
        lambda t: linalg.lu_factor_ex(t.positive, check_errors=True), 1, lambda t: linalg.lu_factor_ex(t.positive)
    ),
    "linalg_ldl_factor_ex": (
        lambda t: linalg.ldl_factor_ex(t.positive, check_errors=True), 1, lambda t: linalg.ldl_factor_ex(t.positive)
    ),
    "linalg_lstsq": (lambda t: linalg.lstsq(t.positive, t.matrix), 1, None),
    "_linalg_eigh": (lambda t: linalg.eigh(t.positive), 1, None),
    "_linalg_svd": (lambda t: linalg.svd(t.matrix), 2, None),
    "linalg_pinv": (lambda t: linalg.pinv(t.matrix), 2, None),
    "linalg_eig": (lambda t: linalg.eig(t.matrix), 4, None),
    "linalg_eigvals": (lambda t: linalg.eigvals(t.matrix, out=torch.empty(5, dtype=torch.cfloat, device="cuda")), 3, None),
    "_linalg_eigvals": (lambda t: torch.ops.aten._linalg_eigvals(t.matrix), 3, None),
    "linalg_matrix_exp": (lambda t: linalg.matrix_exp(t.matrix), 2, lambda t: linalg.matrix_exp(t.y[None, None])),
    "bincount": (lambda t: torch.bincount(t.at), 2, lambda t: torch.bincount(t.at[:0])),
    "histc": (lambda t: torch.histc(t.x), 2, lambda t: torch.histc(t.x, 4, 0, 1)),
    "nanmedian": (lambda t: torch.nanmedian(t.x), 1, lambda t: torch.nanmedian(t.x, 0)),
    "mode": (lambda t: torch.mode(t.many), 3, lambda t: torch.mode(t.matrix)),
    "searchsorted": (
        lambda t: torch.searchsorted(t.x, t.x, sorter=t.x.argsort()), 2, lambda t: torch.searchsorted(t.x, t.x)
    ),
    "repeat_interleave": (
        lambda t: t.x.repeat_interleave(t.once), 2, lambda t: t.x.repeat_interleave(t.once, output_size=8)
    ),
    "segment_reduce": (
        lambda t: torch.segment_reduce(t.x, "sum", lengths=t.once.expand(2)),
        2,
        lambda t: torch.segment_reduce(t.x, "sum", lengths=t.once.expand(2), unsafe=True),
    ),
    "isin": (lambda t: torch.isin(t.many, t.many), 2, lambda t: torch.isin(t.many, t.x)),
    "unique_dim": (lambda t: torch.unique(t.matrix, dim=0), 1, None),
    "unique_dim_consecutive": (lambda t: torch.ops.aten.unique_dim_consecutive(t.matrix, 0), 1, None),
    "unique_consecutive": (lambda t: torch.unique_consecutive(t.matrix, dim=0), 1, None),
    "masked_fill": (lambda t: t.x.masked_fill(t.mask, t.y), 1, lambda t: t.x.masked_fill(t.mask, torch.tensor(1.0))),
    "masked_fill_": (lambda t: t.x.masked_fill_(t.mask, t.y), 1, lambda t: t.x.masked_fill_(t.mask, 1.0)),
    "index_fill": (lambda t: t.x.index_fill(0, t.at, t.y), 1, lambda t: t.x.index_fill(0, t.at, 1.0)),
    "index_fill_": (lambda t: t.x.index_fill_(0, t.at, t.y), 1, lambda t: t.x.index_fill_(0, t.at, 1.0)),
    "fill": (lambda t: torch.fill(torch.ones(3), t.y), 1, lambda t: torch.fill(t.x, t.y)),
    "fill_": (lambda t: torch.ones(3).fill_(t.y), 1, lambda t: t.x.fill_(t.y)),
    "linspace": (
        lambda t: torch.linspace(t.y, t.y, 3, device="cuda"), 2, lambda t: torch.linspace(0, 1, 3, device="cuda")
    ),
    "logspace": (lambda t: torch.logspace(0, t.y, 3, device="cuda"), 1, None),
    "_ctc_loss": (ctc, 3, None),
    "_ctc_loss_backward": (lambda t: gradient(lambda s: ctc_of(t, s), t.scores.detach()), 3, None),
    "_nested_tensor_from_mask_left_aligned": (
        lambda t: torch._nested_tensor_from_mask_left_aligned(t.many[None, :, :4], t.no_gaps), 1, None
    ),
    "_nested_tensor_from_mask": (
        lambda t: torch._nested_tensor_from_mask(t.many[None, :, :4], t.no_gaps), 2, None
    ),
    "_to_sparse": (lambda t: t.matrix.to_sparse(), 1, lambda t: t.coo.coalesce().to_sparse),
    "_to_sparse_csr": (lambda t: t.matrix.to_sparse_csr(), 3, None),
    "_to_sparse_csc": (lambda t: t.matrix.to_sparse_csc(), 3, None),
    "_to_sparse_bsr": (lambda t: t.many[:2, :4].to_sparse_bsr((2, 2)), 3, None),
    "_to_sparse_bsc": (lambda t: t.many[:2, :4].to_sparse_bsc((2, 2)), 3, None),
    "_coalesce": (lambda t: t.coo.coalesce(), 1, None),
}  # fmt: skip


def ctc_of(t, scores):
    return F.ctc_loss(scores, t.targets, *t.lengths)


try:
    torch.cholesky(torch.eye(1))
except (AttributeError, RuntimeError):  # newer releases have taken it away
    del OPERATORS["cholesky"]


READ_BY_ITEM = {"linspace", "logspace"}  # their limits: each reading waits by itself (RangeFactories.cpp)


def count(case) -> int:
    """Return how often the host waits; a case that returns a function has prepared something, and that is counted."""
    t = Tensors()
    prepared = []
    watcher = watched(lambda: prepared.append(case(t)))
    return watched(prepared[0]).count if callable(prepared[0]) else watcher.count


def test_every_row_of_the_table_has_its_case_and_its_file():
    assert set(OPERATORS) - READ_BY_ITEM | {"cholesky"} == set(waits.table())
    assert all(row["source"].endswith((".cpp", ".h", ".cu")) for row in waits.table().values())
    assert all(row.get("when") is None or row["when"] in waits.CONDITIONS for row in waits.table().values())


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_waits_as_often_as_cuda_reads_in_it(name):
    case, times, other = OPERATORS[name]
    assert count(case) == times
    if other is not None:
        assert count(other) == 0


@pytest.mark.parametrize("name", OPERATORS)
def test_debug_mode_names_what_waits_unless_cuda_would_not(name):
    t = Tensors()
    call = lambda: OPERATORS[name][0](t)  # noqa: E731
    prepared = call()
    call = prepared if callable(prepared) else call
    torch.cuda.set_sync_debug_mode("error")
    try:
        if "silent" in waits.table().get(name, ()):
            call()
        else:
            with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
                call()
    finally:
        torch.cuda.set_sync_debug_mode("default")


# The two lists of test_sync_warning, PyTorch's own test (test/test_torch.py), and their relatives.
NEVER = {
    "multinomial": lambda t: t.x.multinomial(2),  # its checks are assertions (rules/asserts.yaml)
    "a number through a mask": lambda t: put(t.x, t.mask, 1.0),
    "a value through a mask of the CPU": lambda t: put(t.x, t.mask_of_cpu, t.y) if MASKS_ARE_PINNED else None,
    "a value to positions": lambda t: put(t.x, t.at, t.y),
    "positions": lambda t: t.x[t.at],
    "one_hot with classes": lambda t: F.one_hot(t.at, num_classes=4),
    "randperm": lambda t: torch.randperm(20000, device="cuda"),
    "repeats and output_size": lambda t: t.x.repeat_interleave(2, output_size=8),
    "any": lambda t: torch.any(t.y),
    "a number to a row": lambda t: put(t.matrix, 0, 1.0),
    "a tensor to a row": lambda t: put(t.matrix, 0, t.matrix[1]),
    "accumulating": lambda t: t.x.index_put_((t.at,), t.y, accumulate=True),
    "quantile": lambda t: torch.quantile(t.x, t.y),
    "nanquantile": lambda t: torch.nanquantile(t.x, 0.5),
    "median": lambda t: torch.median(t.x),
    "det": lambda t: linalg.det(t.positive),
    "cross entropy, smoothed": lambda t: F.cross_entropy(t.matrix, t.labels, label_smoothing=0.1),
    "clipping": lambda t: torch.nn.utils.clip_grad_norm_([with_gradient(t)], 1.0),
    "backward of max": lambda t: gradient(torch.max, t.matrix),
    "backward of median": lambda t: gradient(torch.median, t.matrix),
    "backward of positions": lambda t: gradient(lambda x: x[t.at].sum(), t.x),
    "dropout": lambda t: F.dropout(t.x),
    "sort and topk": lambda t: (t.x.sort(), t.x.topk(2)),
    "embedding": lambda t: F.embedding(t.at, t.matrix),
}
SOMETIMES = {
    "a value through a mask": (lambda t: put(t.x, t.mask, t.y), 1),
    # Newer releases fill the positions, and copy no number to the card.
    "a number to positions": (lambda t: put(t.x, t.at, 1.0), 0 if NUMBERS_FILL else 1),
    "a number to one place": (lambda t: put(t.x, 0, 1.0), 0 if NUMBERS_FILL else 1),
    "a number to a row that is a tensor": (lambda t: put(t.matrix, t.at[0], 1.0), 1),
    "a mask": (lambda t: t.x[t.mask], 1),
    "two masks": (lambda t: t.matrix[t.labels > 0, t.labels > 0], 2),
    "a position that is a tensor": (lambda t: t.x[t.at[0]], 1),
    "nonzero": (lambda t: t.x.nonzero(), 1),
    "where": (lambda t: torch.where(t.mask), 1),
    "masked_select": (lambda t: t.x.masked_select(t.mask), 1),
    "bool": (lambda t: bool(t.y), 1),
    "in": (lambda t: 1.0 in t.x, 1),
    "allclose": (lambda t: torch.allclose(t.x, t.x), 1),
    "unique": (lambda t: torch.unique(t.x), 1),
    "unique_consecutive": (lambda t: torch.unique_consecutive(t.x), 1),
    "one_hot": (lambda t: F.one_hot(t.at), 1),
    "full": (lambda t: torch.full((2,), t.y), 1),
    "inv": (lambda t: linalg.inv(t.positive), 1),
    "solve": (lambda t: linalg.solve(t.positive, t.matrix), 1),
    "lu_factor": (lambda t: linalg.lu_factor(t.positive), 1),
    "matrix_rank": (lambda t: linalg.matrix_rank(t.matrix), 2),
    "nuclear norm": (lambda t: linalg.norm(t.matrix, "nuc"), 2),
    "cov": (lambda t: torch.cov(t.matrix), 1),
    "corrcoef": (lambda t: t.matrix.corrcoef(), 1),
    "cov, weighted": (lambda t: torch.cov(t.matrix, fweights=t.labels + 1), 3),
    "cross entropy, smoothed and weighted": (
        lambda t: F.cross_entropy(t.matrix, t.labels, weight=t.weight, label_smoothing=0.1),
        1,
    ),
    "ctc_loss with lengths on the card": (lambda t: ctc(t, [x.cuda() for x in t.lengths]), 2 + 2 + 3),
    "clipping that must be finite": (
        lambda t: torch.nn.utils.clip_grad_norm_([with_gradient(t)], 1.0, error_if_nonfinite=True),
        1,
    ),
    "backward of prod": (lambda t: gradient(torch.prod, t.matrix), 1),
    "backward of prod along a dimension": (lambda t: gradient(lambda x: x.prod(1).sum(), t.matrix), 1),
    "backward of cumprod": (lambda t: gradient(lambda x: x.cumprod(0).sum(), t.matrix), 1),
}


def with_gradient(t):
    parameter = torch.nn.Parameter(t.x)
    parameter.grad = t.x.clone()
    return parameter


@pytest.mark.parametrize("case", NEVER.values(), ids=NEVER)
def test_what_cuda_does_without_waiting_waits_not(case):
    assert count(case) == 0


@pytest.mark.parametrize(("case", "times"), SOMETIMES.values(), ids=SOMETIMES)
def test_what_needs_a_value_waits_for_it(case, times):
    assert count(case) == times


def test_one_hot_gives_the_values_and_refuses_as_cuda_does():
    labels = torch.tensor([[0, 2], [1, 0]], device="cuda")
    for classes in (-1, 3, 5):
        assert F.one_hot(labels, classes).tolist() == F.one_hot(labels.cpu(), classes).tolist()
    assert F.one_hot(labels).is_cuda
    with pytest.raises(RuntimeError, match="num_classes should be positive"):
        F.one_hot(labels, 0)
    with pytest.raises(RuntimeError, match="one_hot is only applicable to index tensor"):
        F.one_hot(labels.float(), 3)


KIB = 1024


@pytest.mark.parametrize(
    ("copy", "waited"),
    [
        (lambda: torch.ones(16 * KIB).to("cuda"), True),
        (lambda: torch.ones(16 * KIB).to("cuda", non_blocking=True), False),
        (lambda: torch.ones(16 * KIB + 1).to("cuda", non_blocking=True), True),
        (lambda: torch.ones(64 * KIB).pin_memory().to("cuda", non_blocking=True), False),
        (lambda: torch.ones(64 * KIB).pin_memory().to("cuda"), True),
        (lambda: torch.ones(256, 256).pin_memory().t().to("cuda", non_blocking=True), False),
        (lambda: torch.ones(512, 512).pin_memory()[:, :300].to("cuda", non_blocking=True), True),
        (lambda: torch.ones(9, device="cuda").to("cpu", non_blocking=True), False),
        (lambda: torch.ones(9).copy_(torch.ones(9, device="cuda"), non_blocking=True), True),
        (lambda: torch.ones(9).pin_memory().copy_(torch.ones(9, device="cuda"), non_blocking=True), False),
    ],
    ids=["64 KiB", "64 KiB, not blocking", "more, not blocking", "pinned", "pinned, blocking", "pinned, transposed",
         "pinned, with gaps", "to the host", "into pageable memory", "into pinned memory"],
)  # fmt: skip
def test_a_copy_that_does_not_block_waits_where_the_driver_would(copy, waited):
    (_, _, _, _, waits_for_it) = watched(copy).copies[-1]
    assert waits_for_it is waited


def test_a_copy_to_the_host_that_does_not_block_is_pinned():
    x = torch.ones(3, device="cuda", requires_grad=True)
    assert x.to("cpu", non_blocking=True).is_pinned()
    assert x.detach().to("cpu", non_blocking=True).is_pinned()
    assert not x.cpu().is_pinned() and not x.to("cpu").is_pinned()


def test_debug_mode_hears_of_blocking_copies_only():
    large = torch.ones(64 * KIB)
    torch.cuda.set_sync_debug_mode("error")
    try:
        large.to("cuda", non_blocking=True)  # the driver waits; PyTorch does not know
        with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
            torch.ones(1).to("cuda")
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    "copy", [lambda: torch.ones(0).cuda(), lambda: torch.ones(0, 3, device="cuda").cpu()], ids=["up", "down"]
)
def test_a_copy_without_bytes_is_none(copy):
    watcher = watched(copy)
    assert watcher.copies == [] and watcher.count == 0
    with lab.trace() as t:
        copy()
    assert t.copies == ()


def test_multinomial_reads_nothing_but_asserts():
    """Distributions.cpp, multinomial_out, serves both devices; on the CPU its assertions read (pull request 134818)."""
    with torch.profiler.profile() as profile:
        torch.multinomial(torch.ones(3), 2)
    names = [event.name for event in profile.events()]
    assert names.count("aten::_assert_async") == names.count("aten::item") == 2
