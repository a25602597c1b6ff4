"""A forked Python does what one that was started anew does, and is started anew where it could not."""

import asyncio
import os
import subprocess
import sys
import time

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tools.notebooks.nbfiles import private_environment, write
from tools.notebooks.remake import execute, warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
SEEN = """
import os, pickle, sys
class Own: pass
pickle.loads(pickle.dumps(Own()))  # found in the main module
print(sys.argv, os.getcwd(), os.environ["SEEN"], sys.path[0], __name__, repr(sys.stdin.read()), os.getsid(0) == os.getpid())
print("beside", file=sys.stderr)
sys.exit(3)
"""
WARM = "import sys; print('torch' in sys.modules, 'devicelab' in sys.modules, 'matplotlib' in sys.modules)"
RANDOM = "import random, numpy, torch; print(random.random(), numpy.random.rand(), torch.rand(1).item())"


def anew(*arguments, **options):
    """Return what a Python that is started anew in a session of its own says."""
    command = [sys.executable, *arguments]
    options |= {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "start_new_session": True}
    return subprocess.run(command, **options)


def gone(pid):
    """Wait a little for the end of a process, and say whether it came."""
    end = time.monotonic() + 20
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
        time.sleep(0.05)
    return not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("way", [["-c", SEEN], ["seen.py"], ["-m", "seen"]], ids=lambda way: way[0])
def test_it_sees_says_and_returns_the_same(way, tmp_path):
    (tmp_path / "seen.py").write_text(SEEN)
    here = {"cwd": tmp_path, "env": {**os.environ, "SEEN": "yes"}}
    forked, other = warm.run(*way, "a", "b", **here), anew(*way, "a", "b", **here)
    assert "'a', 'b'" in forked.stdout and forked.returncode == 3
    assert (forked.stdout, forked.stderr, forked.returncode) == (other.stdout, other.stderr, other.returncode)


@pytest.mark.parametrize(
    "code",
    [
        "1 / 0",
        "import os; os.kill(os.getpid(), 9)",
        "raise SystemExit('no')",
        "import signal; signal.raise_signal(2)",
    ],
)
def test_it_ends_the_same(code):
    forked, other = warm.run("-c", code), anew("-c", code)
    assert forked.returncode == other.returncode != 0
    assert forked.stderr.splitlines()[-1:] == other.stderr.splitlines()[-1:]


def test_torch_is_there_and_nothing_of_ours():
    assert warm.run("-c", WARM).stdout == "True False False\n"
    assert anew("-c", WARM).stdout == "False False False\n"


def test_what_was_imported_is_walked_by_no_collection_of_garbage():
    assert int(warm.run("-c", "import gc; print(gc.get_freeze_count())").stdout) > 100_000
    assert anew("-c", "import gc; print(gc.get_freeze_count())").stdout == "0\n"


def test_no_grammar_is_built_for_addresses_that_no_notebook_has():
    code = "import tools.notebooks, jsonschema, sys; print('lark' in sys.modules)"
    assert anew("-c", code, cwd=warm.ROOT).stdout == "False\n"


def test_random_numbers_are_not_repeated():
    one, two = (warm.run("-c", RANDOM).stdout.split() for _ in range(2))
    assert len(one) == 3 and not set(one) & set(two)


def test_what_python_reads_when_it_starts_is_never_passed_over():
    code = "import sys; print(sys.flags.utf8_mode, 'torch' in sys.modules)"
    assert warm.run("-c", code, env={**os.environ, "PYTHONUTF8": "1"}).stdout == "1 False\n"


def test_it_is_ended_when_its_time_is_up(tmp_path):
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(300)"
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run("-c", code, timeout=3)
    assert gone((tmp_path / "pid").read_text())


def test_it_ends_with_the_one_who_asked_for_it(tmp_path):
    pid = tmp_path / "pid"
    inner = f"import os, time; open({str(pid)!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(300)"
    leave = f"while not (os.path.exists({str(pid)!r}) and os.path.getsize({str(pid)!r})): time.sleep(0.1)\n    os._exit(0)"
    outer = f"import os, threading, time; from tools.notebooks import warm\ndef leave():\n    {leave}\n"
    anew("-c", outer + f"threading.Thread(target=leave).start(); warm.run('-c', {inner!r})", cwd=warm.ROOT)
    assert gone(pid.read_text().strip())


def test_a_notebooks_kernel_is_forked_where_that_is_wanted(tmp_path):
    write(
        tmp_path / "a.ipynb",
        new_notebook(cells=[new_code_cell(WARM), new_code_cell("import os; os.getppid()")]),
    )
    made = asyncio.run(execute(tmp_path / "a.ipynb", os.environ | private_environment(tmp_path)))
    assert made.cells[0].outputs[0].text == "True False False\n"
    assert int(made.cells[1].outputs[0].data["text/plain"]) not in (1, os.getpid())
