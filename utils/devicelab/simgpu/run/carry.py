"""How gloo carries what is NCCL's alone: its ways to add, small types, lists of unlike sizes, what is done once all is there."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from devicelab.simgpu.machine import groups
from devicelab.simgpu.rules import collectives as rules

then = torch._C.Future.then  # while simulating it has a stand-in, by which what follows runs on the card


def how(given: dict[str, Any]) -> tuple[str, Any]:
    """Return the way of a reduction, such as "SUM", and the factor of PREMUL_SUM."""
    boxed, kind = given.get("reduce_op"), torch.distributed.ReduceOp
    asked: Any
    # Before PyTorch 2.15 C++ alone can read it; Python said it before, and where it did not, DistributedDataParallel adds.
    asked = kind.unbox(boxed) if hasattr(kind, "unbox") else groups.asked.get() or kind(kind.SUM)
    return asked.op.name, asked.__getstate__()[1]


def run(func: Any, name: str, given: dict[str, Any], group: groups.Group) -> Any:
    """Run a collective of tensors that NCCL takes."""
    if name in rules.REDUCING:
        way, factor = how(given)
        tensors = rules.tensors_of(list(given.values()))
        if way in SCALED or any(one.dtype is torch.bool for one in tensors):
            return reduce(func, name, given, group, way, factor)
        return func(**replaced(given, flat if name in rules.WHOLE else as_real))
    if name == "allgather_" and len({tensor.shape for tensor in given["output_tensors"][0]}) > 1:
        return gather_unlike(func, given, group)
    given = replaced(given, as_bytes)
    if name in rules.WHOLE:
        given = replaced(given, flat)
    if name == "alltoall_":
        return exchange(func, given)
    return func(**(replaced(given, packed) if name in rules.BETWEEN_TWO else given))


def replaced(value: Any, make: Callable[[Tensor], Tensor]) -> Any:
    """Return arguments with others in the place of their tensors."""
    if isinstance(value, Tensor):
        return make(value)
    if isinstance(value, dict):
        return {name: replaced(item, make) for name, item in value.items()}
    return [replaced(item, make) for item in value] if isinstance(value, (list, tuple)) else value


def as_real(tensor: Tensor) -> Tensor:
    """Return a tensor of complex numbers as NCCL's group sees it."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def flat(tensor: Tensor) -> Tensor:
    """Return a tensor as one row: where one holds the parts of all ranks, gloo looks at its shape, and NCCL does not."""
    tensor = as_real(tensor)
    return tensor.as_strided([tensor.numel()], [1])


def as_bytes(tensor: Tensor) -> Tensor:
    """Return the bytes of a tensor whose type gloo does not know."""
    is_known = tensor.dtype not in (*rules.FLOAT8, *rules.FLOAT8_ELSEWHERE)
    return as_real(tensor) if is_known else tensor.view(torch.uint8)


def packed(tensor: Tensor) -> Tensor:
    """Return what NCCL sends of a tensor whose numbers do not lie one behind the other: as many, from the first on."""
    if rules.is_dense(tensor):
        return tensor
    return tensor.as_strided(tensor.shape, torch.empty(tensor.shape, device="meta").stride())


def reduce(func: Any, name: str, given: dict[str, Any], group: groups.Group, way: str, factor: Any) -> Any:
    """Add as NCCL does: a mean of floats is a sum of parts, a sum of bools says whether any is true."""
    first, kinds = rules.tensors_of(list(given.values()))[0], torch.distributed.ReduceOp
    is_bool, is_mean_of_whole = first.dtype is torch.bool, way == "AVG" and first.dtype in WHOLE
    scale = 1 / group.size if way == "AVG" and not is_mean_of_whole else factor if way == "PREMUL_SUM" else 1
    plain = kinds.MAX if is_bool and way == "SUM" else kinds.SUM if way in SCALED else getattr(kinds, way)
    seen = replaced(given, lambda one: one.view(torch.uint8) if is_bool else as_real(one))
    seen = replaced(seen, flat) if name in rules.WHOLE else seen
    outputs, into = rules.tensors_of(next(iter(seen.values()))), next(iter(seen))
    if name.startswith("allreduce"):
        for one in outputs if scale != 1 else ():
            one.mul_(scale)
    elif scale != 1:  # of what stays as it is
        what = into if name == "reduce_" else next(word for word in seen if word.startswith("input"))
        seen[what] = replaced(seen[what], lambda one: one * scale)
    works = _added(name, seen, plain)
    is_mine = name != "reduce_" or given["root_rank"] == group.rank

    def finish() -> None:
        for one, total in zip(outputs, rules.tensors_of(seen[into]), strict=True):
            if is_mine and total is not one:
                one.copy_(total)
            if is_mine and is_mean_of_whole:
                one.div_(group.size, rounding_mode="trunc")

    is_over = name != "reduce_" and not is_mean_of_whole and len(works) == 1
    work = works[0] if is_over else followed(works, finish, rules.tensors_of(given[into]))
    return answer(func, given, work)


