"""time.sleep takes simulated time too: a host that sleeps for a second does so on any machine.

So a slow loader that sleeps keeps the simulated card waiting, as it would a real one. The main thread's sleep counts: that
of other threads goes on beside it.
"""

import threading
import time

from devicelab.costs import Span
from devicelab.simgpu.machine import state
from devicelab.simgpu.machine.machine import Machine

_sleep = time.sleep


def sleep(seconds: float, /) -> None:
    """Stand in for time.sleep."""
    _sleep(seconds)
    if state.current is not None and threading.current_thread() is threading.main_thread():
        state.current.clock.spend(Span(seconds, seconds, seconds))


def install(machine: Machine) -> None:
    """Replace time.sleep."""
    machine.patches.replace("time.sleep", sleep)
