"""A pasted text taken apart into the exceptions that it tells of: their names, messages, frames, and how one led to the next."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from .lines import HEADER, STAMP, Line, streams_of, without_stamp
from .told import Link, TextFrame, Told

MOST_LINE = 4_000  # letters of a line in which a frame or a name is looked for
_MOST_CODE_LINES = 60  # below a frame
_MOST_MESSAGE_LINES = 60
_MOST_PROSE = 2_000  # letters of a sentence

# Each begins with words, or with the beginning of a word, that its own repetitions cannot contain: so the time that a search
# takes grows as the line does, and not faster.
_FRAMES = (
    re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?'),
    re.compile(r"File (?P<file>.+?):(?P<line>\d+),? in (?P<function>.+)"),
    re.compile(r"(?P<file>Cell In\s*\[\d+\]), line (?P<line>\d+)"),
    re.compile(r"(?P<file><ipython-input-[^\s<>]+>) in (?P<function>.+)"),
    re.compile(r"(?P<file>\S+\.py) in (?P<function>.+)"),
    re.compile(r"(?P<file>Input In\s*\[\d+\]),? in (?P<function>.+)"),
    re.compile(r"(?P<file>\S+\.ipynb Cell \d+)'? (?:line \d+ )?in (?P<function>.+)"),
    re.compile(r"(?P<file>\S+\.py):(?P<line>\d+) in (?P<function>\S+)$"),  # rich
    re.compile(r"(?P<file>in) (?P<function>[\w<>.]+):(?P<line>\d+)$"),  # rich in a notebook
    re.compile(r"(?P<file>\S+\.py)\((?P<line>\d+)\): (?P<function>[\w<>.]+)$"),  # TorchScript's original code
    re.compile(r"(?P<file>your code), line (?P<line>\d+)"),
)
_PYTEST = re.compile(r"^(?P<file>[^\s:]+\.py):(?P<line>\d+): ?(?:in )?(?P<function>[\w<>.]*)$")
_ARROW = re.compile(r"(?:-*>|❱) ?(?P<line>\d+) ?(?P<code>.*)")
_NUMBERED = re.compile(r"(?:(?:-*>|❱) ?)?\d+ ")  # a notebook's line of source, which may hold anything
_TYPED = re.compile(r"^(?P<name>[A-Za-z_][\w.]{0,200}(?:\(\w{1,80}\))?)(?::(?: (?P<message>.*))?)?$")
_ERROR = re.compile(
    r"^(?P<name>[A-Za-z_][\w.]{0,200}?(?:Error|Exception|Interrupt|Warning|Exit|StopIteration|ExceptionGroup|Failure)\w{0,60}"
    r"(?:\(\w{1,80}\))?)(?:: ?(?P<message>.*))?$"
)
_IN_PROSE = re.compile(r"(?<![\w.])(?P<name>[A-Za-z_][\w.]{0,80}(?:Error|Exception)): (?P<message>(?=\S))")
_NAME_ABOVE = re.compile(r"(?P<name>[A-Za-z_][\w.]{0,200})\s{2,}Traceback \(most")
# What a line must hold to say anything, where no traceback is open.
_TELLING = re.compile(
    r"Traceback|above exception|Error|Exception|Interrupt|Warning|Exit|StopIter|Failure|\+-|\.py|line \d|\bin |^ *-*>|^E  "
)
_CHAINED: tuple[tuple[str, Link], ...] = (
    ("The above exception was the direct cause of the following exception", "cause"),
    ("During handling of the above exception, another exception occurred", "context"),
)
_PASSING = ("Exception ignored in", "Error in atexit", "Error in sys.excepthook", "--- Logging error ---")
_MEMBER = re.compile(r"^[\s|+]*\+-+(?P<number> (?:\d+|\.\.\.) -+)?\s*$")
_DRAWN = re.compile(r"^\s*[|+](?: |$)")
_LOGGED = re.compile(
    r"[IWEF]\d{4} |\[[WIEF]\d|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)[:\s]|wandb: |\d{1,3}%\||Set TORCH|Set the env"
    r"|={5}|```|\S+\.py:\d+: \w+Warning"
)


def told_in(text: str) -> list[Told]:
    """Return the exceptions of a text in the order in which they stand there, those of one rank or process together."""
    found = [_Parser(lines).told() for lines in streams_of(text) if lines]
    return [one for _, part in sorted((part[0].number, part) for part in found if part) for one in part]


@dataclass
class _Open:
    """A frame, or an exception, whose lines are still being read."""

    match: re.Match[str] | None = None
    indent: int = 0
    lines: list[str] = field(default_factory=list)


class _Parser:
    """Reads the lines of one stream from top to bottom, each once."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.found: list[Told] = []
        self._reset("", 0)

    def _reset(self, link: Link, number: int, headed: bool = False, name: str = "") -> None:
        self.frames: list[TextFrame] = []
        self.open: _Open | None = None  # a frame
        self.name, self.message = name, list[str]()
        self.in_message = self.blank = False
        self.link, self.number, self.headed = link, number, headed
        self.passing = False
        self.script: list[str] | None = None
        self.base = 0
        self.path = ""  # a box's path that is continued on the next line
        self.pytest_code = ""

    def told(self) -> list[Told]:
        """Return the exceptions."""
        for number, line in self.lines:
            text = line[:MOST_LINE].rstrip()
            if not text:
                self._empty()
            elif not self._is_fresh() or self.link or _TELLING.search(text):
                self._line(text, number)
        self._close()
        return self.found

    def _empty(self) -> None:
        self.blank = True
        if self.open is not None and self.open.lines:
            self._close_frame()

    def _line(self, text: str, number: int) -> None:
        if HEADER[:9] in text and self._header(text, number):
            return
        inner = _DRAWN.sub("", text) if text.lstrip()[:1] in ("|", "+") else text
        member = _MEMBER.match(text) if "+-" in text else None
        if member is not None:
            self._close()
            self._reset("member" if member["number"] else "", number)
            return
        link = next((link for words, link in _CHAINED if words in inner), None)
        if link is not None:
            self._close()
            self._reset(link, number)
            return
        if inner.lstrip().startswith(_PASSING):
            self._close()
            self._reset("", number)
            self.passing = True
            return
        match = self._frame(inner)
        if match is not None:
            self._begin_frame(match, inner, number)
        elif self.in_message:
            self._more(inner, number)
        elif self.frames or self.open or self.headed or self.name:
            self._below_frames(inner, number)
        else:
            self._outside(inner, number)

    def _header(self, text: str, number: int) -> bool:
        """Begin a traceback."""
        at = text.find("Traceback (most recent call last)")
        script = "Traceback of TorchScript" in text and "(most recent call last)" in text
        if at < 0 and not script:
            return False
        if script:
            self._script(text, number)
            return True
        named = _NAME_ABOVE.search(text[: at + 20][-260:]) if at > 0 else None
        link: Link = "inside" if self.in_message and not self.blank else ""
        passing = False
        if self._is_fresh():
            link, passing = self.link, self.passing
        self._close()
        self._reset(link, number, True, named["name"] if named else "")
        self.passing = passing
        return True

    def _script(self, text: str, number: int) -> None:
        """Begin a part of TorchScript's traceback; its serialized code is kept, and belongs to nobody."""
        if self.in_message:
            self._close()
            self._reset("inside", number, True)
        self._close_frame()
        self.headed = True
        self.script = self.script or [text.strip()]

    def _is_fresh(self) -> bool:
        return not (self.frames or self.open or self.in_message or self.headed)

    def _frame(self, text: str) -> re.Match[str] | None:
        """Return what a line says of a frame, if it begins one."""
        path, self.path = self.path, ""
        if "in " not in text and "line " not in text and ".py" not in text:
            return None
        stripped = text.strip()
        if _NUMBERED.match(stripped):
            return None
        quoted = stripped.find('File "', 0, 120)
        if quoted > 0 and not _ERROR.match(stripped):  # below something that nobody knows
            stripped = stripped[quoted:]
        texts = (stripped, path + stripped) if path else (stripped,)
        return next(
            (found for one in texts for pattern in (*_FRAMES, _PYTEST) if (found := pattern.match(one))), None
        )

    def _begin_frame(self, match: re.Match[str], text: str, number: int) -> None:
        attached = self.in_message and self.message and self.message[-1].strip() == "from user code:"
        if self.in_message and not attached and match.re is not _PYTEST:
            link: Link = "" if self.blank else "inside"
            self._close()
            self._reset(link, number)
        self._close_frame()
        self.open = _Open(match, len(text) - len(text.lstrip()))
        if not self.frames:
            self.base = max(0, self.open.indent - 2)
        if match.re is _PYTEST and (self.pytest_code or self.in_message):  # below its code and its message
            self.open.lines, self.pytest_code = [self.pytest_code], ""
            self._close_frame()
            self.in_message = bool(self.message)
        else:
            self.in_message = False
        self.blank = False

    def _below_frames(self, text: str, number: int) -> None:
        """Take a line below a frame: its code, or the exception's own line."""
        indent, stripped, shown = len(text) - len(text.lstrip()), text.strip(), self.open
        typed = None
        if stripped.startswith("E  "):  # pytest's
            typed = _ERROR.match(stripped[1:].strip())
        elif indent <= self.base and not any(self.message):
            below = shown is not None and not shown.lines and not self.blank and shown.indent <= indent
            typed = (_ERROR if below else _TYPED).match(stripped)
        if typed is not None:
            self._exception(typed, number)
            return
        self._note(stripped)
        if shown is not None and len(shown.lines) < _MOST_CODE_LINES:
            shown.lines.append(text)
        if self.script is not None:
            self.script.append(stripped)

    def _note(self, stripped: str) -> None:
        """Keep what the next line may need: a path that a box has cut, the line that pytest points to."""
        if (stripped[0] in "/~" or stripped[1:3] in (":\\", ":/")) and " " not in stripped:
            self.path = stripped
        if stripped.startswith("> "):
            self.pytest_code = stripped[2:].strip()

    def _exception(self, typed: re.Match[str], number: int) -> None:
        self._close_frame()
        self.name, self.message = typed["name"], [typed["message"] or ""]
        self.in_message, self.blank = True, False

    def _more(self, text: str, number: int) -> None:
        """Take a line below the message's first: more of it, or the end of it."""
        stripped = text.strip()
        if stripped.startswith("E  "):
            stripped = text = stripped[1:].strip()
        empty = not any(self.message)
        ended = self.blank and not empty and text[:1] not in (" ", "\t") and stripped != "from user code:"
        if ended or stripped in ('"""', "'''") or _LOGGED.match(stripped) or STAMP.match(stripped):
            self._close()
            self._reset("", number)
            self._outside(text, number)
            return
        self.blank = False
        if len(self.message) < _MOST_MESSAGE_LINES:
            self.message.append(stripped)

    def _outside(self, text: str, number: int) -> None:
        """Take a line that stands in no traceback; it may be an exception's own, alone."""
        stripped = text.strip()
        self._note(stripped)
        if stripped.startswith("E  "):
            stripped = stripped[1:].strip()
        if stripped.startswith("--") and (
            shown := _ARROW.fullmatch(stripped)
        ):  # of a notebook, without its first line
            self._begin_frame(shown, text, number)
            return
        typed = _ERROR.match(without_stamp(stripped)) or _in_prose(stripped)
        if typed is not None:
            self.number = self.number or number
            self._exception(typed, number)
            self.message = (
                [typed["message"] or stripped[typed.end() :]] if typed.re is _IN_PROSE else self.message
            )

    def _close_frame(self) -> None:
        if self.open is not None and self.open.match is not None:
            self.frames.append(_framed(self.open.match, self.open.lines))
        self.open = None

    def _close(self) -> None:
        self._close_frame()
        if self.name or self.frames:
            message = "\n".join(self.message).strip()
            self.found.append(
                Told(
                    self.name, message, tuple(self.frames), self.link, self.number, self.passing,
                    self.headed or bool(self.frames), "\n".join(self.script or ()),
                )
            )  # fmt: skip


