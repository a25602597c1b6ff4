"""A script, read and not run: is CUDA_VISIBLE_DEVICES set too late, does it ask for what is not here, is a file in its way?"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from devicelab import shadow
from devicelab.errors import InputError

from .finding import Finding, names, with_variable
from .flow import steps
from .machine import Machine

VARIABLE = "CUDA_VISIBLE_DEVICES"
MOST_LINES = 4  # of one fault, as evidence
SETTERS = ("update", "setdefault", "putenv", "setenv")
# Calls of torch.cuda that only note what is to be done once CUDA starts.
LAZY = (
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "torch.cuda.amp.autocast",
    "torch.cuda.is_initialized",
)


def check(path: Path) -> None:
    """Raise InputError if a script cannot be read, before anything else is looked at."""
    _parsed(path)


def read_script(path: Path, m: Machine) -> list[Finding]:
    """Return what is wrong with a script on this machine; raises InputError if it cannot be read."""
    tree = _parsed(path)
    looks = (_shadowed(path, m), _late(path, tree, m), _absent(path, tree, m), _hard_coded(path, tree, m))
    return [found for found in looks if found]


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), path.name)  # bytes: a first line may name their encoding
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path.name} cannot be read as a Python script: {error}") from None


def _late(path: Path, tree: ast.Module, m: Machine) -> Finding | None:
    order = list(steps(tree))
    set_at = next((at for at, step in enumerate(order) if _sets(step.node)), None)
    used_at = next((at for at, step in enumerate(order) if _uses_cuda(step.node)), None)
    if set_at is None or used_at is None or used_at >= set_at:
        return None
    used, late = order[used_at], order[set_at]
    changes = "may change" if used.perhaps or late.perhaps else "changes"
    sentence = f"{path.name} sets {VARIABLE} after it has used CUDA: it {changes} nothing any more."
    evidence = (
        f"line {used.line} uses CUDA: {ast.unparse(used.node).splitlines()[0]}",
        f"line {late.line} sets {VARIABLE}",
    )
    command = with_variable(m, VARIABLE, _value(late.node), f"python {path.name}")
    return Finding("set too late", sentence, evidence, command, blocking=False)


def _sets(node: ast.AST) -> bool:
    """Whether a statement gives the variable a value, by an assignment or by a call such as os.environ.update."""
    for part in ast.walk(node):
        if isinstance(part, ast.Assign) and any(VARIABLE in ast.unparse(target) for target in part.targets):
            return True
        if isinstance(part, ast.Call) and VARIABLE in ast.unparse(part):
            called = ast.unparse(part.func).rpartition(".")[2]
            if called in SETTERS:
                return True
    return False


def _value(node: ast.AST) -> str:
    constants = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    given = [str(value) for value in constants if value != VARIABLE]
    return given[-1] if given else "0"


def _uses_cuda(node: ast.AST) -> bool:
    """Whether running the statement starts CUDA."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            called = ast.unparse(part.func)
            words = [argument.value for argument in ast.walk(part) if isinstance(argument, ast.Constant)]
            on_cuda = any(isinstance(word, str) and word.startswith("cuda") for word in words)
            if called.startswith("torch.cuda.") and called not in LAZY:
                return True
            if called.endswith(".cuda") or (on_cuda and called not in ("torch.device", "print")):
                return True
    return False


