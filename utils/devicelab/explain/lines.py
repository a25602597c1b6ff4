"""The lines of a pasted text, without what terminals, loggers, containers, boxes and web pages put around them."""

import html
import re
from typing import NamedTuple

MOST = 1_000_000  # letters that are looked at; of a longer text the end, and before it the last traceback
HEADER = "Traceback (most recent call last)"
_MOST_PREFIX = 120  # letters before a line that a logger or a container writes
_MOST_STREAMS = 16
_LOOK_AHEAD = 12  # lines below a header in which a frame must follow with the same prefix

# Each pattern is bounded, or cannot contain its own beginning: so that the time grows as the text does.
_ESCAPES = ("\\u001b", "\\x1b", "\\033", "\u241b")  # as JSON, a repr and a page write it
_CODES = re.compile(r"\x1b(?:\[[0-9;:?]{0,40}[ -/]{0,4}[@-~]|\][^\x07\x1b\\]{0,500}(?:\x07|\x1b\\)?)")
_BARE_CODES = re.compile(
    r"\[(?:\d{1,3};){0,6}\d{1,3}m"
)  # what is left where a page has dropped the escape itself
_EMPTY_LINES = re.compile(r"\n{3,}")
_LINK = re.compile(r"\[([^\[\]\n]{1,400})\]\((?:https?|file|vscode[\w-]{0,20}|command):[^()\s]{0,2000}\)")
_ANCHOR = re.compile(r"<a\s[^<>]{0,2000}>([^<>\n]{0,400})</a>")
_TAG = re.compile(r"</?(?:span|pre|code|div|p|font|strong|td|tr|table|blockquote|samp)\b[^<>]{0,500}>")
_SIDES = "│┃║|"
_MOST_BOXES = 4  # one in another
_NAMED = re.compile(
    r"(?P<name>(?<![\w.])[A-Za-z_][\w.]{0,200})\s{2,}$"
)  # IPython's: "RuntimeError    Traceback (..."
_WORDS = re.compile(r"(?:\+ Exception Group |Original |Remote |Full )$")
# What is put before a single line, where no header shows it.
_PREFIX = re.compile(
    r"\[?(?:rank|default)\d{1,4}\]?: ?|[\w.-]{1,60} {1,12}\| (?! ?\d)|(?:#\d{1,3} )?\d{1,5}\.\d{1,3} (?=[ A-Z])|"
    r"(?=\(|[A-Z])(?:\([\w.<>:-]{0,60} ?pid=\d{1,9}[^()]{0,60}\) ?)?"
    r"(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[?[\w./]{1,80}:\d{1,6}\] ?)?"
)
_QUOTE = re.compile(r"(?:> ?){1,4}(?=\S)")
STAMP = re.compile(
    r"\[?(?:\d{4}[-/]\d\d[-/]\d\d[T ]|[A-Z][a-z]{2} [ \d]\d |\d\d:\d\d:\d\d)[\d:.,TZ+-]{0,40}\]?"
    r"(?:[ :|-]{1,3}\[?(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL|stderr|stdout)\]?)?[ :|-]{0,3}"
)
_CLOCK = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?Z? ?")
_LITERAL = re.compile(
    r"((?:[a-z]|pid=|-)\d+(?![-:.,\d]))|\d+"
)  # "rank0" names a stream, other numbers are a clock's


class Line(NamedTuple):
    """A line of the text: its number from 0, and what is left of it."""

    number: int
    text: str


def streams_of(text: str) -> list[list[Line]]:
    """Return the lines, those of each rank, container or process together; what has no prefix comes first."""
    lines = _without_clock(plain(text).splitlines())
    prefixes = _prefixes(lines)
    found: list[list[Line]] = [[] for _ in range(len(prefixes) + 1)]
    for number, line in enumerate(lines):
        which, rest = _without_prefix(line, prefixes)
        prefix = None if which else _PREFIX.match(rest)
        found[which].append(Line(number, _unboxed(rest[prefix.end() :] if prefix else rest)))
    return found


def plain(text: str) -> str:
    """Return the text without colours, links and tags, and not longer than is looked at."""
    text = shortened(text).replace("\xa0", " ").replace("\ufeff", "").replace("\r\n", "\n")
    text = _EMPTY_LINES.sub("\n\n", text)
    if "\\n  File " in text:  # a traceback as a string, within JSON or a repr
        text = text.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
    for escape in _ESCAPES:
        text = text.replace(escape, "\x1b")
    text = _BARE_CODES.sub("", _CODES.sub("", text))
    if "](" in text:
        text = _LINK.sub(r"\1", text)
    if "<a " in text:
        text = _ANCHOR.sub(r"\1", text)
    if "&quot;" in text or "&lt;" in text or "&#" in text:
        text = html.unescape(_TAG.sub("", text.replace("<br>", "\n").replace("<br/>", "\n")))
    return text


