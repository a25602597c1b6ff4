"""The web edition before Sphinx reads it: links, bets, folded answers, and pictures with their state."""

import json
import re

import pytest
import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.notebooks import alive
from tools.notebooks.links import Place
from tools.notebooks.nbfiles import LESSONS, find, read, short
from tools.setup.say import ROOT
from tools.site import pages

SITE = pages.Site(Place("org/name", "v1"), frozenset({"notebooks/00_a.ipynb", "docs/claims.md"}))
GITHUB = "https://github.com/org/name/blob/v1"


@pytest.mark.parametrize(
    ("link", "becomes"),
    [
        ("[a](../docs/claims.md)", "[a](../docs/claims.md)"),
        ("[a](../docs/claims.md#Five-Words.)", "[a](../docs/claims.md#five-words)"),
        ("[a](#What-hides-from-.to()?)", "[a](#what-hides-from-to"),
        ("[a](../exercises/00_a.ipynb#A-b)", f"[a]({GITHUB}/exercises/00_a.ipynb#a-b)"),
        ("[a](https://example.org/A.md#B)", "[a](https://example.org/A.md#B)"),
    ],
)
def test_a_link_leads_to_the_site_or_to_where_the_course_is_published(link, becomes):
    assert pages.with_links(link, "notebooks/00_a.ipynb", SITE).startswith(becomes)


def test_a_link_in_an_output_leads_to_the_page_that_sphinx_makes():
    html = '<a href="../docs/claims.md#a-b">x</a> <a href="../tests/README.md">y</a> <a href="https://z.org">z</a>'
    shown = lesson(new_code_cell("1", outputs=[display(html)]))
    assert shown.cells[0].outputs[0].data["text/html"] == (
        f'<a href="../docs/claims.html#a-b">x</a> <a href="{GITHUB}/tests/README.md">y</a> <a href="https://z.org">z</a>'
    )


def display(html, **data):
    return new_output("display_data", data={"text/html": html, **data})


def lesson(*cells, state=None):
    notebook = new_notebook(cells=list(cells))
    if state:
        notebook.metadata["widgets"] = {alive.STATE: {"state": state}}
    return pages.lesson(notebook, "notebooks/00_a.ipynb", SITE)


def picture_cell():
    view = {"version_major": 2, "version_minor": 0, "model_id": "m"}
    return new_code_cell("film", outputs=[display('<img alt="still">', **{alive.VIEW: NotebookNode(view)})])


def test_a_picture_has_its_still_and_its_state_and_no_text_in_it_ends_the_script():
    state = {"m": {"state": {"_esm": "export default {}", "data": {"line": "</script><b>"}}}}
    html = lesson(picture_cell(), state=state).cells[0].outputs[0].data["text/html"]
    assert html.count("</script>") == 2 and '<img alt="still">' in html
    stored = re.search(rf'<script type="{re.escape(alive.STATE)}">(.*?)</script>', html)[1]
    assert json.loads(stored)["state"] == state


def test_a_picture_without_its_state_stays_still():
    assert lesson(picture_cell()).cells[0].outputs[0].data["text/html"] == '<img alt="still">'


def test_what_only_a_kernel_can_draw_is_left_out():
    view = new_output("display_data", data={alive.VIEW: {"model_id": "m"}})
    words = new_output("display_data", data={alive.VIEW: {"model_id": "m"}, "text/plain": "words"})
    outputs = lesson(new_code_cell("1", outputs=[view, new_output("display_data"), words])).cells[0].outputs
    assert [output.data for output in outputs] == [{"text/plain": "words"}]


def test_what_is_folded_in_jupyterlab_is_folded():
    folded = new_code_cell(
        "1", metadata={"jupyter": {"outputs_hidden": True, "source_hidden": True}}, outputs=[display("x")]
    )
    assert lesson(folded).cells[0].metadata["tags"] == ["hide-input", "hide-output"]


def test_badges_become_words_and_the_cell_for_colab_goes():
    badges, colab = new_markdown_cell("![](https://x.org/a.svg)", id="badges"), new_code_cell("1", id="colab")
    cells = lesson(badges, colab, new_markdown_cell("text")).cells
    assert len(cells) == 2 and "![" not in cells[0].source
    assert "mybinder.org/v2/gh/org/name/v1" in cells[0].source
    assert 'href="../_sources/notebooks/00_a.ipynb" download' in cells[0].source


def test_a_bet_can_be_chosen_without_a_kernel():
    cell = new_code_cell('lab.guess("Is x < y?", ["yes", "no"], until="z")', metadata={"tags": ["guess"]})
    shown = lesson(cell).cells[0]
    assert shown.metadata["tags"] == ["guess", "remove-input"]
    html = shown.outputs[0].data["text/html"]
    assert "<legend>Is x &lt; y?</legend>" in html and re.findall(r'radio" name="[^"]+"> ([^<]+)', html) == [
        "yes",
        "no",
        "not sure",
    ]
    assert "bytes</label>" in pages.bet('lab.guess("How many?", unit="bytes")', "a")
    assert pages.bet("x = 1", "a") == ""


@pytest.mark.parametrize("path", find(LESSONS), ids=short)
def test_each_lesson_s_pictures_and_guesses_are_shown(path):
    notebook = read(path)
    before = sum(alive.is_picture(output) for cell in notebook.cells for output in cell.get("outputs", []))
    guesses = sum("guess" in cell.metadata.get("tags", []) for cell in notebook.cells)
    shown = str(pages.lesson(notebook, short(path), SITE).cells)
    assert shown.count("dl-alive") == before and shown.count("<fieldset") == guesses
    assert "widget-view+json': {" not in shown


def test_every_page_of_docs_has_its_place_in_the_contents():
    contents = (ROOT / "docs" / "site" / "index.md").read_text("utf-8")
    listed = re.findall(r"^docs/([\w-]+)$", contents, re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in ROOT.glob("docs/*.md"))
    assert "notebooks/*" in contents


def test_the_site_is_built_by_one_job_and_published_by_another_that_runs_nothing_of_ours():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text(encoding="utf-8"))
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert workflow["permissions"] == {} and build["permissions"] == {"contents": "read"}
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert not [step for step in publish["steps"] if "run" in step]
    assert "not tried yet" in build["name"] and "not tried yet" in publish["name"], "or have they been?"


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda p: p.stem)
def test_each_action_is_named_by_its_commit(path):
    uses = re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
    assert uses and [action for action in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []
