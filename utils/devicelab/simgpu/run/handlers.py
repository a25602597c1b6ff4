"""Which operators need more than looking where their operands are, by name or by kind; worked out once for each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from devicelab.simgpu.marks.adopt import is_optimizing
from devicelab.simgpu.marks.marks import (
    COMPRESSED_COLUMNS,
    COMPRESSED_ROWS,
    Adoptable,
    device_of,
    mark,
    tag_of,
)
from devicelab.simgpu.marks.place import MIXED, home, is_on_card
from devicelab.simgpu.rules import asserts, attention, foreach, nondeterministic
from devicelab.simgpu.rules import dtypes as rules
from devicelab.simgpu.rules.refusals import other_storage, refuse

from . import (
    collectives,
    copy,
    create,
    draw,
    dtypes,
    fourier,
    halves,
    integers,
    library,
    linear_algebra,
    normalization,
    only,
    wait,
)
from .asserts import asserting
from .call import Calls


def resize(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run an operator that may change the storage's size, and count its memory again."""
    out = mode.run(func, args, kwargs, seen) if seen is not None else mode.host(func, args, kwargs)
    card = home(args[0])
    if card is not None:
        mark(args[0].untyped_storage(), card)
    return out


def set_(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Give a tensor another storage, of the same device."""
    storage, here = args[1] if len(args) > 1 else None, device_of(args[0])
    own = tag_of(args[0]).__class__ is not Adoptable  # C++ makes tensors on the way, to read one element
    if isinstance(storage, torch.UntypedStorage) and own and storage.device != here:
        other_storage(here, storage.device)
    return mode.run(func, args, kwargs, seen) if seen is not None else mode.host(func, args, kwargs)


def on_the_host(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Return the sizes of a nested tensor, which are on the CPU (nested/NestedTensorUtils.h)."""
    return mode.host(func, args, kwargs)


def equal(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Compare two tensors; where torch.jit looks for like constants it first asks where they are (ir/attributes.cpp)."""
    if seen is MIXED and is_optimizing() and device_of(args[0]) != device_of(args[1]):
        return False
    return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)


def with_scalars(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run an operator on lists, whose numbers belong on the CPU where they are a tensor (native/ForeachUtils.h)."""
    scalars = args[3] if len(args) > 3 else kwargs.get("scalars")
    if isinstance(scalars, torch.Tensor) and is_on_card(seen):
        refuse(f"Expected scalars to be on CPU, got {device_of(scalars)} instead.")
    return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)


def record_stream(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Tell the allocator that another stream uses the memory, which here changes nothing."""
    return None if is_on_card(seen) else mode.host(func, args, kwargs)


def convolution(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a convolution; while torch.jit traces, by the operator under which C++ records it, below the mode too late."""
    if not torch._C._is_tracing():
        out = None if kwargs else halves.convolution(mode, func, args, seen)
        if out is not None:
            return out
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)
    card = seen if seen is None or is_on_card(seen) else mode.settle(func, args, kwargs, seen)
    with torch._C._SetExcludeDispatchKeyGuard(TRACER, False), torch._C._IncludeDispatchKeyGuard(TRACER):
        # benchmark, deterministic, cudnn_enabled, allow_tf32
        out = torch.ops.aten._convolution.default(*args, False, False, True, True)
    mode.finish(func, args, out, card)
    return out


def attention_choice(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Say which kernel CUDA would choose for attention."""
    if not is_on_card(seen):
        return mode.host(func, args, kwargs)
    names = [argument.name for argument in func._schema.arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    chosen = attention.choose(attention.params_of(given))
    return -1 if chosen is None else chosen


def decompose(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Take a composite operator apart, so that each of its operators is looked at."""
    if seen is None:
        return mode.host(func, args, kwargs)
    if any(has_kernel_for(func, value) for value in args if isinstance(value, torch.Tensor)):
        return mode.run(func, args, kwargs, seen)
    with mode:
        return func.decompose(*args, **kwargs)


def has_kernel_for(func: Any, tensor: torch.Tensor) -> bool:
    """Say whether an operator that is taken apart for others has a kernel for this kind of tensor."""
    kind = next((kind for kind, is_it in KINDS.items() if is_it(tensor)), None)
    return kind is not None and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), kind)


KINDS: dict[str, Callable[[torch.Tensor], bool]] = {
    "NestedTensorCPU": lambda tensor: tensor.is_nested,
    "QuantizedCPU": lambda tensor: tensor.is_quantized,
    "SparseCPU": lambda tensor: tensor.layout is torch.sparse_coo,
    "SparseCsrCPU": lambda tensor: tensor.layout in (*COMPRESSED_ROWS, *COMPRESSED_COLUMNS),
}


def narrow_copy(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Copy a slice; on a card by way of `narrow`, which has other words for what cannot be (TensorShape.cpp)."""
    if not is_on_card(seen) or kwargs:
        return mode.run(func, args, kwargs, seen) if seen is not None else mode.host(func, args, kwargs)
    with mode:
        return torch.ops.aten.narrow(*args).clone(memory_format=torch.contiguous_format)


def select(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Find a median or k-th value along a dimension, which CUDA does in at most 25 of them (cuda/Sorting.cpp)."""
    along = len(args) > 1 or "dim" in kwargs
    if is_on_card(seen) and along and args[0].dim() > MOST_DIMENSIONS:
        who = "" if func._schema.name == "aten::kthvalue" else "median() "
        raise RuntimeError(f"{who}cannot operate on more than {MOST_DIMENSIONS} dimensions")
    return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)


