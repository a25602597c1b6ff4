"""One line to type for what stayed behind: a module, or a tensor of one, of an optimizer, or in the learner's data."""

import ast
import re
from dataclasses import replace

import torch
from torch import nn

from devicelab.reach import is_a

from .came_back import came_back
from .culprit import Scene
from .data_fix import company, data, nameless
from .frames import Frame
from .history import made_at
from .names import Named, View
from .operands import ENDED, device_of, has_ended
from .sources import suffixed
from .verdict import Verdict, before, beside, device_text, instead, library_text, line_of

NO_VALUES = (
    "a tensor on the meta device has a shape but no values; it must be made, or loaded, on a real device"
)


MOST_FIXES = 4  # that are worked out; of more, the names


def verdict(scene: Scene) -> Verdict | None:
    """Return the verdict on a scene, or None where nobody can be named."""
    if scene.modules or scene.culprits:
        return _of_each(scene)
    unnamed = (one for one in scene.stayed if one.node is not None or one.tensor is None)
    made = scene.made_here or next(unnamed, None)
    return nameless(scene, made) if made else None


def _of_each(scene: Scene) -> Verdict:
    """Return the verdict on the first that stayed behind, with the names and fixes of the others."""
    names = [name for name, _, _ in scene.modules] + [named.text for named in scene.culprits]
    found = [_module(scene, *one) for one in scene.modules[:MOST_FIXES]]
    found += [_tensor(scene, one) for one in scene.culprits[: MOST_FIXES - len(found)]]
    first, kept = found[0], [found[0]]
    kept += [one for one in found[1:] if (one.fix, one.at) not in {(other.fix, other.at) for other in kept}]
    beside = [
        one for one in dict.fromkeys(kept) if one.at == first.at and one.at.startswith(("before ", "after "))
    ]
    same = [one.fix for one in beside] or [first.fix]
    also = tuple(one.fix + (f"    ({one.at})" if one.at else "") for one in kept[1:] if one not in beside)
    return replace(first, others=tuple(names[1:]), fix="; ".join(dict.fromkeys(same)), also=also)


def _module(scene: Scene, name: str, module: nn.Module, view: View) -> Verdict:
    device = device_text(view, scene.target)
    root = name.partition(".")[0]
    owner = view.variables.get(root)
    whole = root if is_a(owner, nn.Module) and not (root == "self" and not view.is_method_of_module) else name
    if root == "self" and not is_a(owner, nn.Module):
        whole = _outermost_module(view, name)
    kind = "buffers" if not list(module.parameters()) else "parameters"
    if _wrong(scene) == "meta":
        return Verdict(name, NO_VALUES, f"{whole}.to_empty(device={device}); {whole}.load_state_dict(state)")
    why = f"its {kind} are on {_wrong(scene)}; moving the data does not move them"
    ended = any(map(has_ended, (*module.parameters(), *module.buffers())))
    returned = None if ended else _returned(scene, name, whole, view)
    if returned is not None:
        return returned
    if ended:
        why = ENDED
    elif kind == "buffers":
        why = f"its buffers are on {_wrong(scene)}: {_never(whole)}"
        return Verdict(name, why, f"{whole}.to({device})", _after_made(view, whole))
    return Verdict(name, why, f"{whole}.to({device})", "after the model is made, before the optimizer")


def _returned(scene: Scene, name: str, whole: str, view: View) -> Verdict | None:
    """A module that a line of the learner's brought back to the CPU."""
    module, device = view.submodules.get(whole), device_text(view, scene.target)
    back = came_back(name, module, view) if module is not None and _wrong(scene) == "cpu" else None
    if back is None:
        return None
    at, text = back.spot.place(view.frame.path), ast.unparse(back.call)
    if back.assigns:
        why = f"{at}, {text}, puts the loaded tensors, which are on the CPU, in place of the module's own"
        fix = re.sub(r",? ?assign=True", "", ast.unparse(back.spot.statement))
        return Verdict(name, why, fix, f"in place of {at}")
    why = f"{at}, {text}, moves it to the CPU: a module is moved itself, and stays there"
    return Verdict(name, why, f"{whole}.to({device})", before(scene, view))


def _outermost_module(view: View, name: str) -> str:
    roots = [root for root, _ in view.modules if name == root or name.startswith(root + ".")]
    return min(roots, key=len, default=name)


def _wrong(scene: Scene) -> str:
    return str(next((one.device for one in scene.stayed), "another device"))