def _in_prose(text: str) -> re.Match[str] | None:
    """Return the last error that a sentence names with its message."""
    return next(reversed([*_IN_PROSE.finditer(text)]), None) if len(text) < _MOST_PROSE else None


def _framed(match: re.Match[str], block: list[str]) -> TextFrame:
    """Return the frame, with the line that its arrow points to where there is one, else the first line below it."""
    groups = match.groupdict()
    place, code, marked = groups.get("line"), groups.get("code") or (block[0].strip() if block else ""), False
    here = next((number for number, text in enumerate(block) if "<--- HERE" in text), None)
    if here:
        code, marked = block[here - 1].strip(), True
    for text in block:
        if arrow := _ARROW.match(text.strip()):
            place, code, marked = arrow["line"], arrow["code"].replace("│", " ").strip(), True
            break
    number = int(place) if place and len(place) < 10 else None
    path = groups.get("file") or "<cell>"
    path = "<cell>" if path == "in" else path
    return TextFrame(path, number, (groups.get("function") or "").strip(), code, marked)


def judged(told: Iterable[Told]) -> Told | None:
    """Return the exception that ended it: the last one, unless it was ignored, a warning, or only reports another."""
    every = list(told)
    named_by_spawn = _in_a_child(every)
    if named_by_spawn is not None:
        return _with_frames(named_by_spawn, every)
    for usable in (
        [one for one in every if not (one.passing or one.is_warning or one.is_reporter)],
        [one for one in every if not one.passing],
        every,
    ):
        named = [one for one in usable if one.name]
        named = [
            one for one in named if one.headed
        ] or named  # a traceback tells more than a line that names an error
        if named:
            return _with_frames(named[-1], every)
    return every[-1] if every else None


