"""HTML that an untrusted notebook keeps: inline style, tables and details; no <style>, no SVG."""

import re
from collections.abc import Iterable, Sequence
from html import escape

_CELL = "padding:2px 12px 2px 0;text-align:left;vertical-align:top"
_CODE = re.compile(r"`([^`\n]+)`")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Return a table of text cells; every cell is escaped, the first column holds row headings."""
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(word)}</th>' for word in header)
    body = "".join(_row(row) for row in rows)
    above = f'<caption style="text-align:left">{escape(caption)}</caption>' if caption else ""
    return f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: Sequence[str]) -> str:
    heading = f'<th scope="row" style="{_CELL}">{escape(row[0])}</th>'
    cells = "".join(f'<td style="{_CELL}">{escape(word)}</td>' for word in row[1:])
    return f"<tr>{heading}{cells}</tr>"


def details(summary: str, text: str) -> str:
    """Return a text that stays folded until it is opened, by mouse or by keyboard."""
    return f"<details><summary>{prose(summary)}</summary><p>{prose(text)}</p></details>"


def prose(text: str) -> str:
    """Return text with its backticked words as code; everything is escaped."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


def paragraphs(text: str) -> str:
    """Return each line of a text as a paragraph, with its backticked words as code; everything is escaped."""
    return "".join(f"<p>{prose(line)}</p>" for line in text.splitlines())


def block(text: str) -> str:
    """Return code or an error, line by line as it is; long lines wrap between words, which JupyterLab's own style breaks."""
    style = "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;margin:0 0 8px 0"
    return f'<pre style="{style}">{escape(text)}</pre>'
