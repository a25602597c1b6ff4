"""What a tensor says about its device, and what it refuses because of it."""

from typing import Any

import torch

from devicelab import devices
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks.marks import Tensor, card_of, device_of, innermost
from devicelab.simgpu.rules import foreach
from devicelab.simgpu.rules.refusals import legacy_type
from devicelab.simgpu.run import move

from . import legacy_types

Base = torch._C.TensorBase
_grad: Any = Base.grad


def is_cuda(tensor: Tensor) -> bool:
    """Say whether the tensor lies on a card."""
    return device_of(tensor).type == "cuda"


def is_cpu(tensor: Tensor) -> bool:
    """Say whether the tensor lies on the CPU."""
    return device_of(tensor).type == "cpu"


def get_device(tensor: Tensor) -> int:
    """Return the card's number, -1 for the CPU."""
    card = card_of(tensor)
    return Base.get_device(tensor) if card is None else card.index  # type: ignore[attr-defined]


def touched(tensor: Tensor, how: str) -> None:
    """Tell those who watch that the values of a tensor of the host are asked for."""
    for observer in devices.observers:
        observer.touched(tensor, how)


def numpy(tensor: Tensor, *, force: bool = False) -> Any:
    """Do as Tensor.numpy: refuse a tensor of a card, or copy it first if forced."""
    card = card_of(tensor)
    if card is None:
        touched(tensor, "numpy")
        return Base.numpy(tensor, force=force)  # type: ignore[attr-defined]
    if tensor.layout is not torch.strided:
        return Base.numpy(tensor, force=force)  # type: ignore[attr-defined]  # refused for that, before devices
    if force:
        return Base.numpy(move.cpu(tensor.detach()), force=True)  # type: ignore[attr-defined]
    raise TypeError(
        f"can't convert {card.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
    )


def tolist(tensor: Tensor) -> Any:
    """Do as Tensor.tolist, which copies to the host first."""
    if card_of(tensor) is not None:
        tensor = move.cpu(tensor.detach())
    else:
        touched(tensor, "tolist")
    return Base.tolist(tensor)  # type: ignore[attr-defined]


def apply_(tensor: Tensor, callable: Any) -> Tensor:
    """Do as Tensor.apply_, which calls Python for each element: refuse a tensor of a card (torch/csrc/utils/tensor_apply.cpp)."""
    if card_of(tensor) is not None and not tensor.requires_grad:
        raise TypeError("apply_ is only implemented on CPU tensors")
    return Base.apply_(tensor, callable)  # type: ignore[attr-defined]


def map_(tensor: Tensor, other: Tensor, callable: Any) -> Tensor:
    """Do as Tensor.map_, with another tensor's elements beside."""
    refuse_map("map_", tensor, {"'other'": other})
    return Base.map_(tensor, other, callable)  # type: ignore[attr-defined]


def map2_(tensor: Tensor, x: Tensor, y: Tensor, callable: Any) -> Tensor:
    """Do as Tensor.map2_, with two other tensors' elements beside."""
    refuse_map("map2_", tensor, {"argument 'x'": x, "argument 'y'": y})
    return Base.map2_(tensor, x, y, callable)  # type: ignore[attr-defined]


def refuse_map(name: str, tensor: Tensor, others: dict[str, Tensor]) -> None:
    """Refuse tensors of a card, or of two types; what asks for a gradient is refused by C++ before."""
    given = [tensor, *others.values()]
    if all(card_of(one) is None for one in given) or any(one.requires_grad for one in given):
        return
    mine = legacy_type(tensor, device_of(tensor))
    for role, other in others.items():
        if (theirs := legacy_type(other, device_of(other))) != mine:
            raise TypeError(f"{name}: expected {mine} for {role} (got {theirs})")
    raise TypeError(f"{name} is only implemented on CPU tensors")


