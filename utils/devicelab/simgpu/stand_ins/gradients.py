"""Gradients elsewhere than their tensor, which autograd's engine refuses (torch/csrc/autograd/engine.cpp, validate_outputs).

The engine sees CPU tensors only, so its check is made here: where a backward pass begins, and where a Python function
or a hook hands its gradients back. A 0-dim gradient is moved instead.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from inspect import getattr_static
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction, Function
from torch.autograd.graph import GradientEdge

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks.marks import device_of as place
from devicelab.simgpu.rules.refusals import legacy_type, refuse

Tensor = torch.Tensor


def validated(gradients: Iterable[Any], devices: Sequence[torch.device | None], who: str = "") -> list[Any]:
    """Return the gradients, 0-dim ones moved to the devices that are expected; refuse the others."""
    found = list(gradients)
    for number, (gradient, device) in enumerate(zip(found, devices, strict=False)):
        if not isinstance(gradient, Tensor) or device is None or place(gradient) == device:
            continue
        if gradient.dim() > 0:
            refuse(
                f"{who}invalid gradient at index {number} - expected device {device} but got {place(gradient)}"
            )
        found[number] = gradient.to(device)
    return found


def places(values: Iterable[Any]) -> list[torch.device | None]:
    """Return the device of each value, that of its tensor for a gradient edge, None for what is no tensor."""
    return [place(value) if isinstance(value, Tensor) else getattr(value, "device", None) for value in values]


class Edge(GradientEdge):
    """A gradient edge that knows where its tensor is, which its node does not say."""

    device: torch.device


def edge_of(original: Callable[..., GradientEdge]) -> Callable[..., GradientEdge]:
    """Return a stand-in for get_gradient_edge."""

    @functools.wraps(original)
    def get_gradient_edge(tensor: Tensor) -> GradientEdge:
        edge = Edge(*original(tensor))
        edge.device = place(tensor)
        return edge

    return get_gradient_edge


def making(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for autograd's `_make_grads`, which prepares the first gradients."""

    @functools.wraps(original)
    def make_grads(outputs: Any, *args: Any, **kwargs: Any) -> Any:
        return tuple(validated(original(outputs, *args, **kwargs), places(outputs)))

    return make_grads


def applying(original: Any) -> Any:
    """Return a stand-in for Function.apply that remembers where the inputs were.

    `original` is a class method: Python's until PyTorch 2.13, a built-in one from 2.14 on.
    """

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        out = original.__get__(None, cls)(*args, **kwargs)
        if state.current is not None:
            for item in out if isinstance(out, (list, tuple)) else (out,):
                node = getattr(item, "grad_fn", None)
                if isinstance(node, BackwardCFunction):
                    node._simulated_inputs = places(args)  # type: ignore[attr-defined]
        return out

    return classmethod(functools.wraps(Function.apply)(apply))


def handing_back(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for the method by which a Python function's backward hands its gradients to the engine."""

    @functools.wraps(original)
    def apply(self: Any, *args: Any) -> Any:
        out = original(self, *args)
        devices = getattr(self, "_simulated_inputs", None)
        if devices is None or state.current is None:
            return out
        who = f"Function {self.name()} returned an "
        checked = validated(out if isinstance(out, tuple) else (out,), devices, who)
        return tuple(checked) if isinstance(out, tuple) else checked[0]

    return apply


def keeping(hook: Callable[..., Any], name: str, given: int = 0) -> Callable[..., Any]:
    """Return a hook that may not hand back a gradient of another type or kind of device; `given`: the argument to compare with.

    torch/csrc/autograd/python_hook.cpp and custom_function.cpp, check_variable_result.
    """

    @functools.wraps(hook)
    def checked(*args: Any) -> Any:
        out = hook(*args)
        for was, now in zip(*(as_tuple(value) for value in (args[given], out)), strict=False):
            if isinstance(was, Tensor) and isinstance(now, Tensor) and was.layout == now.layout:
                kinds = [legacy_type(tensor, place(tensor)) for tensor in (was, now)]
                if kinds[0] != kinds[1]:
                    refuse(f"hook '{name}' has changed the type of value (was {kinds[0]} got {kinds[1]})")
        return out

    checked.__name__ = name  # C++ says it where something else changes
    return checked


def as_tuple(value: Any) -> tuple[Any, ...]:
    """Return the gradients of a hook, which may be one alone."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def hooking(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for Tensor.register_hook."""

    @functools.wraps(original)
    def register_hook(tensor: Tensor, hook: Callable[..., Any]) -> Any:
        return original(tensor, keeping(hook, getattr(hook, "__name__", "<unknown>")))

    return register_hook


def hooking_modules(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for what a module's full backward hooks and pre-hooks, of whatever name, are called by."""

    @functools.wraps(original)
    def init(self: Any, module: Any, hooks: Any, pre_hooks: Any) -> None:
        hooks, pre_hooks = ([keeping(hook, "hook", 1) for hook in each] for each in (hooks, pre_hooks))
        original(self, module, hooks, pre_hooks)

    return init


def install(machine: Machine) -> None:
    """Put the checks in their places."""
    patches = machine.patches
    patches.wrap("torch.Tensor.register_hook", hooking)
    patches.wrap("torch.utils.hooks.BackwardHook.__init__", hooking_modules)
    patches.wrap("torch.autograd._make_grads", making)
    patches.everywhere("torch.autograd.graph.get_gradient_edge", edge_of)
    if patches.has("torch.autograd.function.Function.apply"):
        patches.replace("torch.autograd.function.Function.apply", applying(getattr_static(Function, "apply")))
    patches.wrap("torch.autograd.function.BackwardCFunction.apply", handing_back)
