"""The ES modules of the pictures: their pure functions, and what a notebook keeps of them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from devicelab.widgets import modules
from tools.setup.say import ROOT

WIDGETS = ROOT / "utils" / "devicelab" / "widgets"
MODULES = sorted(WIDGETS.glob("*.js"))
WHOLE = [path.stem for path in MODULES if "export default" in path.read_text("utf-8")]
NODE = shutil.which("node")
MOST_LINES = 250
needs_node = pytest.mark.skipif(
    NODE is None and not os.environ.get("CI"),
    reason="Node.js, which tries the pictures' modules, is not installed",
)


def node(*arguments):
    return subprocess.run([str(NODE), *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120)


@needs_node
def test_the_pure_functions_do_what_they_say():
    done = node("--test", *map(str, Path(__file__).parent.glob("*.test.mjs")))
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"# pass (\d+)", done.stdout)[1]) >= 25


def test_no_module_is_long_and_none_fetches_anything():
    assert len(MODULES) >= 4
    for module in MODULES:
        text = module.read_text(encoding="utf-8")
        assert len(text.splitlines()) < MOST_LINES, module.name
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|\bfetch\(|innerHTML|eval\(", text), (
            module.name
        )


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_indentation_and_comments_can_be_left_out(module):
    for line in module.read_text("utf-8").splitlines():
        assert line.replace('"`"', "").count("`") % 2 == 0, (
            f"a text of several lines would lose its indentation: {line}"
        )
        assert not line.strip().startswith("/*") or line.endswith("*/"), f"a comment of several lines: {line}"


def test_what_a_notebook_keeps_is_the_code_without_its_comments():
    kept = modules.standalone("film")
    assert "Film" in kept and not re.search(r"^( |//|/\*)", kept, re.MULTILINE)
    assert len(kept) < 0.85 * sum(
        len(path.read_text("utf-8")) for path in MODULES if path.stem.startswith(("film", "common"))
    )


@needs_node
@pytest.mark.parametrize("module", WHOLE)
def test_what_a_notebook_keeps_stands_alone(tmp_path, module):
    (tmp_path / "alone.mjs").write_text(modules.standalone(module), encoding="utf-8")
    code = (
        f"import drawn from {json.dumps((tmp_path / 'alone.mjs').as_uri())}; console.log(typeof drawn.render)"
    )
    done = node("--input-type=module", "-e", code)
    assert done.stdout.strip() == "function", done.stderr
    assert "import " not in modules.standalone(module)
