"""One line to type for what stayed behind."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from .culprit import Scene, last_assignment
from .names import Named, View
from .operands import CPU_MAKERS, FACTORIES, Operand, device_of

NO_VALUES = (
    "a tensor on the meta device has a shape but no values; it must be made, or loaded, on a real device"
)


@dataclass(frozen=True)
class Verdict:
    """The culprit in words: its name, why it stayed behind, what to type and where."""

    culprit: str
    why: str
    fix: str
    at: str = ""
    others: tuple[str, ...] = ()  # stayed behind too, and need the same


def verdict(scene: Scene) -> Verdict | None:
    """Return the verdict on a scene, or None where nobody can be named."""
    if scene.modules:
        return _module(scene)
    if scene.culprits:
        others = tuple(named.text for named in scene.culprits[1:])
        return replace(_tensor(scene, scene.culprits[0]), others=others)
    nameless = [one for one in scene.stayed if one.node is not None or one.tensor is None]
    made = scene.made_here or next(iter(nameless), None)
    return _nameless(scene, made) if made else None


def device_text(view: View, target: torch.device) -> str:
    """Return how the learner would write the target: a variable that holds it, else its name in quotes."""
    everything = view.frame.frame.f_globals | view.variables
    for name, value in sorted(everything.items(), key=lambda pair: pair[0] != "device"):
        if isinstance(value, (torch.device, str)) and not name.startswith("_") and _means(value, target):
            return name
    return f'"{target.type}"' if target.index in (None, 0) else f'"{target}"'


def _means(value: torch.device | str, target: torch.device) -> bool:
    if isinstance(value, str) and not re.fullmatch(r"cuda|mps|xpu|(cuda|xpu):\d+", value):
        return False
    device = torch.device(value)
    return device.type == target.type and (device.index or 0) == (target.index or 0)


def _module(scene: Scene) -> Verdict:
    name, module, view = scene.modules[0]
    device = device_text(view, scene.target)
    others = tuple(other for other, _, _ in scene.modules[1:])
    others += tuple(one.text for one in scene.culprits)
    root = name.partition(".")[0]
    owner = view.variables.get(root)
    whole = (
        root
        if isinstance(owner, nn.Module) and not (root == "self" and not view.is_method_of_module)
        else name
    )
    if root == "self" and not isinstance(owner, nn.Module):
        whole = _outermost_module(view, name)
    kind = "buffers" if not list(module.parameters()) else "parameters"
    if _wrong(scene) == "meta":
        return Verdict(
            name, NO_VALUES, f"{whole}.to_empty(device={device}); {whole}.load_state_dict(state)", "", others
        )
    why = f"its {kind} are on {_wrong(scene)}; moving the data does not move them"
    return Verdict(
        name, why, f"{whole}.to({device})", "after the model is made, before the optimizer", others
    )


def _outermost_module(view: View, name: str) -> str:
    roots = [root for root, _ in view.modules if name == root or name.startswith(root + ".")]
    return min(roots, key=len, default=name)


def _wrong(scene: Scene) -> str:
    return str(next((one.device for one in scene.stayed), "another device"))


def _tensor(scene: Scene, named: Named) -> Verdict:
    kind, device = named.kind, device_text(named.view, scene.target)
    where = str(device_of(named.tensor))
    if where == "meta":
        return Verdict(
            named.text, NO_VALUES, f"{named.text} = torch.zeros_like({named.text}, device={device})"
        )
    if kind == "optimizer state":
        root = _optimizer_root(named)
        why = "this state was made while its parameter was there; moving the model moves no optimizer state"
        return Verdict(
            named.text, why, f"{root}.load_state_dict({root}.state_dict())", "after the model was moved"
        )
    if "cannot reach" in kind or kind.startswith("inside the attribute"):
        return _hidden(scene, named, device)
    if kind == "attribute":
        return _attribute(named, device)
    if kind in ("parameter", "buffer"):
        return _single(named, device, where)
    return _data(scene, named, device, where)


def _optimizer_root(named: Named) -> str:
    return re.split(r"\.(?:state|param_groups)\[", named.text)[0]


def _single(named: Named, device: str, where: str) -> Verdict:
    root = _outermost_module(named.view, named.text)
    if root == named.text:
        return Verdict(named.text, f"it is on {where}", f"{root} = {root}.to({device})")
    why = (
        f"this {named.kind} is on {where}, the rest of {root} is not: it was made or replaced after the move"
    )
    return Verdict(named.text, why, f"{root}.to({device})", "after it was made")


def _attribute(named: Named, device: str) -> Verdict:
    """A plain attribute: a buffer moves with its module."""
    owner, _, name = named.text.rpartition(".")
    why = f"{name} is a plain attribute of {owner}: .to() moves parameters and buffers, nothing else"
    fix = f'self.register_buffer("{name}", ...)'
    line, value = _set_in_init(named, name)
    if value:
        return Verdict(
            named.text, why, f'self.register_buffer("{name}", {value})', f"in place of line {line}"
        )
    return Verdict(
        named.text, why, fix.replace("...", f"self.{name}"), f"in __init__, instead of self.{name} = ..."
    )


def _set_in_init(named: Named, name: str) -> tuple[int, str | None]:
    """Find `self.name = value` in the source that the learner's frame shows."""
    tree = named.view.frame.tree
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if (
                    isinstance(target, ast.Attribute)
                    and target.attr == name
                    and ast.unparse(target.value) == "self"
                ):
                    return node.lineno, ast.unparse(node.value)
    return 0, None


