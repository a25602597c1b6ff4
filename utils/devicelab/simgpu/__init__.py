"""A simulated GPU: real values, CUDA's own errors, estimated times.

    session      start, stop and fork; the order of the stand-ins
    stand_ins/   what replaces names of torch, a module for each part of it
    run/         one operator: looked at, refused or run, its result marked, its time counted
    rules/       what CUDA refuses, and in which words
    marks/       where a tensor is
    machine/     what a card is: clock, memory, random numbers; the table of what is replaced

Each imports only what stands below it.
"""

import torch

from devicelab import versions

with versions.known_names(torch.__version__):  # some are looked up as the modules load
    from .session import Simulation, current, simulate_gpu

__all__ = ["Simulation", "current", "simulate_gpu"]
