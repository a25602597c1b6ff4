"""Numbers for people: one unit, three digits."""

import math

_TIME = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (0.0, "ns"))


def digits(value: float) -> str:
    """Return `value` with three significant digits and no exponent below a million."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def seconds(value: float) -> str:
    """Return a duration, given in seconds, in the unit that suits it: 9.8e-5 becomes "98.0 µs"."""
    scale, unit = _unit(value)
    return f"{digits(value / (scale or 1e-9))} {unit}"


def span(low: float, high: float, like: float) -> str:
    """Return two durations, given in seconds, in the unit that `like` has: "58.5 to 267"."""
    scale = _unit(like)[0] or 1e-9
    return f"{digits(low / scale)} to {digits(high / scale)}"


def _unit(value: float) -> tuple[float, str]:
    return next((pair for pair in _TIME if abs(value) >= pair[0]), _TIME[-1])


def size(count: float) -> str:
    """Return a size, given in bytes, in powers of 1024: 4194304 becomes "4.00 MiB"."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{digits(count)} {unit}"
        count /= 1024
    return f"{digits(count)} GiB"


def rate(per_second: float) -> str:
    """Return a count per second: 10200 becomes "10,200 per second"."""
    return f"{digits(per_second)} per second"
