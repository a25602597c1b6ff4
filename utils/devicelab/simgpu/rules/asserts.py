"""Which values of a call a CUDA kernel would find by an assertion, from the table beside this file.

The CPU checks them too, and raises: so nothing is looked at before an error has come.
"""

import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml

from devicelab.simgpu.machine.faults import Fault
from devicelab.simgpu.machine.texts import RELEASE

from .decide import signature
from .published import Loader

FOLDER = "/pytorch/aten/src/ATen/native/cuda/"  # where PyTorch's Linux wheels were built
MOST_VALUES = 5
FEW = 16  # indices: Indexing.cu
VECTOR = 16  # bytes: IndexKernelUtils.h, fast_gather_kernel_eligible
MAX = 2  # the mode of an embedding bag
Tensor = torch.Tensor
Arguments = dict[str, Any]
Wrong = tuple[str, Tensor, str]  # the argument's name, its wrong values, what is allowed


@cache
def table() -> dict[str, dict[str, Any]]:
    """Return the rows by the name of the operator."""
    rows = yaml.load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"), Loader)
    return {name + end: row for row in rows for name in row["of"].split() for end in ("", "_")}


def is_in_table(func: Any) -> bool:
    """Say whether a kernel of the operator asserts something of its values."""
    return func.namespace == "aten" and func._schema.name.removeprefix("aten::") in table()


def arguments_of(func: Any, args: Any, kwargs: Any) -> Arguments:
    """Return a call's arguments by their names in the operator's schema."""
    names, defaults = signature(func)
    return defaults | dict(zip(names, args, strict=False)) | kwargs


def unseen(func: Any) -> Callable[[Any, Any, Any], bool] | None:
    """Return what says of a call whether CUDA's kernel asserts what the CPU does not check, or not in time."""
    row = table()[func._schema.name.removeprefix("aten::")]
    condition = WHEN[row["unseen"]] if "unseen" in row else None
    if condition is None:
        return None
    return lambda func, args, kwargs: condition(arguments_of(func, args, kwargs), "")


def found(func: Any, args: Any, kwargs: Any, said: str, is_blocking: bool) -> Fault | None:
    """Return the assertion that fails in a call of which the CPU said this; None where CUDA's host says it too."""
    name = func._schema.name.removeprefix("aten::")
    row, given = table()[name], arguments_of(func, args, kwargs)
    if said and not re.search(row["words"], said):
        return None
    if "only" in row and not WHEN[row["only"]](given, said):
        return None
    kernel = next(one for one in row["kernels"] if "when" not in one or WHEN[one["when"]](given, said))
    argument, values, allowed = next(WRONG[row["wrong"]](given), ("", torch.empty(0), ""))
    assertion = said if kernel.get("said") else kernel["assertion"]
    printed = f"{FOLDER}{kernel['at']}: {kernel['kernel']}: block: [0,0,0], thread: [0,0,0] Assertion `{assertion}` failed."
    some = tuple(dict.fromkeys(values.flatten()[: 100 * MOST_VALUES].tolist()))[:MOST_VALUES]
    return Fault(name, printed, argument, some, allowed, None, is_blocking)


def outside(values: Tensor, low: float, high: float) -> Tensor:
    """Return the values that do not lie between two numbers, NaN among them."""
    return values[~((values >= low) & (values <= high))]


def named(given: Arguments, *names: str) -> tuple[str, Any]:
    """Return the first of these arguments that there is, with its name."""
    name = next(name for name in names if given.get(name) is not None)
    return name, given[name]


def indices(name: str, values: Tensor, size: int, low: int = 0) -> Iterator[Wrong]:
    """Yield the indices that are wrong for a dimension of this size."""
    wrong = outside(values, low, size - 1)
    if wrong.numel():
        yield name, wrong, f"{low} to {size - 1}"


def along(given: Arguments, from_the_end: bool = False) -> Iterator[Wrong]:
    """Yield the wrong indices of an operator on one dimension of a tensor, such as a table's rows."""
    name, values = named(given, "index", "indices")
    _, data = named(given, "self", "weight")
    size = data.size(given.get("dim", 0)) if data.dim() else 1
    yield from indices(name, values, size, -size if from_the_end else 0)


def advanced(given: Arguments) -> Iterator[Wrong]:
    """Yield the wrong indices of x[a, b]; a mask takes as many dimensions as it has."""
    dim = 0
    for index in given["indices"]:
        is_mask = index is not None and index.dtype in (torch.bool, torch.uint8)
        if index is not None and not is_mask:
            size = given["self"].size(dim)
            yield from indices("indices", index, size, -size)
        dim += index.dim() if is_mask else 1


def among_all(given: Arguments) -> Iterator[Wrong]:
    """Yield the wrong indices into all elements."""
    size = given["self"].numel()
    yield from indices("index", given["index"], size, -size)


def classes(given: Arguments) -> Iterator[Wrong]:
    """Yield the labels that are no class."""
    data, target = given["self"], given["target"]
    ignored = given.get("ignore_index")
    count = data.size(1 if data.dim() > 1 else 0)
    yield from indices("target", target if ignored is None else target[target != ignored], count)


