"""Explain the text of an error: what can be told from the words and the lines alone."""

import ast
import re
from dataclasses import dataclass, replace
from itertools import takewhile

from devicelab.source import USER, name_of, whose_elsewhere

from .frames import Frame
from .others import from_catalogue, other_family
from .reading import MISMATCH, Reading, read
from .result import Explanation

# Each begins with words, or with the beginning of a word, that its own repetitions cannot contain: so the time that a search
# takes grows as the line does, and not faster.
_FRAMES = (
    re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?'),
    re.compile(r"File (?P<file>\S+?):(?P<line>\d+), in (?P<function>.+)"),
    re.compile(r"(?P<file>Cell In\s*\[\d+\]), line (?P<line>\d+)"),
    re.compile(r"(?P<file><ipython-input-[^\s<>]+>) in (?P<function>.+)"),
    re.compile(r"(?<!\S)(?P<file>\S+\.py) in (?P<function>.+)"),
    re.compile(r"(?P<file>your code), line (?P<line>\d+)"),
)
_ARROW = re.compile(r"-+> ?(?P<line>\d+) ?(?P<code>.*)")
MOST_CODE = 1_000  # letters of a line that is looked into; nobody types more

# What an operator's argument is in the learner's terms: the argument that the message calls so.
_ROLES = {
    "matrix product": {"mat1": "the input of the layer", "mat2": "the weight of the layer", "self": "the bias of the layer",
                       "mat": "the matrix on the left", "vec": "the vector", "tensor": "the vector on the right"},
    "nll_loss": {"target": "the labels", "weight": "the class weights of the loss", "self": "the output of the model"},
    "index_select": {"index": "the indices", "self": "the table that is indexed (an embedding's weight)"},
    "batch_norm": {"weight": "the weight of the batch norm layer", "running_mean": "the running mean of the batch norm layer"},
    "layer_norm": {"weight": "the weight of the layer norm layer"},
    "convolution": {"weight": "the weight of the convolution", "input": "the input of the convolution"},
}  # fmt: skip
# Where the others are the wrong ones: who the others are.
_REST = {
    "matrix product": "the layer",
    "convolution": "the layer",
    "index_select": "the embedding",
    "nll_loss": "the output of the model",
    "batch_norm": "the input",
}


@dataclass(frozen=True)
class Line:
    """A line of the learner's in a pasted traceback."""

    number: int | None
    file: str
    code: str


def from_text(text: str, frames: list[Frame] | None = None) -> Explanation:
    """Explain a pasted traceback or a message alone; `frames` are given where the error itself was there."""
    reading = read(text)
    if reading is None and (known := from_catalogue(text)) is not None:
        line = last_own_line(text) or _of_frames(frames or [])
        return replace(known, line=line.number, file=line.file, code=line.code) if line else known
    if reading is None:
        what = "This text is not an error about devices that devicelab knows."
        return Explanation(
            "unknown", what, why="paste the whole traceback, its last line included", seen=False
        )
    line = last_own_line(text) or _of_frames(frames or [])
    if reading.family in (MISMATCH, "gradient"):
        return _mismatch(reading, line)
    found = other_family(frames or [], reading)
    return found if line is None or found.line else _placed(found, line)


def _of_frames(frames: list[Frame]) -> Line | None:
    own = [frame for frame in frames if frame.is_learners]
    return Line(own[-1].line, own[-1].file, own[-1].code) if own else None


def _placed(found: Explanation, line: Line) -> Explanation:
    return Explanation(
        found.kind,
        found.what,
        found.culprit,
        found.why,
        found.fix,
        line.number,
        line.file,
        line.code,
        seen=False,
    )


def last_own_line(text: str) -> Line | None:
    """Return the innermost line of a traceback's text that is not a library's; Python's and IPython's forms, old and new."""
    lines = text.splitlines()
    after = len(lines)  # where the next frame begins
    for number in range(len(lines) - 1, -1, -1):
        match = _frame(lines[number])
        if match is None:
            continue
        if whose_elsewhere(match["file"]) == USER:
            return _line(match, lines[number + 1 : after])
        after = number
    return None


