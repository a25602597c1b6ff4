"""What an hour on the wrong device costs, at the reader's own price."""

import math
from dataclasses import dataclass

from . import units
from .errors import InputError, check_range
from .picture import Shown

MOST = 1_000_000_000  # of a price, a factor or hours


@dataclass(frozen=True, repr=False)
class Waste(Shown):
    """Work that takes `hours` on the right device and `slower` times as long on the wrong one, both at one price an hour."""

    price_per_hour: float
    slower: float
    hours: float
    currency: str

    @property
    def cost(self) -> float:
        """What the work costs on the wrong device."""
        return self.hours * self.slower * self.price_per_hour

    @property
    def wasted(self) -> float:
        """What of it the right device would have saved."""
        return self.cost - self.hours * self.price_per_hour

    def __str__(self) -> str:
        hours, slower, price = (
            units.digits(value) for value in (self.hours, self.slower, self.price_per_hour)
        )
        return (
            f"{hours} h of work x {slower} times slower x {price}{self._unit} an hour = {units.digits(self.cost)}{self._unit}, "
            f"of which {units.digits(self.wasted)}{self._unit} are wasted."
        )

    @property
    def _unit(self) -> str:
        return f" {self.currency}" if self.currency else ""


def waste(price_per_hour: float, slower: float, hours: float = 1.0, currency: str = "") -> Waste:
    """Say what it costs to leave GPU work on a CPU while the GPU is paid for: hours x slower x price.

    `price_per_hour` is what your machine costs an hour, with the GPU that stands idle; `slower` how many times longer the
    work takes on the wrong device; `hours` how long it would take on the right one.
    """
    for name, value, least in (
        ("price_per_hour", price_per_hour, 0.0),
        ("slower", slower, 1.0),
        ("hours", hours, 0.0),
    ):
        if not isinstance(value, int | float) or math.isnan(value):
            raise InputError(f"{name} must be a number, but it is {value!r}.")
        check_range(name, value, least, MOST)
    return Waste(price_per_hour, slower, hours, currency)