def _absent(path: Path, tree: ast.Module, m: Machine) -> Finding | None:
    """A card that the script names by its number and that this machine does not have."""
    chosen = next((_value(step.node) for step in steps(tree) if _sets(step.node)), None)
    listed = [word for word in (chosen or "").split(",") if word.strip().isdigit()]
    there, real = len(listed) or len(m.gpus), len(m.smi_gpus) or len(m.gpus)
    if not real:
        return None
    wrong = [(node, number, there) for node, number in _numbers(tree) if number >= there]
    by_variable = chosen is not None and bool(listed) and int(listed[0]) >= real
    if by_variable:
        step = next(step for step in steps(tree) if _sets(step.node))
        wrong.insert(0, (step.node, int(listed[0]), real))
    if not wrong:
        return None
    node, number, count = wrong[0]
    cards = "is only 1 card" if count == 1 else f"are only {count} cards"
    sentence = f"{path.name} asks for card {number}, and there {cards} here, counted from 0."
    line = getattr(node, "lineno", 0)
    lines = [f"line {getattr(one, 'lineno', 0)}: {ast.unparse(one).splitlines()[0]}" for one, *_ in wrong]
    more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    evidence = (*lines[:MOST_LINES], *more, f"torch sees {names(m.gpus) or 'none'}")
    mended = (
        f'os.environ["{VARIABLE}"] = "0"    # in line '
        if by_variable
        else 'torch.device("cuda")    # in line '
    )
    return Finding("no such card", sentence, evidence, f"{mended}{line}", blocking=False)


def _numbers(tree: ast.Module) -> Iterator[tuple[ast.AST, int]]:
    """Yield the numbers of cards that a script names: "cuda:1", .cuda(1), torch.device("cuda", 1), device_ids=[0, 1]."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            kind, _, number = node.value.partition(":")
            if kind == "cuda" and number.isdigit():
                yield node, int(number)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.endswith((".cuda", "cuda.set_device", "cuda.device", "torch.device")):
                yield from ((node, value) for value in _integers(node.args))
            for keyword in node.keywords:
                if keyword.arg in ("device_ids", "output_device", "gpus"):
                    yield from ((node, value) for value in _integers(_items(keyword.value)))


def _items(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, (ast.List, ast.Tuple)) else []


def _integers(nodes: list[ast.expr]) -> list[int]:
    values = [node.value for node in nodes if isinstance(node, ast.Constant)]
    return [value for value in values if isinstance(value, int) and not isinstance(value, bool)]


# What a script says that asks first: "cuda" is not written into it for good then.
_ASKS = re.compile(r"is_available|device_count|current_accelerator|is_built|get_device_capability")


def _hard_coded(path: Path, tree: ast.Module, m: Machine) -> Finding | None:
    """A script that asks for CUDA without asking whether it is there, where torch can use none."""
    if m.available or m.torch is None or m.simulated or _ASKS.search(ast.unparse(tree)):
        return None
    node = next((node for node in ast.walk(tree) if _asks_for_cuda(node)), None)
    if node is None:
        return None
    sentence = f"{path.name} asks for cuda in any case, and torch can use no such GPU here."
    evidence = (
        f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node).splitlines()[0]}",
        "torch.cuda.is_available() is False",
    )
    device = "mps" if m.mps_available else "cpu"
    mended = (
        f'device = "cuda" if torch.cuda.is_available() else "{device}"    # then device in place of "cuda"'
    )
    return Finding("hard-coded cuda", sentence, evidence, mended, blocking=False)


def _asks_for_cuda(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and re.fullmatch(r"cuda(:\d+)?", node.value) is not None
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func)
    return called.endswith((".cuda", "cuda.set_device"))


def _shadowed(path: Path, m: Machine) -> Finding | None:
    """A file or package beside the script that Python takes for a module of the same name, which torch or the script imports."""
    python = {name for name in sys.stdlib_module_names if name in sys.modules} - set(sys.builtin_module_names)
    packages = [one.parent for one in path.parent.glob("*/__init__.py")]
    beside = sorted(
        one for one in (*path.parent.glob("*.py"), *packages) if one.stem in shadow.SHADOWS | python
    )
    if not beside:
        return None
    other = beside[0]
    sentence = shadow.sentence(other, path.name)
    evidence = ("the folder of the script comes first when Python looks for a module",)
    return Finding("shadowed", sentence, evidence, shadow.rename(other, m.system), blocking=False)
