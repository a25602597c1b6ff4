"""Run a notebook in JupyterLab and save pictures of it, top to bottom.

    python tests/browser/shoot.py notebooks/00_x.ipynb OUT           run all cells, then take pictures
    python tests/browser/shoot.py --saved notebooks/00_x.ipynb OUT   the saved outputs, as a fresh clone has them

DEVICELAB_GPU chooses the device, as for a learner (default: simulated).
Exit status 1 when a cell ended in an error or was not run.
"""

import argparse
import os
from pathlib import Path

from lab_page import ROOT, browser_page, error_texts, open_notebook, run_all, serve, unrun_cells
from playwright.sync_api import Page

OVERLAP = 60  # pixels that two neighbouring pictures share, so that no line is lost between them


def take_pictures(page: Page, folder: Path, stem: str) -> list[Path]:
    """Scroll the open notebook from top to bottom and save one PNG a screen."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{stem}-[0-9][0-9].png"):
        old.unlink()
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer")
    # JupyterLab lets one scroll past the end: the last cell's bottom is where the notebook ends.
    height, screen = panel.evaluate(
        """e => [[...e.querySelectorAll('.jp-Cell')].at(-1).getBoundingClientRect().bottom
                 - e.getBoundingClientRect().top + e.scrollTop, e.clientHeight]"""
    )
    pictures = []
    for number, top in enumerate(range(0, max(int(height) - OVERLAP, 1), screen - OVERLAP), start=1):
        panel.evaluate("(e, top) => { e.scrollTop = top }", top)
        page.wait_for_timeout(250)
        pictures.append(folder / f"{stem}-{number:02d}.png")
        page.screenshot(path=pictures[-1])
    return pictures


def main() -> int:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--saved", action="store_true", help="show the saved outputs, run nothing")
    parser.add_argument("--seconds", type=float, default=180, help="how long Run All may take")
    options = parser.parse_args()
    path = options.notebook.resolve()
    with (
        serve(os.environ.get("DEVICELAB_GPU", "simulated"), path, table=False) as server,
        browser_page() as page,
    ):
        inside = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(path.name)
        open_notebook(page, server, inside.as_posix())
        page.keyboard.press("Control+b")  # the file browser takes a quarter of the width
        if not options.saved:
            run_all(page, server, options.seconds)
        pictures = take_pictures(page, options.folder, path.stem)
        faults = error_texts(page)
        unrun = [] if options.saved else unrun_cells(page)
    print(f"{len(pictures)} pictures: {pictures[0]} ... {pictures[-1].name}")
    for fault in faults:
        print(f"ERROR OUTPUT: {fault.strip().splitlines()[-1]}")
    for cell in unrun:
        print(f"NOT RUN: {cell}")
    return 1 if faults or unrun else 0


if __name__ == "__main__":
    raise SystemExit(main())