def _frame(line: str) -> re.Match[str] | None:
    """Return what a line says of a frame, if it begins one."""
    if "line " not in line and " in " not in line:
        return None
    return next((match for pattern in _FRAMES if (match := pattern.search(line))), None)


def _line(match: re.Match[str], block: list[str]) -> Line:
    """Return the line that a frame means: its arrow's, where there is one above the first empty line, else the one below."""
    place = match.groupdict().get("line")
    code = block[0].strip() if block else ""
    for text in takewhile(str.strip, block):
        if arrow := _ARROW.match(text.strip()):
            place, code = arrow["line"], arrow["code"].strip()
            break
    return Line(int(place) if place and len(place) < 10 else None, _file(match["file"]), code)


def _file(path: str) -> str:
    cell = re.match(r"Cell In\s*\[(\d+)\]", path)
    return f"cell [{cell[1]}]" if cell else name_of(path)


def _mismatch(reading: Reading, line: Line | None) -> Explanation:
    """Say who stayed behind as far as the message allows: whatever is on the CPU, be it the blamed one or the others."""
    target, wrong = (*reading.devices, "", "")[:2]
    culprit, role = _culprit(reading, wrong, line)
    what = f"{role[0].upper()}{role[1:]} is on {wrong}, but {target} is needed here."
    if not wrong:
        what = "Tensors on different devices met; the message does not say which."
    elif not wrong.startswith(("cpu", "meta")):
        culprit, role, what = (
            None,
            "",
            f"Tensors on {target} and {wrong} met; a text does not tell which one is right.",
        )
    blames = ""
    if reading.blames and reading.argument_device == target and wrong == "cpu":
        blames = (
            f"it names {reading.argument}, which is on {target} as it should be; look at what is on the CPU"
        )
    fix = None
    if culprit:
        device = f'"{target.partition(":")[0]}"' if target else "device"
        fix = f"{culprit} = {culprit}.to({device})"
    return Explanation(
        reading.family, what, culprit or (role if wrong else None) or None,
        "an operation computes on one device; whatever was not moved there stays where it was made",
        fix or "print(lab.placement(model, optimizer, batch))",
        line.number if line else None, line.file if line else None, line.code if line else "",
        blames=blames, seen=False,
    )  # fmt: skip


def _culprit(reading: Reading, wrong: str, line: Line | None) -> tuple[str | None, str]:
    """Return the learner's name, where the line shows only one that it can be, and what it is in words."""
    blamed = reading.argument if reading.argument_device == wrong else None
    role = _role(reading, blamed)
    call = _call(line.code) if line else None
    if call is None:
        return None, role
    function, arguments = call
    if blamed in ("mat1", "input", "index", "target") and arguments:
        name = arguments[-1] if blamed == "target" else arguments[0]
        return name, f"{name}, {role},"
    if blamed is None and reading.argument in ("mat1", "input", "index") and function:
        return function, f"{function}, {role},"
    return None, role


def _role(reading: Reading, blamed: str | None) -> str:
    if blamed:
        return _ROLES.get(reading.operator or "", {}).get(blamed, f"the argument {blamed}")
    if reading.argument:
        return _REST.get(reading.operator or "", f"what meets {reading.argument}")
    return "one of the tensors in this line"


def _call(code: str) -> tuple[str, list[str]] | None:
    """Return function and plain-name arguments of the last call in a line, or None."""
    if len(code) > MOST_CODE or code.startswith(("for", "with", "if")):
        return None
    try:
        calls = [node for node in ast.walk(ast.parse(code.rstrip(":"))) if isinstance(node, ast.Call)]
        if len(calls) != 1 or "." in ast.unparse(calls[0].func).removeprefix("self."):
            return None
        names = [
            ast.unparse(argument)
            for argument in calls[0].args
            if isinstance(argument, (ast.Name, ast.Attribute, ast.Subscript))
        ]
        return ast.unparse(calls[0].func), names
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # no Python, or nested too deeply
        return None
