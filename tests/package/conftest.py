"""A script that is run in this process, as `python -m devicelab run` does it."""

import io
import json
import sys
import threading

import pytest

from devicelab import runner


@pytest.fixture
def run_here(monkeypatch, tmp_path, capfd):
    """Return a function that runs code as a script on a simulated card; what it changes is put back."""
    for name in ("argv", "path", "excepthook", "stderr"):
        value = getattr(sys, name)
        monkeypatch.setattr(sys, name, list(value) if isinstance(value, list) else value)
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # in place of pytest's

    def run(code: str, *words: str) -> tuple[int, dict, str]:
        script, report = tmp_path / "job.py", tmp_path / "verdict.json"
        script.write_text(code, "utf-8")
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
        ended = runner.main(["--simulate-gpu", "--json", str(report), *words, str(script)])
        return ended, json.loads(report.read_text("utf-8")), capfd.readouterr().err

    yield run
    for name, module in list(sys.modules.items()):  # another test's module of this name is another one
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
