"""Who stayed behind: judged by where the tensors are, not by what the message says."""

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeGuard

import torch
from torch import nn

from devicelab.reach import is_a

from .history import last_assignment
from .names import Named, View, name_of
from .operands import Operand, device_of, look_up
from .reading import Reading

MOST_NODES = 10_000  # of an autograd graph


@dataclass
class Scene:
    """The place of a mismatch: the tensors that met, where they should be, and who stayed behind."""

    met: list[Operand]
    target: torch.device
    stayed: list[Operand]
    views: list[View]  # the learner's frames, innermost first
    culprits: list[Named] = field(default_factory=list)
    modules: list[tuple[str, nn.Module, View]] = field(
        default_factory=list
    )  # modules that stayed behind as a whole
    view: View | None = None  # where the tensors met

    @property
    def between_cards(self) -> bool:
        """Whether all that met lies on cards: then what a model computed is to move, for the model may be split on purpose."""
        kinds = {one.device.type for one in self.met} | {self.target.type}
        return len(kinds) == 1 and not kinds & {"cpu", "meta"}

    @property
    def made_here(self) -> Operand | None:
        """The nameless tensor that the learner's line makes itself, on the wrong device."""
        wrong = {one.device for one in self.stayed}
        found = (one for view in self.views[:1] for one in view.operands if one.made and one.device in wrong)
        return next((one for one in found if self.between_cards or not one.made_by_module), None)


def look(views: list[View], reading: Reading) -> Scene | None:
    """Find the innermost frame in which tensors of different devices meet, and who of them stayed behind."""
    learners = [view for view in views if view.frame.is_learners]
    for view in views:
        met = view.operands
        if len({one.device for one in met}) > 1:
            target = target_of(met, learners)
            stayed = _stayed(met, target)
            scene = Scene(met, target, stayed, learners, view=view)
            _name_culprits(scene)
            return scene
        if view.frame.is_learners and view is learners[0] and met:
            break
    return _by_reach(learners, reading)


def target_of(met: list[Operand], views: list[View]) -> torch.device:
    """Return where the rest should be: the accelerator; between two, the one that holds the parameters."""
    accelerators = [one for one in met if one.device.type not in ("cpu", "meta")]
    parameters = [one for one in accelerators if isinstance(one.tensor, nn.Parameter) and not one.made]
    real = [one for one in met if one.device.type != "meta"]
    return (parameters or accelerators or real or met)[0].device


def _stayed(met: list[Operand], target: torch.device) -> list[Operand]:
    """Return those elsewhere; a CPU scalar is to blame only when nothing else is."""
    elsewhere = [one for one in met if one.device != target]
    whole = [one for one in elsewhere if one.tensor is None or one.tensor.dim() > 0]
    return whole or elsewhere


def _name_culprits(scene: Scene) -> None:
    """Put the learner's names to those that stayed behind: leaves behind an intermediate result, else the tensor itself."""
    seen: set[tuple[int, str]] = set()
    for operand in scene.stayed:
        if operand.tensor is None or operand.made_by("to", "cuda", "cpu"):
            continue
        if scene.between_cards and operand.made and isinstance(operand.tensor, nn.Parameter):
            continue  # what the line computes from a parameter is to move, not the parameter
        sources = [] if scene.between_cards else leaves(operand.tensor)
        behind = [leaf for leaf in sources if device_of(leaf) == operand.device]
        for tensor in behind or [operand.tensor]:
            _name_one(scene, tensor, operand.device, seen)
    if not scene.culprits and not scene.modules and not scene.made_here:
        _all_mentioned(scene)
    _gather_modules(scene)


def _name_one(scene: Scene, tensor: torch.Tensor, device: torch.device, seen: set[tuple[int, str]]) -> None:
    named = name_of(tensor, scene.views)
    is_result = named is not None and named.kind == "tensor" and not scene.between_cards
    module = _made_by_module(named, scene, device) if named is not None and is_result else None
    if module:
        scene.modules.append(module)
    elif named is not None and (key := (id(named.tensor), named.text)) not in seen:
        seen.add(key)
        scene.culprits.append(named)


def _all_mentioned(scene: Scene) -> None:
    """Nobody can be named: blame whatever the learner's line mentions, does not move itself, and is not on the target."""
    for view in scene.views[:1]:
        found = [
            named
            for named in view.tensors
            if named.root in view.mentioned and device_of(named.tensor) != scene.target and not named.expected
        ]
        said, moved = _said_in(view)
        roots = {
            named.root for named in found if named.text in said
        }  # of these an element is named, not the whole
        scene.culprits += [
            named
            for named in found
            if (named.text in said or named.root not in roots) and named.text not in moved
        ]
    scene.culprits.sort(key=lambda named: named.kind == "tensor")


