"""TorchScript's interpreter, which asks C++ where a tensor is and makes tensors of its own: both must know the card.

A scripted or traced function runs from a copy of its graph in which these questions go to the simulation: `x.device` and
its kin are answered by the marks, what the interpreter makes is nobody's to adopt, and a copy to the CPU is one.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch

from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine
from devicelab.simgpu.marks.marks import Adoptable, Device, Tensor, device_of, release, tag_of
from devicelab.simgpu.run.move import HOST

NAMESPACE = "devicelab_script"


def own(tensor: Tensor) -> None:
    """Make a tensor that the interpreter made the CPU's, unless it was made on a card."""
    if tag_of(tensor).__class__ is Adoptable:
        release(tensor)


def copied(tensor: Tensor, device: Any, dtype: Any, non_blocking: bool, copy: bool) -> Tensor:
    """Copy a tensor to a device."""
    return tensor.to(
        device_of(tensor) if device is None else device, dtype or tensor.dtype, non_blocking, copy
    )


ANSWERS: dict[str, Callable[..., Any]] = {
    "device(Tensor x) -> Device": lambda x: device_of(x),
    "is_cuda(Tensor x) -> bool": lambda x: device_of(x).type == "cuda",
    "is_cpu(Tensor x) -> bool": lambda x: device_of(x).type == "cpu",
    "get_device(Tensor x) -> int": lambda x: x.get_device(),
    "asked(Device device) -> Device": lambda device: HOST if device.type == "cpu" else device,
    "equal(Tensor x, Tensor y) -> bool": lambda x, y: torch.equal(x, y),
    "owned(Tensor(a!) x) -> ()": own,
    "to(Tensor(a) x, Device? device, ScalarType? dtype, bool non_blocking, bool copy) -> Tensor(b|a)": copied,
}
# What the interpreter asks of a tensor, and whose answer takes its place.
ASKED = {
    "prim::device": "device",
    "prim::is_cuda": "is_cuda",
    "prim::is_cpu": "is_cpu",
    "aten::get_device": "get_device",
    "aten::equal": "equal",  # C++ asks it as well, of constants
}
COPIES = ("aten::to", "aten::type_as", "aten::cpu", "aten::cuda")
FROM_NUMBERS = (
    "aten::tensor",
    "aten::as_tensor",
)  # which the interpreter makes by itself, and copies where C++ can
DEVICE, INT = torch._C.DeviceObjType.get(), torch._C.IntType.get()
_call = torch._C.ScriptFunction.__call__
_rewritten: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_library = torch.library.Library(NAMESPACE, "DEF")  # lives as long as the process
for _schema, _answer in ANSWERS.items():
    _library.define(_schema)
    for _key in ("Python", "CompositeImplicitAutograd"):  # the first: no dispatch mode is asked
        _library.impl(_schema.partition("(")[0], _answer, _key)


def nodes(block: Any) -> Iterator[Any]:
    """Yield all nodes of a graph, those of its branches, loops and forked functions too."""
    for node in list(block.nodes()):
        for inner in node.blocks():
            yield from nodes(inner)
        for name in node.attributeNames():
            if node.kindOf(name) == "g":
                yield from nodes(node.g(name))
        yield node  # last: who gets it may destroy it


def has_tensors(value: Any) -> bool:
    """Say whether a graph's value is a tensor, or holds tensors."""
    return "Tensor" in value.type().annotation_str


def rewrite(graph: Any) -> Any:
    """Let the simulation answer what the graph asks of its tensors' places."""
    for node in nodes(graph):
        kind, inputs = node.kind(), list(node.inputs())
        if kind in ASKED:
            answer = before(graph, node, f"{NAMESPACE}::{ASKED[kind]}", inputs, node.output().type())
            node.output().replaceAllUsesWith(answer)
            node.destroy()
        elif kind in COPIES or (kind in FROM_NUMBERS and has_tensors(inputs[0])):
            copy(graph, node, inputs)
        elif kind in FROM_NUMBERS:
            make(graph, node)
        elif kind.startswith("aten::") and not any(map(has_tensors, inputs)):
            for made in filter(has_tensors, node.outputs()):
                graph.create(f"{NAMESPACE}::owned", [made], 0).insertAfter(node)
        elif kind.startswith("aten::"):
            for number, value in enumerate(inputs):
                if value.type().kind() == "DeviceObjType":
                    node.replaceInput(number, before(graph, node, f"{NAMESPACE}::asked", [value], DEVICE))
    return graph


