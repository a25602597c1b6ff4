"""The pages for looking things up: the cheat sheet runs and prints on one page, links lead somewhere, lists are in order."""

import re
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

from devicelab import simulate_gpu

DOCS = Path(__file__).parents[1] / "docs"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
CHEATS = (DOCS / "cheat-sheet.md").read_text("utf-8")
LINES, COLUMNS = 66, 150  # of an A4 page, with the fonts in which browsers and editors print Markdown


def code_blocks(text: str) -> list[str]:
    """Return the Python blocks of a Markdown text."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_links_to_files_lead_somewhere(page):
    targets = [target for target in LINK.findall(page.read_text("utf-8")) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_cheat_sheet_is_one_page():
    lines = CHEATS.splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS


class Normalised(nn.Module):
    """A model whose __init__ holds the cheat sheet's line about buffers."""

    def __init__(self, line: str, mean: torch.Tensor) -> None:
        super().__init__()
        exec(line, {"self": self, "mean": mean})
        self.fc = nn.Linear(10, 2)


@pytest.mark.parametrize("simulated", [True, False], ids=["simulated", "cpu"])
def test_the_placing_lines_run_and_place(simulated, tmp_path):
    placing = code_blocks(CHEATS)[0]
    buffer = next(line for line in placing.splitlines() if "register_buffer" in line)
    path = tmp_path / "checkpoint.pt"
    torch.save({"mean": torch.zeros(10)}, path)
    loader = [(torch.zeros(4, 10), torch.zeros(4, 2))]
    given = {
        "torch": torch,
        "model": Normalised(buffer, torch.zeros(10)),
        "loader": loader,
        "path": path,
        "n": 4,
    }
    with simulate_gpu("Tesla T4") if simulated else nullcontext():
        given = ran(placing.replace(buffer, ""), given)
        tensors = [given[name] for name in ("x", "batch", "labels", "mask")]
        tensors += [given["checkpoint"]["mean"], *given["model"].state_dict().values()]
        assert {tensor.device.type for tensor in tensors} == {"cuda" if simulated else "cpu"}


def ran(source: str, names: dict) -> dict:
    """Return the names after the source ran."""
    names = dict(names)
    exec(source, names)
    return names


def test_the_timing_lines_run():
    with simulate_gpu("Tesla T4"):
        x = torch.ones(8, device="cuda")
        given = {"torch": torch, "time": time, "work": lambda: x + x}
        assert ran(code_blocks(CHEATS)[1], given)["seconds"] > 0


def test_the_glossary_is_in_alphabetical_order():
    rows = re.findall(
        r"^\| ([^|]+) \| .* \| \[\d\d\]", (DOCS / "glossary.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) > 20
    assert rows == sorted(rows, key=str.lower)
