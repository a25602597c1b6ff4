"""A simulated GPU: real values, CUDA's own errors, estimated times."""

from .session import Simulation, current, simulate_gpu

__all__ = ["Simulation", "current", "simulate_gpu"]