def _added(name: str, given: dict[str, Any], way: Any) -> list[Any]:
    """Have gloo add, and return its work."""
    group, kinds = torch.distributed.ProcessGroup.unbox(given["process_group"]), torch.distributed

    def options(kind: Any) -> Any:
        made = kind()
        made.reduceOp = way
        if given.get("timeout", -1) > 0:
            made.timeout = timedelta(milliseconds=given["timeout"])
        return made

    if name.startswith("allreduce"):
        return [group.allreduce([one], options(kinds.AllreduceOptions)) for one in given["tensors"]]
    if name == "reduce_":
        asked = options(kinds.ReduceOptions)
        asked.rootRank = given["root_rank"]
        return [group.reduce(given["tensors"], asked)]
    outputs, inputs = list(given.values())[:2]
    asked = options(kinds.ReduceScatterOptions)
    if name == "reduce_scatter_":
        return [group.reduce_scatter(outputs, inputs, asked)]
    pairs = zip(rules.tensors_of(outputs), rules.tensors_of(inputs), strict=True)
    return [group._reduce_scatter_base(output, one, asked) for output, one in pairs]


SCALED = ("AVG", "PREMUL_SUM")
WHOLE = (torch.uint8, torch.int8, torch.int32, torch.int64)


def gather_unlike(func: Any, given: dict[str, Any], group: groups.Group) -> Any:
    """Gather tensors of unlike sizes: each rank hands its own to all, as NCCL's group does."""
    seen = replaced(given, as_bytes)
    [outputs], [own] = seen["output_tensors"], seen["input_tensors"]
    process_group = torch.distributed.ProcessGroup.unbox(seen["process_group"])
    outputs[group.rank].copy_(own)
    works = []
    for rank, output in enumerate(outputs):
        options = torch.distributed.BroadcastOptions()
        options.rootRank = rank
        works.append(process_group.broadcast([output], options))
    return answer(func, given, followed(works, lambda: None, given["output_tensors"][0]))


def exchange(func: Any, given: dict[str, Any]) -> Any:
    """Send a tensor of any size to each rank."""
    outputs, inputs = given["output_tensors"], given["input_tensors"]
    sizes = [[one.numel() for one in some] for some in (outputs, inputs)]
    got = torch.empty(sum(sizes[0]), dtype=outputs[0].dtype)
    sent = torch.cat([packed(one).reshape(-1) for one in inputs])
    process_group = torch.distributed.ProcessGroup.unbox(given["process_group"])
    options = torch.distributed.AllToAllOptions()
    work = process_group.alltoall_base(got, sent, sizes[0], sizes[1], options)

    def finish() -> None:
        for one, part in zip(outputs, got.split(sizes[0]), strict=True):
            one.copy_(part.view(one.shape))

    return answer(func, given, followed([work], finish, outputs))


def followed(works: Sequence[Any], finish: Callable[[], None], results: list[Tensor]) -> Any:
    """Return work that has ended once others have, and something was done then."""

    def done(future: Any) -> list[Tensor]:
        for one in future.value():
            one.value()  # raises what went wrong
        finish()
        return results

    try:
        futures = [work.get_future() for work in works]
    except RuntimeError:  # gloo's sums of parts have none
        futures = []
        for work in works:
            work.wait()
    future = torch._C._collect_all(futures)
    work_of: Any = torch._C._distributed_c10d
    return work_of._create_work_from_future(then(future, done))


def answer(func: Any, given: dict[str, Any], work: Any) -> Any:
    """Return what an operator returns: its work, behind what it writes into where it returns that too."""
    return work.boxed() if len(func._schema.returns) == 1 else (next(iter(given.values())), work.boxed())