def _in_a_child(every: list[Told]) -> Told | None:
    """Return the error of the process that `mp.spawn` names, unless one came of it in Python's words.

    The others are ended by a signal then, and may still print what happened to them.
    """
    pairs = pairwise(every)
    found = [
        inner for one, inner in pairs if "ProcessRaised" in one.name and inner.link == "inside" and inner.name
    ]
    later = every[every.index(found[-1]) + 1 :] if found else []
    return found[-1] if found and not any(one.link in ("cause", "context") for one in later) else None


def _with_frames(one: Told, every: list[Told]) -> Told:
    """Return it with the frames of the traceback around it, or of one without an end, where it has no frame of the learner's."""
    at = every.index(one)
    first = at
    while first and every[first].link in ("cause", "context") and _repeats(one, every[first - 1]):
        first -= 1
    if first != at and every[first].own is not None:  # raised again, here or in another process
        return replace(one, frames=every[first].frames, script=every[first].script)
    if one.own is not None:
        return one
    if one.link == "inside" and at and every[at - 1].own is not None:
        return replace(one, frames=every[at - 1].frames + one.frames)
    cut = next((other for other in every[at + 1 :] if not other.name and other.frames), None)
    return replace(one, frames=cut.frames) if cut is not None and not one.frames else one


def _repeats(one: Told, before: Told) -> bool:
    """Whether an exception says what the one before it said."""
    return bool(before.message) and " ".join(before.message.split()) in " ".join(one.message.split())
