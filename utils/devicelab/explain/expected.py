"""A test's assertion about where something is: told by its source and by the frame, for its text may be no more than "False"."""

import ast
import re
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from devicelab.reach import is_a

from .frames import Frame, frames_of
from .operands import MISSING, device_of, look_up

_KINDS = {
    "is_cuda": "cuda",
    "is_cpu": "cpu",
    "is_mps": "mps",
    "is_xpu": "xpu",
    "is_meta": "meta",
}  # what a tensor is asked
_PASSING = (
    "str",
    "repr",
    "all",
    "any",
    "len",
    "set",
    "list",
    "tuple",
    "sorted",
    "next",
    "iter",
    "torch.device",
)
_PARTS = (ast.GeneratorExp, ast.ListComp, ast.SetComp)
_NAMED = re.compile(r"(?:cpu|meta|(?:cuda|mps|xpu)(?::\d+)?)")
_DEVICE = r"(?:device\(type='|')(?P<{0}>cuda|mps|xpu)(?:'\)|')(?![\w,])"
_NUMBERED = r"(?:device\(type='{0}', index=\d+\)|'{0}:\d+')"
NUMBER = '"{0}" without a number is not equal to "{0}:0": compare .type, or name the number'


def asserted_place(error: BaseException) -> str:
    """Return the failed assertion as it is written, if it is about where something is; "" for all else."""
    if not isinstance(error, AssertionError):
        return ""
    frame = _asserting(error)
    test = _tested(frame.statement) if frame is not None else None
    if frame is None or test is None:
        return ""
    judge = _Judge(frame, str(error))
    is_of_devices = any(judge.is_of_devices(part) and not judge.holds(part) for part in _conjuncts(test))
    if not is_of_devices:
        return ""
    written = ast.get_source_segment("\n".join(frame.source), test) if hasattr(test, "lineno") else None
    return " ".join((written or ast.unparse(test)).split())


def without_number(error: BaseException) -> str:
    """Return that "cuda" is not equal to "cuda:0", where a failed comparison is one of these two; "" for all else."""
    text = (str(error).strip().splitlines() or [""])[0]
    bare = re.search(_DEVICE.format("kind"), text)
    if not isinstance(error, AssertionError) or bare is None:
        return ""
    numbered = re.search(_NUMBERED.format(bare["kind"]), text)
    return NUMBER.format(bare["kind"]) if numbered and re.search(r" [!=]= ", text) else ""


def _asserting(error: BaseException) -> Frame | None:
    """Return the frame whose statement asserts: the innermost one, or a learner's that calls unittest's."""
    frames = frames_of(error)
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if not frames or last is None or frames[-1].frame is not last.tb_frame:
        return None
    if isinstance(frames[-1].statement, ast.Assert):
        return frames[-1]
    is_unittests = frames[-1].frame.f_globals.get("__name__") == "unittest.case"
    return next((one for one in reversed(frames) if one.is_learners), None) if is_unittests else None


def _tested(statement: ast.stmt | None) -> ast.expr | None:
    """Return what a statement asserts: `assert test`, and unittest's `self.assertEqual(one, other)`."""
    if isinstance(statement, ast.Assert):
        return statement.test
    call = statement.value if isinstance(statement, ast.Expr) else None
    name = call.func.attr if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else ""
    if not isinstance(call, ast.Call) or not name.startswith("assert") or not call.args:
        return None
    if name == "assertFalse":
        return ast.UnaryOp(ast.Not(), call.args[0])
    if name == "assertTrue" or len(call.args) < 2:
        return call.args[0]
    operator = {"assertEqual": ast.Eq, "assertNotEqual": ast.NotEq}.get(name, ast.Is)
    return ast.Compare(call.args[0], [operator()], [call.args[1]])


def _conjuncts(test: ast.expr) -> Iterator[ast.expr]:
    """Yield what must hold, or one of what must: a part that is known to hold is not what failed."""
    if isinstance(test, ast.BoolOp):
        for part in test.values:
            yield from _conjuncts(part)
    else:
        yield test