def _hidden(scene: Scene, named: Named, device: str) -> Verdict:
    """Something in a list or dict that .to() does not look into."""
    found = re.match(r"(?P<owner>.*)\.(?P<name>\w+)\[", named.text)
    name = found["name"] if found else named.text.rpartition(".")[2]
    owner = found["owner"] if found else named.text.rpartition(".")[0]
    why = f"{name} is a plain Python container in {owner}: .to() does not look inside"
    if "cannot reach" in named.kind:
        holder = "nn.ModuleDict" if re.search(rf"\.{name}\['", named.text) else "nn.ModuleList"
        return Verdict(named.text, why, f"self.{name} = {holder}(self.{name})", "at the end of __init__")
    if isinstance(named.tensor, nn.Parameter):
        return Verdict(
            named.text, why, f"self.{name} = nn.ParameterList(self.{name})", "at the end of __init__"
        )
    used = next((one.text for one in scene.stayed if one.node is not None), named.text)
    return Verdict(named.text, why, f"{used}.to({_beside(scene, device)})", _instead(scene, used))


def _data(scene: Scene, named: Named, device: str, where: str) -> Verdict:
    """A tensor in a variable or in a container of the learner's."""
    name = named.text
    dropped = _dropped_move(named)
    if dropped:
        why = f"line {dropped[0]}, {dropped[1]}, makes a copy and drops it: .to() returns a new tensor, it moves none"
        return Verdict(name, why, f"{name} = {dropped[1]}", f"in place of line {dropped[0]}")
    made = last_assignment(named.view, name) if name.isidentifier() else None
    if isinstance(made, ast.Call) and _is_factory(made):
        why = f"line {made.lineno} makes it without a device, which means the CPU"
        return Verdict(
            name,
            why,
            f"{name} = {_with_device(made, scene, named.view, device)}",
            f"in place of line {made.lineno}",
        )
    why = f"it is on {where} and was never moved; {_company(scene)}"
    if _only_in_place(named):
        return Verdict(name, why, f"{name}.to({_beside(scene, device)})", _instead(scene, name))
    if re.fullmatch(r"[\w.]+", name):
        return Verdict(name, why, f"{name} = {name}.to({device})", _before(named.view))
    return Verdict(name, why, _container_fix(named, device), _before(named.view))


def _only_in_place(named: Named) -> bool:
    """Whether the name cannot be set before the line: it is a global, a variable of an outer function, or of a comprehension."""
    view, root = named.view, named.root
    if not view.is_own(root) and not view.is_argument(root):
        return True
    statement = view.frame.statement
    inside = (
        [node for node in ast.walk(statement) if isinstance(node, (ast.comprehension, ast.Lambda))]
        if statement
        else []
    )
    targets = [node.target if isinstance(node, ast.comprehension) else node.args for node in inside]
    set_there = {
        getattr(node, "id", getattr(node, "arg", "")) for target in targets for node in ast.walk(target)
    }
    return root in set_there


def _company(scene: Scene) -> str:
    others = [one for one in scene.met if one.device == scene.target]
    return (
        f"{_own_name(scene, others[0])} is on {scene.target}" if others else f"the rest is on {scene.target}"
    )


def _own_name(scene: Scene, operand: Operand) -> str:
    from .names import name_of

    if operand.tensor is None or operand.made:
        return operand.text
    named = name_of(operand.tensor, scene.views)
    return named.text if named else "the other tensor"