def probabilities(given: Arguments) -> Iterator[Wrong]:
    """Yield what is no probability."""
    for name in ("p", "self", "target"):
        values = given.get(name)
        if isinstance(values, Tensor) and (wrong := outside(values, 0, 1)).numel():
            yield name, wrong, "0 to 1"


def rates(given: Arguments) -> Iterator[Wrong]:
    """Yield the rates that are negative."""
    yield "self", outside(given["self"], 0, math.inf), "0 and above"


def weights(given: Arguments) -> Iterator[Wrong]:
    """Yield what no category's weight can be, or a sum that is 0."""
    values = given["self"]
    wrong = outside(values, 0, torch.finfo(values.dtype).max)
    if wrong.numel():
        yield "self", wrong, "0 and above, and finite"
    sums = values.sum(-1).reshape(-1)
    yield "the sums of self", sums[sums == 0], "above 0"


def bags(given: Arguments) -> Iterator[Wrong]:
    """Yield the wrong indices of an embedding bag, or the offsets that fall."""
    yield from indices("indices", given["indices"], given["weight"].size(0))
    yield "offsets", falling(given), "no more than the next offset, and than the number of indices"


def falling(given: Arguments) -> Tensor:
    """Return the offsets of an embedding bag behind which it ends before it begins; the kernel takes 0 for the first."""
    offsets = given["offsets"][:-1] if given["include_last_offset"] else given["offsets"]
    begins = torch.cat([offsets.new_zeros(offsets.numel() and 1), offsets[1:]])
    ends = torch.cat([offsets[1:], offsets.new_full((offsets.numel() and 1,), given["indices"].numel())])
    return offsets[ends < begins]


def places(given: Arguments) -> Iterator[Wrong]:
    """Yield the wrong places of an unpooling."""
    yield from indices("indices", given["indices"], math.prod(given["output_size"]))


def repeats(given: Arguments) -> Iterator[Wrong]:
    """Yield the repeats that are negative, or their sum."""
    values, size = given["repeats"], given["output_size"]
    if (values < 0).any():
        yield "repeats", values[values < 0], "0 and above"
    yield "the sum of repeats", values.sum(), f"{size}, the output_size"


def lengths(given: Arguments) -> Iterator[Wrong]:
    """Yield the lengths that are negative."""
    name, values = named(given, "lengths", "offsets")
    yield name, values[values < 0], "0 and above"


def too_few(given: Arguments) -> Iterator[Wrong]:
    """Yield the number of values for a mask that has more places."""
    mask = given["mask"].broadcast_to(torch.broadcast_shapes(given["mask"].shape, given["self"].shape))
    yield (
        "the number of values in source",
        torch.tensor([given["source"].numel()]),
        f"{int(mask.sum())} and above",
    )


WRONG: dict[str, Callable[[Arguments], Iterator[Wrong]]] = {
    "along": along,
    "along, also from the end": lambda given: along(given, from_the_end=True),
    "advanced": advanced,
    "among all": among_all,
    "classes": classes,
    "probabilities": probabilities,
    "rates": rates,
    "weights": weights,
    "bags": bags,
    "places": places,
    "repeats": repeats,
    "lengths": lengths,
    "too few": too_few,
    "none": lambda given: iter(()),
}


def is_of_rows(given: Arguments, said: str) -> bool:
    """Say whether whole rows of a multiple of 16 bytes are fetched, one behind the other in memory."""
    _, data = named(given, "self", "weight")
    given_indices = given.get("indices")
    index = given_indices if isinstance(given_indices, Tensor) else given.get("index", given_indices)
    if isinstance(index, (list, tuple)):
        index = index[0] if len(index) == 1 else None
    is_first = data.dim() > 1 and given.get("dim", 0) in (0, -data.dim())
    nbytes = math.prod(data.shape[1:]) * data.itemsize
    return index is not None and is_first and data.is_contiguous() and nbytes % VECTOR == 0


WHEN: dict[str, Callable[[Arguments, str], bool]] = {
    "before 2.9": lambda given, said: RELEASE < (2, 9),
    "few": lambda given, said: named(given, "index", "indices")[1].numel() <= FEW,
    "in rows": is_of_rows,
    "accumulating": lambda given, said: (
        bool(given.get("accumulate")) or torch._C._get_deterministic_algorithms()
    ),
    "one label": lambda given, said: given["self"].dim() == 1,
    "unreduced": lambda given, said: given["reduction"] == 0,
    "of the target": lambda given, said: "of target" in said,
    "drawn at once": lambda given, said: not given["replacement"] or given["num_samples"] == 1,
    "negative": lambda given, said: "entry < 0" in said,
    "falling offsets": lambda given, said: falling(given).numel() > 0,
    "falling offsets and the largest": lambda given, said: (
        given["mode"] == MAX and falling(given).numel() > 0
    ),
    "of the largest": lambda given, said: given["mode"] == MAX,
    "of a given size": lambda given, said: given["output_size"] is not None,
    "repeats that do not fit": lambda given, said: (
        given["output_size"] is not None
        and (bool((given["repeats"] < 0).any()) or int(given["repeats"].sum()) != given["output_size"])
    ),
    "unnamed": lambda given, said: not given.get("assert_msg"),
    "sparse": lambda given, said: given.get("self") is not None and given["self"].is_sparse,
    "negative repeats": lambda given, said: bool((given["repeats"] < 0).any()),
}
