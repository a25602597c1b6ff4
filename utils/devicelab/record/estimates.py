"""What our estimates say of the operators that a recording holds: the ratio, kind by kind."""

from collections.abc import Callable
from math import exp, log
from statistics import fmean
from typing import Any

import torch

from devicelab import devices, units
from devicelab.costs import DISPATCH, LAUNCH, CardCosts
from devicelab.errors import InputError
from devicelab.gpus import find
from devicelab.recordings import Recording, kind_of

from .measure import operator

KINDS = ("linear", "bmm", "add", "layer_norm", "softmax")
META = torch.device("meta")


class _Costs(devices.Listener):
    """Adds up what the operators inside it would cost on a card; they run on meta tensors, so nothing is computed."""

    def __init__(self, costs: CardCosts) -> None:
        super().__init__()
        self._costs, self.host, self.card = costs, 0.0, 0.0

    def hear(self, run: Callable[..., Any], func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        out = run(func, types, args, kwargs)
        cost = self._costs.operator(func, args, kwargs or {}, out)
        if cost.kernels:
            self.host += DISPATCH.seconds + cost.kernels * LAUNCH.seconds
            self.card += cost.device.seconds
        return out


def estimated(kind: str, sizes: dict[str, int], costs: CardCosts) -> float:
    """Return the estimated seconds of one call among many: host and card work at the same time, the slower one decides."""
    call = operator(kind, sizes, META)
    with torch.no_grad(), _Costs(costs) as total:
        call()
    return max(total.host, total.card)


def table(recording: Recording) -> str:
    """Return estimate against measurement as text: the middle ratio of each kind of operator, and the widest one."""
    try:
        costs = CardCosts(find(recording.card))
    except InputError:
        return f"No estimates: the catalogue has no {recording.card}. Add it with lab.gpus().add(...)."
    lines = [f"{'operator':12}{'sizes':>6}{'estimated / recorded':>22}   lowest and highest"]
    for kind in KINDS:
        ratios = [
            estimated(kind, sizes_of(name), costs) / timing.median
            for name, timing in recording.times.items()
            if kind_of(name) == kind
        ]
        if ratios:
            mean, low, high = (
                units.digits(number) for number in (geometric(ratios), min(ratios), max(ratios))
            )
            lines.append(f"{kind:12}{len(ratios):6}{mean:>22}   {low} to {high}")
    return "\n".join([*lines, "Means are geometric: 2 and 1/2 give 1."])


def geometric(ratios: list[float]) -> float:
    """Return the geometric mean."""
    return exp(fmean(log(ratio) for ratio in ratios))


def sizes_of(name: str) -> dict[str, int]:
    """Return the sizes in a time's name: "linear B=1 M=32" gives {"B": 1, "M": 32}."""
    return {size: int(number) for size, _, number in (word.partition("=") for word in name.split()) if number}
