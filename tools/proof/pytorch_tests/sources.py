"""Copies of PyTorch's tests in which other backends' device names are `cuda` again."""

import ast
import re
from pathlib import Path

OTHERS = ("xpu", "npu", "privateuse1")
NAMES = re.compile(rf"\b(is_)?({'|'.join(OTHERS)})\b")
# Modules that only the other backend has.
IMPORTS = re.compile(r"^\s*(import torch_npu(\.testing)?|from torch_npu[\w.]* import .*)\n", re.MULTILINE)
# The other backends' halves of names in torch.testing; the tests' own (`dtypesIfXPU`) do nothing on CUDA.
ONLY = {
    "onlyPRIVATEUSE1": "onlyCUDA",
    "dtypesIfPRIVATEUSE1": "dtypesIfCUDA",
    "onlyXPU": "onlyCUDA",
    "TEST_PRIVATEUSE1": "TEST_CUDA",
}
WITH_DATA = {".expect"}


def copy(folder: Path, into: Path) -> list[Path]:
    """Copy a folder's Python files and expected outputs, device names put back; return the copied test files."""
    tests = []
    for path in sorted(folder.rglob("*")):
        target = into / path.relative_to(folder)
        if path.suffix not in {".py", *WITH_DATA} or not path.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".py":
            target.write_text(cuda_again(path.read_text(encoding="utf-8")), encoding="utf-8")
            if path.name.startswith("test_"):
                tests.append(target)
        else:
            target.write_bytes(path.read_bytes())
    return tests


def cuda_again(text: str) -> str:
    """Return a test file's text with the other backends' names replaced, and nothing else changed."""
    if not any(other in text.lower() for other in OTHERS):
        return text
    text = re.sub(r"\btorch_npu\b", "torch", IMPORTS.sub("", without_doubles(text)))
    for old, new in ONLY.items():
        text = re.sub(rf"\b{old}\b", new, text)
    return NAMES.sub(r"\1cuda", text)


def without_doubles(text: str) -> str:
    """Drop the entry `"xpu": ...` of a dict that has one for "cuda": renamed, it would take its place."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text  # the test's own fault: Python will say so
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    raw = b"".join(lines)
    gone = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Dict):
            continue
        names = {key.value: (key, value) for key, value in zip(node.keys, node.values, strict=True)
                 if isinstance(key, ast.Constant)}  # fmt: skip
        for other in OTHERS:
            if "cuda" in names and other in names:
                key, value = names[other]
                gone.append((starts[key.lineno - 1] + key.col_offset,
                             starts[(value.end_lineno or 0) - 1] + (value.end_col_offset or 0)))  # fmt: skip
    for begin, end in sorted(gone, reverse=True):
        comma = re.compile(rb"\s*,").match(raw, end)
        raw = raw[:begin] + raw[comma.end() if comma else end :]
    return raw.decode()