def _said_in(view: View) -> tuple[set[str], set[str]]:
    """Return the expressions of the learner's statement, and those of them that it only uses to move them."""
    nodes = list(ast.walk(view.frame.statement)) if view.frame.statement else []
    said = [ast.unparse(node) for node in nodes if isinstance(node, ast.expr)]
    moved = [
        ast.unparse(node.func.value)
        for node in nodes
        if is_move(node) and isinstance(node.func, ast.Attribute)
    ]
    return set(said), {text for text in moved if said.count(text) == moved.count(text)}


def is_move(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether an expression moves what stands before it: x.to(device), x.cuda()."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("to", "cuda")
    )


def leaves(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the parameters that a result was computed from, as autograd noted them."""
    found: list[torch.Tensor] = []
    todo, seen = [tensor.grad_fn], set[object]()
    while todo and len(seen) < MOST_NODES:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.append(variable)
        todo += [following for following, _ in node.next_functions]
    return found


def _made_by_module(named: Named, scene: Scene, device: torch.device) -> tuple[str, nn.Module, View] | None:
    """Return the module whose call made an intermediate result, if the module itself stayed behind."""
    call = last_assignment(named.view, named.text) if named.text.isidentifier() else None
    if not isinstance(call, ast.Call):
        return None
    module = look_up(call.func, named.view.variables)
    if not is_a(module, nn.Module) or _whole(module)[0] != device:
        return None
    return _module_name(module, scene.views) or (ast.unparse(call.func), module, named.view)


def _module_name(module: nn.Module, views: Iterable[View]) -> tuple[str, nn.Module, View] | None:
    """Return the outermost of the simplest names of a module."""
    found = [
        (name, view)
        for view in reversed(list(views))
        for name, part in view.submodules.items()
        if part is module
    ]
    best = min(found, key=lambda pair: pair[0].count("["), default=None)
    return (best[0], module, best[1]) if best else None


def _gather_modules(scene: Scene) -> None:
    """Name a module instead of its tensors where all of them stayed behind."""
    rest: list[Named] = []
    known = {id(module) for _, module, _ in scene.modules}
    whole: dict[
        int, tuple[torch.device | None, int]
    ] = {}  # by the module's id: it is asked for each of its tensors
    for named in scene.culprits:
        found = _largest_module(named, whole) if named.kind in ("parameter", "buffer") else None
        if found is None:
            rest.append(named)
        elif id(found[1]) not in known:
            known.add(id(found[1]))
            scene.modules.append(found)
    scene.culprits = rest


def _largest_module(
    named: Named, whole: dict[int, tuple[torch.device | None, int]]
) -> tuple[str, nn.Module, View] | None:
    """Return the outermost module around a tensor that is as a whole where the tensor is; more than one tensor of it."""
    device = device_of(named.tensor)
    for end in (dot.start() for dot in re.finditer(r"\.", named.text)):
        name = named.text[:end]
        part = named.view.submodules.get(name)
        if part is None:
            continue
        if id(part) not in whole:
            whole[id(part)] = _whole(part)
        where, tensors = whole[id(part)]
        # a layer is named for its tensors, unless it has a single one under that very name
        if where == device and (tensors > 1 or "." in named.text.removeprefix(name + ".")):
            return name, part, named.view
    return None


def _whole(module: nn.Module) -> tuple[torch.device | None, int]:
    """Return where a module is as a whole, None where it is nowhere or in several places, and how many tensors it has."""
    tensors = [*module.parameters(), *module.buffers()]
    devices = {device_of(tensor) for tensor in tensors}
    return devices.pop() if len(devices) == 1 else None, len(tensors)


def _by_reach(views: list[View], reading: Reading) -> Scene | None:
    """Where the operands cannot be seen (a backward pass, compiled code), judge all that the failing line's names lead to."""
    for view in views:
        named = [one for one in view.tensors if one.root in view.mentioned and not one.expected]
        operands = [Operand(one.text, device_of(one.tensor), one.tensor) for one in named]
        if len({one.device for one in operands}) > 1:
            target = target_of(operands, views)
            stayed = _stayed(operands, target)
            scene = Scene(operands, target, stayed, views, view=view)
            scene.culprits = [
                one for one in named if device_of(one.tensor) != target and one.tensor.dim() > 0
            ]
            _gather_modules(scene)
            return scene
    return None