def _before(view: View) -> str:
    return f"before line {view.frame.line}"


def _instead(scene: Scene, text: str) -> str:
    line = (
        scene.view.frame.line
        if scene.view and scene.view.frame.owner == "learner"
        else scene.views[0].frame.line
    )
    return f"in place of {text} in line {line}"


def _container_fix(named: Named, device: str) -> str:
    """Move a whole container where its other tensors would stay behind, else the one element."""
    root, owner = named.root, named.owner
    if isinstance(owner, Mapping) and hasattr(owner, "to"):
        return f"{root} = {root}.to({device})"
    if isinstance(owner, Mapping) and re.fullmatch(r"\w+\[[^\]]+\]", named.text):
        text = named.text.replace("'", '"')
        return f"{text} = {text}.to({device})"
    if isinstance(owner, tuple) and not hasattr(owner, "_fields"):
        return f"{root} = tuple(t.to({device}) for t in {root})"
    if isinstance(owner, list):
        return f"{root} = [t.to({device}) for t in {root}]"
    return f"{named.text} = {named.text}.to({device})"


def _dropped_move(named: Named) -> tuple[int, str] | None:
    """Find a line such as `x.to(device)` whose result nobody keeps."""
    tree = named.view.frame.tree
    for node in ast.walk(tree) if tree else ():
        if (
            not isinstance(node, ast.Expr)
            or not isinstance(node.value, ast.Call)
            or node.lineno >= named.view.frame.line
        ):
            continue
        call = node.value.func
        if (
            isinstance(call, ast.Attribute)
            and call.attr in ("to", "cuda")
            and _same_text(call.value, named.text)
        ):
            return node.lineno, ast.unparse(node.value)
    return None


def _same_text(node: ast.AST, text: str) -> bool:
    return ast.unparse(node).replace('"', "'") == text.replace('"', "'")


def _is_factory(call: ast.Call) -> bool:
    module, _, name = ast.unparse(call.func).rpartition(".")
    return module == "torch" and name in FACTORIES and not any(word.arg == "device" for word in call.keywords)


def _with_device(call: ast.Call, scene: Scene, view: View, device: str) -> str:
    """Return the factory's call with a device: that of a tensor beside it where there is one, so that it works everywhere."""
    where = _beside(scene, device, view)
    text = ast.unparse(call)
    if isinstance(call.func, ast.Attribute) and call.func.attr in CPU_MAKERS:
        return f"{text}.to({where})"
    return f"{text[:-1]}{', ' if call.args or call.keywords else ''}device={where})"


def _beside(scene: Scene, device: str, view: View | None = None) -> str:
    """Return "x.device" where the function was given a tensor x that is on the target, so that the line works everywhere."""
    view = view or next(iter(scene.views), None)
    if view is None:
        return device
    for name, value in view.variables.items():
        if isinstance(value, torch.Tensor) and device_of(value) == scene.target and view.is_argument(name):
            return f"{name}.device"
    return device


def _set_anew(scene: Scene, operand: Operand) -> str | None:
    """Return the learner's name that held the operand when the error came, and holds another tensor of that shape now."""
    if not scene.views or scene.view is scene.views[0]:
        return None
    same = [one for one in scene.views[0].operands if one.shape == operand.shape and not one.made]
    return same[0].text if same else None


def _nameless(scene: Scene, operand: Operand) -> Verdict:
    """A tensor that the failing expression makes itself, or one that nobody holds any more."""
    view = scene.views[0] if scene.views else scene.view
    assert view is not None
    device = device_text(view, scene.target)
    if operand is not scene.made_here and (other := _set_anew(scene, operand)):
        why = f"it was on {operand.device} when the error came; the name holds another tensor now"
        return Verdict(other, why, f"{other} = {other}.to({device})", _before(view))
    call, text = operand.node, operand.text
    if isinstance(call, ast.Call) and _is_factory(call):
        why = "it is made in this line without a device, which means the CPU"
        return Verdict(text, why, _with_device(call, scene, view, device), _instead(scene, text))
    if (
        operand.made_by("cpu", "to", "cuda")
        and isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
    ):
        inner = ast.unparse(call.func.value)
        return Verdict(text, f"this line moves {inner} to {operand.device}", inner, _instead(scene, text))
    fix = f"{text}.to({_beside(scene, device, view)})"
    return Verdict(text, f"it is on {operand.device}", fix, _instead(scene, text))