class _Judge:
    """Reads assertions in one frame, without running any of the learner's code."""

    def __init__(self, frame: Frame, text: str) -> None:
        self.names: Mapping[str, object] = dict(frame.frame.f_globals) | dict(frame.frame.f_locals)
        self.shows_device = "device(type='" in text  # pytest shows what the parts of an assertion were

    def is_of_devices(self, part: ast.expr) -> bool:
        """Whether a part of an assertion asks where something is; a device that is only handed on to a call does not count."""
        return self._asks(part, self.shows_device or any(map(self._is_torchs, ast.walk(part))))

    def _asks(self, node: ast.AST | None, torchs: bool) -> bool:
        if isinstance(node, ast.Attribute):
            return self._attribute_asks(node, torchs)
        if isinstance(node, ast.Call):
            passed = node.args if ast.unparse(node.func) in _PASSING else []
            return any(self._asks(one, torchs) for one in (node.func, *passed))
        if isinstance(node, ast.Compare):
            return any(self._asks(one, torchs) for one in (node.left, *node.comparators))
        if isinstance(node, ast.BoolOp):
            return any(self._asks(one, torchs) for one in node.values)
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            return any(self._asks(one, torchs) for one in node.elts)
        if isinstance(node, ast.UnaryOp):
            return self._asks(node.operand, torchs)
        if isinstance(node, _PARTS):
            return self._asks(node.elt, torchs)
        return isinstance(node, ast.Name) and isinstance(self.names.get(node.id), torch.device)

    def _attribute_asks(self, node: ast.Attribute, torchs: bool) -> bool:
        if node.attr in _KINDS or node.attr == "get_device":
            return True
        if node.attr != "device":
            return self._asks(node.value, torchs)
        owner = look_up(node.value, self.names)
        if is_a(owner, (torch.Tensor, nn.Module)) or isinstance(look_up(node, self.names), torch.device):
            return True
        return self.shows_device or (owner is MISSING and torchs)

    def _is_torchs(self, node: ast.AST) -> bool:
        """Whether a part of the source shows that the devices are torch's: "cuda:0", a tensor, a model."""
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str) and _NAMED.fullmatch(node.value) is not None
        value = look_up(node, self.names)
        return is_a(value, (torch.Tensor, nn.Module)) or isinstance(value, torch.device)

    def holds(self, part: ast.expr) -> bool:
        """Whether a part is known to hold; False where that cannot be told without running code."""
        if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not):
            return self._value(part.operand) is False
        if not isinstance(part, ast.Compare):
            return self._value(part) is True
        values = [self._value(one) for one in (part.left, *part.comparators)]
        if len(values) != 2 or any(one is MISSING for one in values):
            return False
        return {ast.Eq: values[0] == values[1], ast.NotEq: values[0] != values[1]}.get(
            type(part.ops[0]), False
        )

    def _value(self, node: ast.expr) -> object:
        """Return what an expression about devices is: a device, its name, kind or number, True or False, else MISSING."""
        if isinstance(node, ast.Call):
            return self._called(node)
        found = look_up(node, self.names)
        if found is not MISSING or not isinstance(node, ast.Attribute):
            return found if isinstance(found, (torch.device, str, int, bool)) else MISSING
        owner = look_up(node.value, self.names)
        if is_a(owner, torch.Tensor):
            device = device_of(owner)
            if node.attr == "device":
                return device
            return _KINDS[node.attr] == device.type if node.attr in _KINDS else MISSING
        found = self._value(node.value)
        is_part = isinstance(found, torch.device) and node.attr in ("type", "index")
        return getattr(found, node.attr) if is_part else MISSING

    def _called(self, call: ast.Call) -> object:
        name, given = ast.unparse(call.func), [self._value(one) for one in call.args]
        if name in ("str", "torch.device") and len(given) == 1 and isinstance(given[0], (torch.device, str)):
            return str(given[0]) if name == "str" else torch.device(given[0])
        owner = look_up(call.func.value, self.names) if isinstance(call.func, ast.Attribute) else MISSING
        if name.endswith(".get_device") and is_a(owner, torch.Tensor):
            device = device_of(owner)
            return -1 if device.type == "cpu" else device.index or 0
        return MISSING
