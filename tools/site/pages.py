"""What the web edition makes of a lesson or a page before Sphinx reads it: links, bets, folded answers, pictures.

Nothing is run: all outputs are the stored ones.
"""

import ast
import json
import posixpath
import re
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from nbformat import NotebookNode

from tools.notebooks import alive
from tools.notebooks.links import BADGES, COLAB, Place

# A Markdown link: its target without the anchor, and the anchor.
LINK = re.compile(r"\]\(((?:\.\./)*\w[\w./-]*)?(#[^)\s]*)?\)")
HREF = re.compile(
    r'href="((?:\.\./)*\w[\w./-]*)(#[^"]*)?"'
)  # of an output's HTML, which Sphinx passes on as it is
BET = "Decide, then open what follows. Here nothing is counted."


@dataclass(frozen=True)
class Site:
    """Where a link may lead: to what the site has, by its names as seen from the root, else to where the course is published."""

    place: Place
    staged: frozenset[str]

    def target(self, original: str, target: str, anchor: str, *, made: bool = False) -> str:
        """Return where a relative link in the file `original` leads; `made` names a page as Sphinx makes it, not as it reads it.

        An anchor becomes the one that GitHub and the site give to its heading, whoever wrote it.
        """
        if not target:
            return slug(anchor)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(original), target))
        if path not in self.staged:
            return f"{self.place.github()}/blob/{self.place.ref}/{quote(path)}{slug(anchor)}"
        return (posixpath.splitext(target)[0] + ".html" if made else target) + slug(anchor)


def lesson(notebook: NotebookNode, original: str, site: Site) -> NotebookNode:
    """Return a lesson as the site shows it: bets to ponder, answers folded, pictures with their state beside them."""
    state = alive.models(notebook)
    notebook.cells = [cell for cell in notebook.cells if cell.get("id") != COLAB]
    for cell in notebook.cells:
        if cell.get("id") == BADGES:
            cell.source = run_it(original, site.place)
        elif cell.cell_type == "markdown":
            cell.source = with_links(cell.source, original, site)
        else:
            _code(cell, original, site, state)
    notebook.metadata.pop("widgets", None)
    return notebook


def run_it(original: str, place: Place) -> str:
    """Return the line that stands in the badges' place; their images would come from elsewhere."""
    links = {"on Binder": place.binder(original), "on Colab": place.colab(original)}
    words = [f"[{text}]({address})" for text, address in links.items()]
    download = f'<a href="../_sources/{original}" download>download it</a>'
    return f"*Stored outputs. To run the lesson yourself, open it {' or '.join(words)}, or {download}.*"


def _code(cell: NotebookNode, original: str, site: Site, state: dict) -> None:
    """Change one code cell: what is folded in JupyterLab is folded, and each output is one that needs no kernel."""
    tags = cell.metadata.setdefault("tags", [])
    folded = cell.metadata.get("jupyter", {})
    question = bet(cell.source, cell.id) if "guess" in tags else ""
    if question:
        cell.outputs = [_html(question)]
    if question or folded.get("source_hidden"):
        tags.append("remove-input" if question else "hide-input")
    outputs = (_output(output, original, site, state) for output in cell.outputs)
    cell.outputs = [output for output in outputs if output]
    if folded.get("outputs_hidden") and cell.outputs:
        tags.append("hide-output")


def _output(output: NotebookNode, original: str, site: Site, state: dict) -> NotebookNode | None:
    """Return an output without what only a kernel can draw; None where nothing is left."""
    if "data" not in output:
        return output
    if alive.is_picture(output):
        return _html(picture(output.data["text/html"], output.data[alive.VIEW]["model_id"], state))
    output.data.pop(alive.VIEW, None)
    if "text/html" in output.data:
        output.data["text/html"] = HREF.sub(
            lambda found: f'href="{site.target(original, found[1], found[2] or "", made=True)}"',
            output.data["text/html"],
        )
    return output if output.data else None


def _html(text: str) -> NotebookNode:
    return NotebookNode(output_type="display_data", metadata={}, data={"text/html": text})


def picture(still: str, model: str, state: dict) -> str:
    """Return a still picture with its stored state beside it, from which the site's script makes it move."""
    if model not in state:
        return still
    stored = {"version_major": 2, "version_minor": 0, "state": {model: state[model]}}
    view = {"version_major": 2, "version_minor": 0, "model_id": model}
    return (
        f'<div class="dl-alive"><div class="dl-still">{still}</div>'
        f"{_script(alive.STATE, stored)}{_script(alive.VIEW, view)}</div>"
    )


def first_picture(notebook: NotebookNode, step: int) -> str:
    """Return a lesson's first picture at a step of it, with its state."""
    state = alive.models(notebook)
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    shown = next(output.data for output in outputs if alive.is_picture(output))
    model = shown[alive.VIEW]["model_id"]
    state[model]["state"]["step"] = step
    return picture(shown["text/html"], model, state)


def _script(kind: str, value: dict) -> str:
    """Return JSON in a page: no text in it can end the script."""
    return f'<script type="{kind}">{json.dumps(value).replace("<", chr(92) + "u003c")}</script>'


def bet(source: str, name: str) -> str:
    """Return the question of a cell that calls `lab.guess`, with its answers to choose from; empty where it calls none."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    guesses = [call for call in calls if ast.unparse(call.func) == "lab.guess"]
    if not guesses:
        return ""
    call = guesses[0]
    question = escape(ast.literal_eval(call.args[0]))
    units = [ast.literal_eval(word.value) for word in call.keywords if word.arg == "unit"]
    if units:
        body = f'<label><input type="text" inputmode="decimal" size="8"> {escape(units[0])}</label>'
    else:
        answers = [*ast.literal_eval(call.args[1]), "not sure"]
        body = "".join(
            f'<label><input type="radio" name="bet-{name}"> {escape(text)}</label>' for text in answers
        )
    return f'<fieldset class="dl-bet"><legend>{question}</legend>{body}<p>{BET}</p></fieldset>'


def with_links(text: str, original: str, site: Site) -> str:
    """Return a text of the file `original` with its relative links as the site needs them."""
    return LINK.sub(lambda found: f"]({site.target(original, found[1] or '', found[2] or '')})", text)


def slug(anchor: str) -> str:
    """Return an anchor as GitHub makes it: JupyterLab keeps capitals and punctuation."""
    words = re.sub(r"[^\w -]", "", anchor.removeprefix("#").lower())
    return f"#{words.replace(' ', '-')}" if anchor else ""
