"""The page about evidence shows what really happens."""

import re
from pathlib import Path

from tools.notebooks import warm

PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"


def test_the_example_of_explain_prints_what_the_page_shows(tmp_path):
    section = PAGE.read_text("utf-8").partition("## `lab.explain`")[2]
    found = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", section, re.DOTALL)
    assert found
    script = tmp_path / "example.py"
    script.write_text(found[1], "utf-8")
    result = warm.run(str(script))
    assert result.stdout.strip() == found[2].strip(), result.stderr
