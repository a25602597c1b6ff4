"""What `course.py hub` decides and the hub's configuration reads: one file in the hub's folder."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "COURSE_HUB"  # names the hub's folder to workshop/jupyterhub_config.py
FILE = "settings.json"


@dataclass(frozen=True)
class Settings:
    """A hub: its mode (demo or room), address, folders, learners (room), password (demo), and TLS key and certificate."""

    mode: str
    folder: str
    homes: str
    shared: str  # the Python environment whose packages and JupyterLab the learners' servers use
    port: int = 8000
    listen: str = "127.0.0.1"
    learners: tuple[str, ...] = ()
    admin: str | None = None
    password: str | None = None
    key: str | None = None
    certificate: str | None = None
    forked: bool = True

    @property
    def url(self) -> str:
        """The address that the hub listens on."""
        host = f"[{self.listen}]" if ":" in self.listen else self.listen
        return f"{'https' if self.key else 'http'}://{host}:{self.port}"

    def write(self) -> None:
        """Keep the settings, readable for nobody else."""
        path = Path(self.folder, FILE)
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)


def read(folder: Path) -> Settings:
    """Return the settings that were kept in the hub's folder."""
    kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return Settings(**kept | {"learners": tuple(kept["learners"])})
