"""Run pip in the course's environment, and turn its usual failures into a sentence each."""

import os
import platform
import re
import sys
import tempfile
from pathlib import Path

from tools.setup.say import ROOT, Stop, run, this_command

NO_SPACE = re.compile(r"No space left on device|\[Errno 28\]|WinError 112|Disk quota exceeded")
NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|Temporary failure in name resolution|getaddrinfo failed"
    r"|ConnectTimeoutError|ReadTimeoutError|Read timed out|Network is unreachable|Connection refused|ProxyError"
    r"|SSLError|Connection reset|Connection aborted"
)
NO_PACKAGE = re.compile(r"No matching distribution found for ([\w.-]+)")
DAMAGED = re.compile(r"Wheel '[^']*' located at (.+) is invalid|BadZipFile")
NO_TORCH = re.compile(r"No matching distribution found for torch\b")
MANAGED = re.compile(r"externally-managed-environment")
WORTH_SHOWING = re.compile(
    r"\s*(?:Downloading .*\((?:\d{2,}\.\d+ MB|\d+ MB|\d+\.\d+ GB)\)|Installing collected|WARNING: Retrying)"
)


def pip(python: Path, *arguments: str, show: bool = True) -> str:
    """Run pip, `show` large downloads as they begin, and return all it printed; raise Stop with a sentence when it fails."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    code, words = run(command, lambda line: _shown(line) if show else None)
    if code:
        raise failure(words)
    return words


def _shown(line: str) -> str | None:
    return f"  {line.strip()[:100]}" if WORTH_SHOWING.match(line) else None


def failure(words: str) -> Stop:
    """Return the sentence for what pip printed when it failed."""
    again = "Then give the same command again: what is already installed is kept."
    if NO_SPACE.search(words):
        return no_space()
    if NO_NETWORK.search(words):
        return Stop(
            "The packages could not be fetched: the package index does not answer.",
            "Look at the network connection (behind a proxy, set HTTPS_PROXY or pip's own settings).",
            again,
        )
    lacking = NO_PACKAGE.search(words)
    if lacking and os.environ.get("PIP_NO_INDEX"):
        return Stop(
            f"The folder of packages has no {lacking[1]} for {this_machine()}.",
            f"Fill it on a machine of this kind that has a network: {this_command('wheels', 'FOLDER')}",
        )
    if NO_TORCH.search(words):
        return no_torch()
    damaged = DAMAGED.search(words)
    if damaged:
        which = damaged[1] or "A package"
        return Stop(
            f"{which} is damaged: it was not copied or fetched whole.",
            "Delete it, and fetch it again.",
            again,
        )
    if MANAGED.search(words):
        return Stop(
            "This Python belongs to the operating system, which allows no packages to be installed into it.",
            f"Leave out --here: {this_command('lab')} makes its own .venv.",
        )
    sys.stderr.writelines(words.splitlines(keepends=True)[-12:])
    return Stop(
        "pip could not install the packages; its last words are above.",
        f"To begin anew: {this_command('clean-venv')}",
        again,
    )


def no_space() -> Stop:
    """Return the sentence for a full disk."""
    temporary = tempfile.gettempdir()
    return Stop(
        "The disk is full: there is no room left for the packages.",
        f"They need about 2.5 GB in {ROOT}, and for a while some of {temporary} (set TMPDIR to use another folder).",
        "Make room, then give the same command again.",
    )


def this_machine() -> str:
    """Return what packages are made for: "Python 3.12 on Linux x86_64"."""
    version = ".".join(platform.python_version_tuple()[:2])
    return f"Python {version} on {platform.system()} {platform.machine()}"


def no_torch() -> Stop:
    """Return the sentence for a machine that PyTorch publishes no package for."""
    return Stop(
        f"There is no PyTorch package for {this_machine()}.",
        "Take another Python (3.12 is the safest), or conda: conda env create -f environment.yml",
        "Or run the course in the browser: the launch badges in README.md.",
    )