def before(graph: Any, node: Any, kind: str, inputs: list[Any], type_: Any) -> Any:
    """Put a new node before another one, and return its value."""
    new = graph.create(kind, inputs, 1)
    new.copyMetadata(node)
    new.insertBefore(node)
    new.output().setType(type_)
    return new.output()


def constant(graph: Any, node: Any, value: Any) -> Any:
    """Return a constant of the graph, for use in a node."""
    with graph.insert_point_guard(node):
        return graph.insertConstant(value)


def make(graph: Any, node: Any) -> None:
    """Have a tensor made of numbers on the CPU, and copied from there where it is wanted."""
    names = [argument.name for argument in torch._C.parse_schema(node.schema()).arguments]
    at = names.index("device")
    device, made = node.inputsAt(at), node.output()
    node.replaceInput(at, constant(graph, node, None))
    owned = graph.create(f"{NAMESPACE}::owned", [made], 0).insertAfter(node)
    with graph.insert_point_guard(owned):
        rest = [graph.insertConstant(value) for value in (None, False, False)]
    copied = graph.create(f"{NAMESPACE}::to", [made, device, *rest], 1).insertAfter(owned)
    copied.copyMetadata(node)
    copied.output().setType(made.type())
    made.replaceAllUsesAfterNodeWith(copied, copied.output())


def copy(graph: Any, node: Any, inputs: list[Any]) -> None:
    """Replace a copy by one that the simulation makes, if it is to another device."""
    names = [argument.name for argument in torch._C.parse_schema(node.schema()).arguments]
    given: dict[str, Any] = dict(zip(names, inputs, strict=True))
    if "other" in given:
        given["device"] = before(graph, node, f"{NAMESPACE}::device", [given["other"]], DEVICE)
        given["dtype"] = before(graph, node, "prim::dtype", [given["other"]], INT)
    elif node.kind() != "aten::to":
        given["device"] = constant(graph, node, Device(node.kind().removeprefix("aten::")))
    elif "device" not in given or given["device"].type().kind() == "NoneType":
        return
    values = [
        given[name] if name in given else constant(graph, node, default)
        for name, default in (("device", None), ("dtype", None), ("non_blocking", False), ("copy", False))
    ]
    new = before(graph, node, f"{NAMESPACE}::to", [inputs[0], *values], node.output().type())
    node.output().replaceAllUsesWith(new)
    node.destroy()


def calling(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a stand-in for the call of a scripted or traced function or method."""

    @functools.wraps(original)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        if state.current is None:
            return original(self, *args, **kwargs)
        schema = self.schema.arguments
        receiver = [self.owner] if isinstance(self, torch._C.ScriptMethod) else []
        given = (
            dict(zip([argument.name for argument in schema[len(receiver) :]], args, strict=False)) | kwargs
        )
        given = {a.name: a.default_value for a in schema if a.has_default_value()} | given
        names = [argument.name for argument in schema[len(receiver) :]]
        if len(args) > len(names) or set(given) != set(names):
            return original(self, *args, **kwargs)  # which says what is wrong
        with told(state.current.mode):
            return _call(rewritten(self), *receiver, *(given[name] for name in names))

    return __call__


@contextmanager
def told(mode: Any) -> Iterator[None]:
    """Give the interpreter's error its last words, which it loses where Python raised them."""
    mode.refused = ""
    try:
        yield
    except RuntimeError as error:
        if mode.refused and str(error).rstrip().endswith("Error:"):
            raise type(error)(f"{str(error).rstrip()} {mode.refused}\n") from None
        raise


def rewritten(function: Any) -> Any:
    """Return a function that runs the rewritten graph, made at the first call."""
    if function not in _rewritten:
        with torch._C._DisableTorchDispatch():  # C++ compares a graph's constants
            graph = rewrite(function.inlined_graph)
            _rewritten[function] = torch._C._create_function_from_graph(function.name, graph)
    return _rewritten[function]


def install(machine: Machine) -> None:
    """Stand between Python and the interpreter."""
    machine.patches.wrap("torch._C.ScriptFunction.__call__", calling)
    machine.patches.wrap("torch._C.ScriptMethod.__call__", calling)