def type_(tensor: Tensor, dtype: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
    """Do as Tensor.type: name the type, or convert."""
    if dtype is None:
        name = type_name(tensor)
        return name if card_of(tensor) is None else name.replace("torch.", "torch.cuda.", 1)
    dtype = legacy_types.host_of(dtype)
    if str(dtype).startswith("torch.cuda."):  # a name, or one of the types in legacy_types.py
        return move.cuda(Base.type(tensor, str(dtype).replace("torch.cuda.", "torch."), non_blocking))  # type: ignore[attr-defined]
    if card_of(tensor) is not None and not isinstance(dtype, torch.dtype):
        tensor = move.cpu(tensor)
    return Base.type(tensor, dtype, non_blocking, **kwargs)  # type: ignore[attr-defined]


def type_name(tensor: Tensor) -> str:
    """Return the CPU's name of the tensor's type."""
    return Base.type(tensor)  # type: ignore[attr-defined]


def pin_memory(tensor: Tensor, device: Any = None) -> Tensor:
    """Do as Tensor.pin_memory: a copy in page-locked memory, which here is a mark for the clock."""
    if card_of(tensor) is not None:
        raise RuntimeError(f"cannot pin '{type_(tensor)}' only dense CPU tensors can be pinned")
    if state.current is None:
        return Base.pin_memory(tensor, device)  # type: ignore[attr-defined]
    state.current.clock.check(state.current.current)
    if is_pinned(tensor):
        return tensor
    state.current.wake_for_pinning()
    copy = tensor.detach().clone() if not tensor.requires_grad else tensor.clone()
    innermost(copy).untyped_storage()._simulated_pinned = True  # type: ignore[attr-defined]
    return copy


def is_pinned(tensor: Tensor, device: Any = None) -> bool:
    """Say whether the tensor's memory counts as page-locked."""
    if state.current is None:
        return Base.is_pinned(tensor, device)  # type: ignore[attr-defined]
    try:
        return innermost(tensor).untyped_storage()._simulated_pinned  # type: ignore[attr-defined]
    except (RuntimeError, NotImplementedError):
        return False


def set_grad(tensor: Tensor, gradient: Any) -> None:
    """Do as assigning Tensor.grad: refuse a gradient from another device."""
    if isinstance(gradient, Tensor) and (found := device_of(gradient)) != (expected := device_of(tensor)):
        same_kind = found.type == expected.type
        told, wanted = (
            f"located on device with index {one.index}" if same_kind else f"with device type '{one.type}'"
            for one in (found, expected)
        )
        raise RuntimeError(
            f"attempting to assign a gradient {told} to a tensor {wanted}. "
            "Please ensure that the gradient and the tensor are on the same device"
        )
    _grad.__set__(tensor, gradient)


def group_by_device_and_dtype(lists: list[list[Any]], with_indices: bool = False) -> dict[Any, Any]:
    """Do as torch._C._group_tensors_by_device_and_dtype, which optimizers and clip_grad_norm_ use."""
    groups: dict[Any, Any] = {}
    for number, tensor in enumerate(lists[0]):
        key = (device_of(tensor), tensor.dtype)
        others = [source[number] for source in lists if source and source[number] is not None]
        foreach.check_same_index(key, [(device_of(other), other.dtype) for other in others])
        columns, indices = groups.setdefault(key, ([[] for _ in lists], []))
        for column, source in zip(columns, lists, strict=True):
            if source:
                column.append(source[number])
        if with_indices:
            indices.append(number)
    return groups


def type_as(tensor: Tensor, other: Tensor) -> Tensor:
    """Do as Tensor.type_as: take the other's dtype and device."""
    return move.to(tensor, device_of(other), other.dtype)


ATTRIBUTES = {
    "device": property(device_of),
    "is_cuda": property(is_cuda),
    "is_cpu": property(is_cpu),
    "grad": property(_grad.__get__, set_grad, _grad.__delete__),
    "to": move.overridable(move.to),
    "cuda": move.overridable(move.cuda),
    "cpu": move.overridable(move.cpu),
    "copy_": move.overridable(move.copy_),
    "get_device": move.overridable(get_device),
    "numpy": move.overridable(numpy),
    "tolist": move.overridable(tolist),
    "apply_": move.overridable(apply_),
    "map_": move.overridable(map_),
    "map2_": move.overridable(map2_),
    "type": move.overridable(type_),
    "type_as": move.overridable(type_as),
    "pin_memory": move.overridable(pin_memory),
    "is_pinned": move.overridable(is_pinned),
}
# What a lazy module's parameters may be asked before they have a shape.
OF_LAZY = ("to", "cuda", "cpu", "copy_", "get_device")


def install(machine: Machine) -> None:
    """Replace Tensor's attributes that tell or decide its device."""
    patches = machine.patches
    patches.add("torch.UntypedStorage._simulated_card", None)
    patches.add("torch.UntypedStorage._simulated_pinned", False)
    for name, value in ATTRIBUTES.items():
        patches.replace(f"torch.Tensor.{name}", value)
    patches.replace("torch.get_device", ATTRIBUTES["get_device"])
    asked = [ATTRIBUTES[name] for name in OF_LAZY]
    patches.wrap(
        "torch.nn.parameter.UninitializedTensorMixin._allowed_methods", lambda allowed: [*allowed, *asked]
    )
    patches.replace("torch._C._group_tensors_by_device_and_dtype", group_by_device_and_dtype)


__all__ = ["install", "state"]