def shortened(text: str) -> str:
    """Return the end of a text that is too long, and before it the last traceback where the end holds none."""
    if len(text) <= MOST:
        return text
    end = text[-MOST // 2 :]
    at = text.rfind(HEADER, 0, len(text) - len(end))
    if HEADER in end or at < 0:
        return end
    return text[max(0, at - 1000) : at + MOST // 2] + "\n" + end[-MOST // 4 :]


def without_stamp(text: str) -> str:
    """Return a line without the one prefix that it may have: a rank's, a container's, a quotation's or a clock's."""
    for pattern in (_QUOTE, STAMP):
        found = pattern.match(text)
        if found and found.end():
            text = text[found.end() :]
    return text


def _without_clock(lines: list[str]) -> list[str]:
    """Return the lines without the time before each, where a traceback's own lines begin with one and its header does not."""
    for number, line in enumerate(lines):
        below = lines[number + 1 : number + 3]
        if HEADER in line and not _CLOCK.match(line) and len(below) == 2 and all(map(_CLOCK.match, below)):
            return [_CLOCK.sub("", other, count=1) for other in lines]
    return lines


def _prefixes(lines: list[str]) -> list[tuple[str, re.Pattern[str] | None]]:
    """Return what stands before the tracebacks of the text, each with a pattern where it is a clock and changes."""
    found: dict[str, tuple[str, re.Pattern[str] | None]] = {}
    for number, line in enumerate(lines):
        if HEADER not in line or len(found) >= _MOST_STREAMS:
            continue
        prefix = _before_header(line)
        if not prefix.strip() or prefix in found:
            continue
        known = [one for one in found.values() if one[1] and one[1].match(line)]
        stream = None if known else _confirmed(prefix, lines[number + 1 : number + 1 + _LOOK_AHEAD])
        if stream is not None:
            found[prefix] = stream
    return list(found.values())


def _before_header(line: str) -> str:
    """Return what stands before a header, without the words and the box that belong to it."""
    before = line[: line.index(HEADER)]
    if len(before) > 2 * _MOST_PREFIX:
        return ""
    before = _WORDS.sub("", before)
    named = _NAMED.search(before)
    if named:
        return before[: named.start()]
    if any(letter in before for letter in "╭┌"):
        before = before[: max(before.rfind("╭"), before.rfind("┌"))]
        return before if before.strip(f"{_SIDES} ") else ""  # a box within a box
    return before if len(before) <= _MOST_PREFIX else ""


def _confirmed(prefix: str, below: list[str]) -> tuple[str, re.Pattern[str] | None] | None:
    """Return a prefix that the lines below a header have as well, each time the same or with another time."""
    if any(line.startswith(prefix) and line.strip() != prefix.strip() for line in below[:2]):
        return prefix, None
    loose = "".join(
        re.escape(part[1]) if part[1] else r"\d+" if part[0].isdigit() else re.escape(part[0])
        for part in re.finditer(rf"(?:{_LITERAL.pattern})|\D", prefix)
    )
    pattern = re.compile(loose)
    return (prefix, pattern) if any(pattern.match(line) for line in below[:2]) else None


def _without_prefix(line: str, prefixes: list[tuple[str, re.Pattern[str] | None]]) -> tuple[int, str]:
    for which, (prefix, pattern) in enumerate(prefixes, 1):
        if line.startswith(prefix):
            return which, line[len(prefix) :]
        if line and line == prefix.rstrip():
            return which, ""
        found = pattern.match(line) if pattern else None
        if found:
            return which, line[found.end() :]
    return 0, line


def _unboxed(line: str) -> str:
    """Return a line of rich's boxes without their sides; the lid and the bottom of a box are no text."""
    for _ in range(_MOST_BOXES):
        inner = line.strip()
        if not inner or inner[0] not in "│┃║|╭╰┌└" or HEADER in inner:
            break
        if inner[0] in "╭╰┌└":
            return ""
        if len(inner) < 2 or inner[-1] not in _SIDES:
            break
        line = inner[1:-1].rstrip().removeprefix(" ")
    return line
