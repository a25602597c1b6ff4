"""What pyproject.toml cannot say: recordings/*.json go into the wheel, as data of the package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithRecordings(build_py):
    """Put the recordings beside the module that reads them; an editable install reads them where they are."""

    def run(self) -> None:
        """Build as usual, then add them."""
        super().run()
        if not self.editable_mode:
            kept = Path(self.build_lib, "devicelab", "recordings", "kept")
            for path in Path("recordings").glob("*.json"):
                kept.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, kept)


setup(cmdclass={"build_py": WithRecordings})
