"""A simulated GPU: real values, CUDA's own errors, estimated times."""

import torch

from devicelab import versions

with versions.known_names(torch.__version__):  # some are looked up as the modules load
    from .session import Simulation, current, simulate_gpu

__all__ = ["Simulation", "current", "simulate_gpu"]
