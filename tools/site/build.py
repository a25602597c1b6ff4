"""`course.py site`: the web edition in build/site, made from the stored outputs; nothing is run, and a warning is an error.

Lessons and pages are copied to build/site-source and changed there (pages.py); Sphinx does the rest by docs/site/conf.py.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock
from sphinx.cmd.build import build_main

from tools.notebooks.links import Place, read_place
from tools.notebooks.nbfiles import read, write
from tools.setup.copies import digest
from tools.setup.say import ROOT, Stop, say
from tools.site import pages

OUT = ROOT / "build" / "site"
CONFIG = ROOT / "docs" / "site"
# The first picture of this lesson, at this step, stands on the front page where the word does: half of it has moved.
FRONT = ("notebooks/00_which_run_used_the_gpu.ipynb", 3, "PICTURE")
# For root, linkchecker would become "nobody", who may not be able to read the folder or Python's own.
LINKCHECKER = (
    "import os; os.seteuid = lambda user: None; "
    "from linkcheck.command.linkchecker import linkchecker; linkchecker()"
)
MADE = ".made"  # what the site was made from: the digest of all of it
MAKERS = (
    "docs/*.md",
    "docs/site/**/*.*",
    "notebooks/*.ipynb",
    "tools/site/*.py",
    "tools/notebooks/links.toml",
)


def main() -> int:
    """Build the site, check its links, and say where it is."""
    began = time.monotonic()
    build(OUT)
    built = time.monotonic() - began
    check_links(OUT)
    count = len(list(OUT.rglob("*.html")))
    say(f"{count} pages in {built:.0f} s, and every link within them leads somewhere: {OUT / 'index.html'}")
    return 0


def ready() -> Path:
    """Return the folder of a site made from the files of now; whoever asks first makes it."""
    OUT.parent.mkdir(exist_ok=True)
    with FileLock(OUT.parent / "site.lock"):
        if _made(OUT) != _makers():
            build(OUT)
    return OUT


def build(out: Path) -> None:
    """Make the site anew in the folder `out`."""
    source = out.with_name(f"{out.name}-source")
    for folder in (source, out):
        shutil.rmtree(folder, ignore_errors=True)
    stage(source, read_place())
    options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(CONFIG), "-d", str(source / ".doctrees")]
    if build_main([*options, str(source), str(out)]):
        raise Stop(
            "The site was not built; the warnings above say why.", "Mend them, then give the command again."
        )
    for path in ROOT.glob("notebooks/*.ipynb"):  # what the download button gives is the lesson itself
        shutil.copy(path, out / "_sources" / "notebooks" / path.name)
    (out / ".nojekyll").touch()  # GitHub's pages leave out folders that begin with _ otherwise
    (out / MADE).write_text(_makers(), encoding="utf-8")


def stage(source: Path, place: Place) -> None:
    """Write what Sphinx reads: each lesson and page as the site shows it, and the front page."""
    files = [*sorted(ROOT.glob("notebooks/*.ipynb")), *sorted(ROOT.glob("docs/*.md"))]
    site = pages.Site(place, frozenset(path.relative_to(ROOT).as_posix() for path in files))
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            text = pages.with_links(path.read_text(encoding="utf-8"), name, site)
            target.write_text(text, encoding="utf-8", newline="\n")
        else:
            write(target, pages.lesson(read(path), name, site))
    front_page = pages.with_links(front(), "index.md", site)
    (source / "index.md").write_text(front_page, encoding="utf-8", newline="\n")


def front() -> str:
    """Return the front page: docs/site/index.md with a picture of lesson 00 in it, alive."""
    lesson, step, mark = FRONT
    shown = pages.first_picture(read(ROOT / lesson), step)
    return (CONFIG / "index.md").read_text("utf-8").replace(mark, f"```{{raw}} html\n{shown}\n```")


def check_links(out: Path) -> None:
    """Raise Stop where a link of the site to itself leads nowhere; what lies elsewhere is not asked."""
    options = ["--no-status", "--no-warnings", "--config", str(CONFIG / "linkchecker.ini")]
    command = [sys.executable, "-c", LINKCHECKER, *options, str(out / "index.html")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    checked = re.search(r"(\d+) links", done.stdout)
    if done.returncode or not checked or int(checked[1]) < 100:
        raise Stop(f"Links that lead nowhere, or a check that saw none:\n{done.stdout}{done.stderr}")


def _made(out: Path) -> str | None:
    with suppress(OSError):
        return (out / MADE).read_text(encoding="utf-8")
    return None


def _makers() -> str:
    """Return what stands for all that the site is made from."""
    found = sorted(path for pattern in MAKERS for path in ROOT.glob(pattern) if path.is_file())
    return digest("\0".join(f"{path.name}\0{digest(path.read_text('utf-8', 'replace'))}" for path in found))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUTF8", "1")
    try:
        sys.exit(main())
    except Stop as reason:
        sys.exit(f"\n{reason}")
