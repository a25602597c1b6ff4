"""uv: environments beside `.venv`, made in seconds once its cache holds the packages, and where a Python is found."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.setup.pip import NO_SPACE
from tools.setup.say import Stop, run, say

NO_NETWORK = re.compile(r"error sending request|network was disabled|dns error|timed out")
NO_VERSION = re.compile(r"no version of ([\w-]+==\S+)|([\w-]+==\S+) has no wheels with a matching")
INDEX = re.compile(r"(?m)^(?:global|install|:env:)\.index-url='(.*)'$")
LARGE = re.compile(r" *Downloading .*\((\d{3,}\.\d+ ?MiB|.*GiB)\)")
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def uv(home: Path, *arguments: str) -> str:
    """Run the uv of the Python `home` and return all it printed; raise Stop with a sentence when it fails."""
    command = [str(home), "-m", "uv", *arguments]
    code, words = run(command, _shown, os.environ | pip_settings(home))
    if code:
        raise failure(words)
    return words


def _shown(line: str) -> str | None:
    return f"  {line.strip()}" if LARGE.match(line) else None


def pip_settings(home: Path) -> dict[str, str]:
    """Return the package index that pip is set to, in the variable that uv reads, unless that is set."""
    if "UV_DEFAULT_INDEX" in os.environ:
        return {}
    command = [str(home), "-m", "pip", "config", "list"]
    found = INDEX.findall(subprocess.run(command, capture_output=True, text=True).stdout)
    return {"UV_DEFAULT_INDEX": found[0]} if found else {}


def failure(words: str) -> Stop:
    """Return the sentence for what uv printed when it failed."""
    if NO_SPACE.search(words):
        return Stop("the disk is full")
    if NO_NETWORK.search(words):
        return Stop("the package index does not answer; look at the network connection")
    found = NO_VERSION.search(words)
    if found:
        return Stop(f"the package index has no {found[1] or found[2]} for this Python and system")
    return Stop("uv could not do it: " + " ".join(words.split())[-400:])


def interpreter(home: Path, version: str) -> Path | None:
    """Return a Python of this version ("3.12"): this one, one on the path, pyenv's, or one that uv knows of."""
    return next((path for path in _candidates(home, version) if version_of(path) == version), None)


def version_of(python: Path) -> str | None:
    """Return "3.12" for an interpreter that runs, else None: pyenv's shim of a Python that is not chosen runs none."""
    try:
        done = subprocess.run([str(python), "-c", VERSION], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def fetched(home: Path, version: str) -> Path | None:
    """Return a Python of this version that uv fetches, or None where the network does not allow it."""
    say(f"There is no Python {version} here; asking uv to fetch it ...")
    try:
        uv(home, "python", "install", version)
    except Stop:
        return None
    return interpreter(home, version)


def _candidates(home: Path, version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    for folder in os.get_exec_path():
        yield Path(folder, f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    yield from sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
    command = [str(home), "-m", "uv", "python", "find", "--system", version]
    known = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    if known:
        yield Path(known)
