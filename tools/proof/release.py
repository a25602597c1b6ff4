"""Build what is published, check it, and try it as somebody does who has nothing else: `python -m tools.proof.release [FOLDER]`.

The wheel and the sdist come to FOLDER (dist/ if none is given). Nothing is fetched and nothing is uploaded: by a tag,
.github/workflows/release.yml runs this and uploads. Needs `pip install --group release`.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tools.setup.say import ROOT, Stop, say

NEEDED = ("build", "twine", "check_wheel_contents")
FAULTY = """
import torch


def test_forgets_to_move_the_batch():
    model = torch.nn.Linear(2, 2).to("cuda" if torch.cuda.is_available() else "cpu")
    model(torch.ones(1, 2))
"""
FOUND = "device fault: tests/test_faulty.py::test_forgets_to_move_the_batch"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and check; a sentence says what is wrong."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    folder = Path(*given).resolve() if given else ROOT / "dist"
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    try:
        if missing:
            raise Stop(f"{', '.join(missing)} cannot be imported here: pip install --group release")
        wheel, sdist = build(folder)
        python("-m", "twine", "check", "--strict", str(wheel), str(sdist))
        python("-m", "check_wheel_contents", str(wheel))
        try_alone(wheel)
    except Stop as reason:
        print(reason, file=sys.stderr)
        return 1
    say(f"{wheel.name} and {sdist.name} are built, checked and tried.")
    return 0


def build(folder: Path) -> tuple[Path, Path]:
    """Build wheel and sdist, the wheel from the sdist, and return them."""
    if folder.is_dir() and any(folder.iterdir()):
        raise Stop(f"{folder} is not empty: what lies there would be published as well.")
    python("-m", "build", "--no-isolation", "--outdir", str(folder))
    return next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))


def try_alone(wheel: Path) -> None:
    """Have the wheel's plugin find a planted fault in a project of its own, in a folder that has no course."""
    with tempfile.TemporaryDirectory() as name:
        installed, project = Path(name, "installed"), Path(name, "project")
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(installed)
        (project / "tests").mkdir(parents=True)
        (project / "tests" / "test_faulty.py").write_text(FAULTY, encoding="utf-8")
        for options, wanted in (((), "1 passed"), (("--simulate-gpu",), FOUND)):
            command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, "tests/")
            variables = {**os.environ, "PYTHONPATH": str(installed)}
            done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True)
            if wanted not in done.stdout:
                raise Stop(f"pytest {' '.join(options)} did not say {wanted!r}:\n{done.stdout}{done.stderr}")


def python(*arguments: str) -> None:
    """Run a module of this Python, which shows its own words."""
    if subprocess.run([sys.executable, *arguments], cwd=ROOT).returncode != 0:
        raise Stop(f"python {' '.join(arguments[:3])} failed; its words stand above.")


if __name__ == "__main__":
    sys.exit(main())