def _tensor(scene: Scene, named: Named) -> Verdict:
    kind, device = named.kind, device_text(named.view, scene.target)
    where = str(device_of(named.tensor))
    if where == "meta":
        library = library_text(named.view.frame.frame.f_globals, torch)
        fix = f"{named.text} = {library}.zeros_like({named.text}, device={device})"
        return Verdict(named.text, NO_VALUES, fix)
    if kind == "optimizer state":
        root = _optimizer_root(named)
        why = "this state was made while its parameter was there; moving the model moves no optimizer state"
        return Verdict(
            named.text, why, f"{root}.load_state_dict({root}.state_dict())", "after the model was moved"
        )
    if "cannot reach" in kind or kind.startswith("inside the attribute"):
        return _hidden(scene, named, device)
    if kind == "attribute":
        return _attribute(scene, named)
    if kind in ("parameter", "buffer"):
        return _single(scene, named, device, where)
    return data(scene, named, device, where)


def _optimizer_root(named: Named) -> str:
    return re.split(r"\.(?:state|param_groups)\[", named.text)[0]


def _single(scene: Scene, named: Named, device: str, where: str) -> Verdict:
    root = _outermost_module(named.view, named.text)
    if root == named.text:
        return Verdict(named.text, f"it is on {where}, and {company(scene)}", f"{root} = {root}.to({device})")
    owner = named.view.submodules.get(root)
    returned = _returned(scene, named.text, root, named.view)
    if returned is not None:
        return returned
    tensors = [*owner.parameters(), *owner.buffers()] if owner is not None else []
    if tensors and all(str(device_of(tensor)) == where for tensor in tensors):
        why = f"this {named.kind} of {root} is on {where}: {_never(root)}"
        return Verdict(named.text, why, f"{root}.to({device})", _after_made(named.view, root))
    why = (
        f"this {named.kind} is on {where}, the rest of {root} is not: it was made or replaced after the move"
    )
    return Verdict(named.text, why, f"{root}.to({device})", _after_made(named.view, named.text))


def _never(root: str) -> str:
    return f"{root} was never moved; a loss or a metric can hold tensors, as a model does"


def _after_made(view: View, name: str) -> str:
    """Say behind which line to type what concerns a module: the last one that made it, or what it is a part of."""
    line = made_at(view, name)
    return f"after line {line}" if line else f"after the line that made {name}"


def _attribute(scene: Scene, named: Named) -> Verdict:
    """A plain attribute: a buffer moves with its module."""
    owner, _, name = named.text.rpartition(".")
    why = f"{name} is a plain attribute of {owner}: .to() moves parameters and buffers, nothing else"
    module = named.view.submodules.get(owner)
    me, _ = _called_in(module)
    found = _set_in_class(scene, module, name)
    if found:
        frame, line, value = found
        fix = f'{me}.register_buffer("{name}", {value})'
        return Verdict(named.text, why, fix, f"in place of {line_of(scene, frame, line)}")
    fix = f'{me}.register_buffer("{name}", {me}.{name})'
    return Verdict(named.text, why, fix, f"in __init__, instead of {me}.{name} = ...")


def _called_in(owner: nn.Module | None) -> tuple[str, str]:
    """Return how a module's own `__init__` calls itself and torch.nn."""
    made = getattr(type(owner), "__init__", None)
    code = getattr(made, "__code__", None)
    if owner is None or made is None or code is None or made is nn.Module.__init__ or not code.co_argcount:
        return "self", "torch.nn"
    return code.co_varnames[0], library_text(made.__globals__, nn)


def _set_in_class(scene: Scene, owner: nn.Module | None, name: str) -> tuple[Frame, int, str] | None:
    """Find `self.name = value` in the owner's class, in any file that the traceback leads through."""
    me, _ = _called_in(owner)
    classes = {kind.__name__ for kind in type(owner).__mro__} if owner is not None else set()
    for view in scene.views:
        for kind in ast.walk(view.frame.tree) if view.frame.tree else ():
            if isinstance(kind, ast.ClassDef) and kind.name in classes:
                for node in ast.walk(kind):
                    if isinstance(node, ast.Assign) and f"{me}.{name}" in map(ast.unparse, node.targets):
                        return view.frame, node.lineno, ast.unparse(node.value)
    return None


def _hidden(scene: Scene, named: Named, device: str) -> Verdict:
    """Something in a list or dict that .to() does not look into."""
    found = re.match(r"(?P<owner>.*)\.(?P<name>\w+)\[", named.text)
    name = found["name"] if found else named.text.rpartition(".")[2]
    owner = found["owner"] if found else named.text.rpartition(".")[0]
    why = f"{name} is a plain Python container in {owner}: .to() does not look inside"
    is_dict = re.search(rf"\.{name}\['", named.text) is not None
    if "cannot reach" in named.kind or isinstance(named.tensor, nn.Parameter):
        kind = ("Module" if "cannot reach" in named.kind else "Parameter") + ("Dict" if is_dict else "List")
        me, library = _called_in(named.view.submodules.get(owner))
        fix = f"{me}.{name} = {library}.{kind}({me}.{name})"
        return Verdict(named.text, why, fix, "at the end of __init__")
    used = next((one.text for one in scene.stayed if one.node is not None), named.text)
    return Verdict(named.text, why, suffixed(used, f".to({beside(scene, device)})"), instead(scene, used))
