"""One line to type for data: a tensor in a variable or a container, or one that a line makes itself."""

import ast
import re
from collections.abc import Mapping

import torch

from devicelab.reach import is_a

from .culprit import Scene, is_move
from .history import brought_back, dropped_move, last_assignment, own_nodes
from .names import Named, View, name_of
from .operands import CPU_MAKERS, ENDED, FACTORIES, Operand, given_device, has_ended
from .sources import atom, suffixed
from .verdict import Verdict, before, beside, device_text, instead, line_of


def data(scene: Scene, named: Named, device: str, where: str) -> Verdict:
    """A tensor in a variable or in a container of the learner's."""
    name = named.text
    dropped = dropped_move(named.view, name, scene.target)
    if dropped:
        at = line_of(scene, named.view.frame, dropped[0])
        why = f"{at}, {dropped[1]}, makes a copy and drops it: .to() returns a new tensor, it moves none"
        return Verdict(name, why, f"{name} = {dropped[1]}", _in_place(named.view, dropped, at))
    ended = has_ended(named.tensor)
    made = last_assignment(named.view, name) if name.isidentifier() and not ended else None
    if isinstance(made, ast.Call) and _is_factory(made, named.view):
        at = line_of(scene, named.view.frame, made.lineno)
        why = f"{at} makes it {_without_device(made)}, which means the CPU"
        return Verdict(
            name,
            why,
            f"{name} = {_with_device(made, scene, named.view, device)}",
            _in_place(named.view, (made.lineno, f"{name} = {ast.unparse(made)}"), at),
        )
    back = brought_back(named.view, name)
    if back:
        at = line_of(scene, named.view.frame, back[0])
        place = _in_place(named.view, (back[0], f"{name} = {suffixed(back[1], '.cpu()')}"), at)
        return Verdict(name, f"{at} brings it back to the CPU", f"{name} = {back[1]}", place)
    they = "they are" if len(scene.culprits) > 1 else "it is"
    why = ENDED if ended else f"{they} on {where}, and {company(scene)}"
    if _only_in_place(named):
        return Verdict(name, why, suffixed(name, f".to({beside(scene, device)})"), instead(scene, name))
    if re.fullmatch(r"[\w.]+", name):
        why += _together(named.view, named, where)
        return Verdict(name, why, f"{name} = {name}.to({device})", before(scene, named.view))
    return Verdict(name, why, _container_fix(named, device), before(scene, named.view))


def _in_place(view: View, statement: tuple[int, str], at: str) -> str:
    """Return what is to be replaced: the line, or the statement alone where the line holds others too."""
    line, text = statement
    alone = sum(one.lineno == line for one in view.frame.syntax.statements) < 2
    return f"in place of {at}" if alone else f"in place of {text} in {at}"


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


def company(scene: Scene) -> str:
    """Say who is where the rest should be."""
    others = [one for one in scene.met if one.device == scene.target]
    return (
        f"{_own_name(scene, others[0])} is on {scene.target}" if others else f"the rest is on {scene.target}"
    )


def _own_name(scene: Scene, operand: Operand) -> str:
    if operand.tensor is None or operand.made:
        return operand.text
    named = name_of(operand.tensor, scene.views)
    return named.text if named else "the other tensor"


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


def _is_factory(call: ast.Call, view: View) -> bool:
    """Whether a call makes a tensor of torch's without a device, or with one that is None."""
    module, _, name = ast.unparse(call.func).rpartition(".")
    names = view.frame.frame.f_globals | view.variables
    return module == "torch" and name in FACTORIES and given_device(call, names) is None


def _without_device(call: ast.Call) -> str:
    given = next((word.value for word in call.keywords if word.arg == "device"), None)
    if given is None:
        return "without a device"
    text = ast.unparse(given)
    return "with device=None" if text == "None" else f"with device={text}, and {text} is None"


def _with_device(call: ast.Call, scene: Scene, view: View, device: str) -> str:
    """Return the factory's call with a device: that of a tensor beside it where there is one, so that it works everywhere."""
    where = beside(scene, device, view)
    call = ast.Call(call.func, call.args, [word for word in call.keywords if word.arg != "device"])
    text = ast.unparse(call)
    if isinstance(call.func, ast.Attribute) and call.func.attr in CPU_MAKERS:
        return f"{text}.to({where})"
    return f"{text[:-1]}{', ' if call.args or call.keywords else ''}device={where})"


