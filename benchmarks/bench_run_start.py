"""What `python -m devicelab run` adds before a script's first line: fresh processes, taken in turns, beside `import torch`.

    python -m benchmarks run_start

CPU seconds, the least of several rounds: those at the script's first line, less those of a Python that imports torch.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.shared import in_turns

ROUNDS = 5
BOUNDS = {"run": 0.4, "simulate_gpu() in a script": 0.5, "run --simulate-gpu": 0.6}  # seconds
FIRST_LINE = "import time; print(time.process_time())"


def cpu_seconds(*command: str) -> float:
    """Return the CPU seconds that a fresh Python has taken when it comes to the line that prints them."""
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True, env=alone)
    return float(done.stdout)


def ratios() -> Iterator[tuple[str, float, float]]:
    """Yield name, value and bound."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.py")
        script.write_text(FIRST_LINE)
        ways = {
            "torch": ("-c", f"import torch; {FIRST_LINE}"),
            "simulate_gpu() in a script": ("-c", f"import devicelab; devicelab.simulate_gpu(); {FIRST_LINE}"),
            "run": ("-m", "devicelab", "run", str(script)),
            "run --simulate-gpu": ("-m", "devicelab", "run", "--simulate-gpu", str(script)),
        }
        best = in_turns({name: partial(cpu_seconds, *command) for name, command in ways.items()}, ROUNDS)
    for name, bound in BOUNDS.items():
        yield f"CPU s before the first line, {name}, less import torch", best[name] - best["torch"], bound
