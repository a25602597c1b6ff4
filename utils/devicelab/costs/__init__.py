"""What an operator costs on a card: launches for the host, seconds for the device, each with low and high.

It runs nothing and reads no values. All of it is an estimate: docs/estimates.md says how good,
docs/sources.md where each constant comes from, benchmarks/fit_costs.py how they were fitted.
"""

from .card import CardCosts, Cost, kernel_span
from .here import NOMINAL, Host, host
from .host import CONTEXT, COPY, DISPATCH, KERNEL, LAUNCH, SYNCHRONIZE, Span, host_seconds

__all__ = [
    "CONTEXT",
    "COPY",
    "DISPATCH",
    "KERNEL",
    "LAUNCH",
    "NOMINAL",
    "SYNCHRONIZE",
    "CardCosts",
    "Cost",
    "Host",
    "Span",
    "host",
    "host_seconds",
    "kernel_span",
]