def functional(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Run a functional collective, which calls a plain one in C++; only here its way to reduce is a word."""
    with collectives.asked(func, args, kwargs):
        return library.custom(mode, func, args, kwargs, seen)


def alerting(handler: Callable[..., Any] | None) -> Callable[..., Any]:
    """Have an operator without a deterministic kernel on CUDA looked at first."""

    def alerted(mode: Calls, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
        if is_on_card(seen):
            nondeterministic.alert(func, args, kwargs)
        if handler is not None:
            return handler(mode, func, args, kwargs, seen)
        return mode.host(func, args, kwargs) if seen is None else mode.run(func, args, kwargs, seen)

    return alerted


def is_in_table(func: Any) -> bool:
    """Say whether CUDA has no deterministic kernel for the operator."""
    return func._schema.name.removeprefix("aten::") in nondeterministic.table()


def note(mode: Any, func: Any, args: Any, kwargs: Any, seen: Any) -> Any:
    """Pass on a mark for the profiler, which makes no tensor; every optimizer and every backward sets some."""
    mode.clock.spend(mode.clock.dispatch)
    return func(*args, **kwargs)


MOST_DIMENSIONS = 25  # MAX_TENSORINFO_DIMS
TRACER = torch._C._dispatch_key_parse("Tracer")
BY_NAME = {
    "aten::convolution": convolution,
    "aten::_fused_sdp_choice": attention_choice,
    "aten::_to_copy": copy.to_copy,
    "aten::copy_": copy.copy_,
    "aten::index": wait.index,
    "aten::index_put_": wait.index,
    "aten::index_put": wait.index,
    "aten::_index_put_impl_": wait.index,
    "aten::_efficientzerotensor": create.zeros,
    "aten::equal": equal,
    "aten::exponential_": draw.exponential,
    **{f"aten::{name}{way}": with_scalars for name in foreach.SCALARS_ON_CPU for way in ("", "_")},
    "aten::kthvalue": select,
    **dict.fromkeys(("aten::linspace", "aten::logspace"), create.spaced),
    "aten::median": select,
    "aten::_nested_tensor_size": on_the_host,
    "aten::_nested_tensor_storage_offsets": on_the_host,
    "aten::_nested_tensor_strides": on_the_host,
    "aten::nanmedian": select,
    "aten::narrow_copy": narrow_copy,
    "aten::record_stream": record_stream,
    "aten::resize_": resize,
    "aten::resize_as_": resize,
    "aten::set_": set_,
    **integers.BY_NAME,
    **dtypes.BY_NAME,
    **fourier.BY_NAME,
    **linear_algebra.BY_NAME,
    **normalization.BY_NAME,
}

BUILTIN = ("aten", "quantized", "mkldnn", "profiler")
PLANS: dict[int, "Plan"] = {}  # by the operator's id: its own hash is slow
only.plans.append(PLANS)


@dataclass(frozen=True, slots=True)
class Plan:
    """How to run one operator overload: `handler` where it needs more than looking and marking.

    `launches`: it does nothing but launch kernels, whatever is looked at first.
    """

    func: Any
    call: Callable[..., Any]  # what `func(...)` calls, one frame nearer
    is_view: bool
    handler: Callable[..., Any] | None
    launches: bool = False


def plan_of(func: Any) -> Plan:
    """Return the operator's plan, made at its first call."""
    call, handler = func._op if func.__class__ is torch._ops.OpOverload else func, handler_of(func)
    is_operator = isinstance(func, torch._ops.OpOverload)
    is_view = bool(getattr(func, "is_view", False))
    waits = is_operator and wait.is_in_table(func)
    launches = is_operator and handler is None and not waits
    if is_operator and rules.name_of(func) in rules.rounding():
        handler = halves.once(handler)
    if waits:
        handler = wait.after(handler)
    if is_operator and is_in_table(func):
        handler = alerting(handler)
    if is_operator and rules.rows(func):
        handler = dtypes.typed(handler)
    if is_operator and only.watching and only.lacks_quantized(func):
        handler = only.whole(handler)
    if is_operator and asserts.is_in_table(func):
        handler = asserting(handler, func)
    if is_operator and library.is_overridden(func):
        handler, launches = library.overridden(handler), False
    plan = PLANS[id(func)] = Plan(func, call, is_view, handler, launches)
    return plan


def handler_of(func: Any) -> Callable[..., Any] | None:
    """Return what treats the operator, by name, by its schema's arguments, or by its tags."""
    if not isinstance(func, torch._ops.OpOverload):
        return None
    alone = None if func._schema.name == "aten::record_stream" else only.handler(func)
    if alone is not None:
        return alone
    name = func._schema.name
    by_name = BY_NAME.get(name)
    if by_name is not None:
        return by_name
    if integers.divides(func):
        return integers.division
    if is_composite(func):
        return decompose
    if func.namespace == "c10d":
        return collectives.collective
    if func.namespace == "_c10d_functional":
        return functional
    if func.namespace not in BUILTIN:
        return library.custom
    if func.namespace == "profiler":
        return note
    names = {argument.name for argument in func._schema.arguments}
    is_random = torch.Tag.nondeterministic_seeded in func.tags
    if "device" in names or creates(func):
        return create.create_random if is_random else create.create
    if is_random:
        return draw.draw if "generator" in names else draw.draw_without_generator
    if wait.is_in_table(func):
        return None  # what the tags say of it is said there more exactly
    if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
        return wait.synchronize
    return None


def is_composite(func: Any) -> bool:
    """Say whether PyTorch would take the operator apart; in inference mode it comes to the dispatch mode whole."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return has_kernel(func.name(), "CompositeImplicitAutograd") and not has_kernel(func.name(), "CPU")


def creates(func: Any) -> bool:
    """Say whether the operator has no tensor argument at all."""
    return not any("Tensor" in str(argument.type) for argument in func._schema.arguments)
