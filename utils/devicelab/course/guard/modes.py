"""Seeds, modes, defaults of torch and the folder: those of a fresh kernel for the learner's code, and their way back."""

import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from devicelab import devices

SEED = 0  # each check draws the same numbers, so that its words are the same each time
Restore = Callable[[], object]


def clean() -> None:
    """Give the learner's code the modes that a fresh kernel has."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    if devices.default() != torch.device("cpu"):
        torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    # One thread: an exercise's work is small, more threads would wait for each other, and round otherwise.
    torch.set_num_threads(1)
    for kind in ("cuda", "cpu"):
        torch.set_autocast_enabled(kind, False)


def restores() -> Iterator[Restore]:
    """Yield what puts back seeds, modes and defaults as they are now."""
    yield from _random_states()
    yield from _modes()
    yield from _folder()


def _folder() -> Iterator[Restore]:
    try:
        here = os.getcwd()
    except FileNotFoundError:  # deleted under the kernel: there is nothing to go back to
        return
    yield lambda: os.chdir(here)


def _random_states() -> Iterator[Restore]:
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all()
    yield lambda: random.setstate(python)
    yield lambda: np.random.set_state(numpy)
    yield lambda: torch.set_rng_state(cpu)
    yield lambda: torch.cuda.set_rng_state_all(cuda)


def _modes() -> Iterator[Restore]:
    device, card = devices.default(), torch.cuda.current_device()
    had_default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None) is not None
    yield lambda: torch.set_default_device(device if had_default else None)
    yield lambda: torch.cuda.set_device(card)
    yield _setting(torch.is_grad_enabled, torch.set_grad_enabled)
    yield _setting(torch.get_default_dtype, torch.set_default_dtype)
    yield _setting(torch.is_anomaly_enabled, torch.set_anomaly_enabled)
    yield _setting(torch.get_num_threads, torch.set_num_threads)
    yield _setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    strict, warns = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    yield lambda: torch.use_deterministic_algorithms(strict, warn_only=warns)
    for name in ("enabled", "benchmark", "deterministic", "allow_tf32"):
        yield _attribute(torch.backends.cudnn, name)
    for kind in ("cuda", "cpu"):
        yield _autocast(kind)
    yield _setting(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled)


def _setting(read: Callable[[], Any], write: Callable[[Any], object]) -> Restore:
    before = read()
    return lambda: write(before) if read() != before else None


def _attribute(owner: Any, name: str) -> Restore:
    before = getattr(owner, name)
    return lambda: setattr(owner, name, before) if getattr(owner, name) != before else None


def _autocast(kind: str) -> Restore:
    enabled, dtype = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    def restore() -> None:
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)

    return restore