def _set_anew(scene: Scene, operand: Operand) -> str | None:
    """Return the learner's name that held the operand when the error came, and holds another tensor of that shape now."""
    if not scene.views or scene.view is scene.views[0]:
        return None
    same = [one for one in scene.views[0].operands if one.shape == operand.shape and not one.made]
    return same[0].text if same else None


def nameless(scene: Scene, operand: Operand) -> Verdict:
    """A tensor that the failing expression makes itself, or one that nobody holds any more."""
    view = scene.views[0] if scene.views else scene.view
    assert view is not None
    device = device_text(view, scene.target)
    if operand is not scene.made_here and (other := _set_anew(scene, operand)):
        why = f"it was on {operand.device} when the error came; the name holds another tensor now"
        return Verdict(other, why, f"{other} = {other}.to({device})", before(scene, view))
    made = _made_module(scene, view)
    if made is not None:
        why = "it is made in this line, and nothing moves it"
        return Verdict(made, why, f"{made}.to({device})", instead(scene, made))
    call, text = operand.node, operand.text
    if isinstance(call, ast.Call) and _is_factory(call, scene.view or view):
        why = f"it is made in this line {_without_device(call)}, which means the CPU"
        return Verdict(text, why, _with_device(call, scene, view, device), instead(scene, text))
    if (
        operand.made_by("cpu", "to", "cuda")
        and isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
    ):
        inner = atom(ast.unparse(call.func.value))
        return Verdict(text, f"this line moves {inner} to {operand.device}", inner, instead(scene, text))
    where = f".to({beside(scene, device, view)})"
    if view is not scene.view and not _is_said(text, view):  # a library's word for it
        given = _only_unknown(view)
        if given is None:
            why = f"it is made in this line, on {operand.device}, and {company(scene)}"
            return Verdict(
                "What this line hands on", why, where, f"behind what line {view.frame.line} hands on"
            )
        if isinstance(given, ast.Call) and _is_factory(given, view):
            why = f"it is made in this line {_without_device(given)}, which means the CPU"
            text = ast.unparse(given)
            return Verdict(text, why, _with_device(given, scene, view, device), instead(scene, text))
        text = ast.unparse(given)
    why = f"what it is computed from is on {operand.device}, and {company(scene)}"
    return Verdict(text, why, suffixed(text, where), instead(scene, text))


def _is_said(text: str, view: View) -> bool:
    """Whether the learner's line has these words."""
    words = rf"(?<!\w){re.escape(text)}(?!\w)"
    return re.search(words, view.frame.code) is not None or any(one.text == text for one in view.operands)


def _only_unknown(view: View) -> ast.expr | None:
    """Return the one argument of the failing call that no variable holds, as the learner wrote it."""
    node = view.frame.node
    call = node.value if isinstance(node, ast.Expr) else node  # a call alone has its statement's place
    if not isinstance(call, ast.Call):
        return None
    given = [*call.args, *(word.value for word in call.keywords)]
    if any(isinstance(one, ast.Starred) for one in given):
        return None
    known = (ast.Name, ast.Constant, ast.Attribute)
    unknown = [one for one in given if not isinstance(one, known) and not is_move(one)]
    if len(unknown) != 1 or isinstance(unknown[0], (ast.Tuple, ast.List, ast.Dict, ast.Set)):
        return None
    return unknown[0]


def _made_module(scene: Scene, view: View) -> str | None:
    """Return the expression that makes a module and calls it at once, where a library's line met its tensors."""
    if scene.view is view or view.frame.statement is None:
        return None
    calls = (one.func for one in ast.walk(view.frame.statement) if isinstance(one, ast.Call))
    return next((ast.unparse(one) for one in calls if isinstance(one, ast.Call) and not is_move(one)), None)


def _together(view: View, named: Named, where: str) -> str:
    """Say which tensors the same loop over batches brings in, and on the same device: they need the same move."""
    loops = (node.target for node in own_nodes(view) if isinstance(node, (ast.For, ast.AsyncFor)))
    brought = ([one.id for one in ast.walk(target) if isinstance(one, ast.Name)] for target in loops)
    names = next((some for some in brought if named.text in some), [])
    values = ((name, view.variables.get(name)) for name in names if name != named.text)
    others = [name for name, value in values if is_a(value, torch.Tensor) and str(value.device) == where]
    return "".join(f"; {one}, from the same loop, is on {where} too" for one in others)
