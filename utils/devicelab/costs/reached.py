"""What a card reaches of its datasheet, and how far the truth may lie from the guess.

Both depend on what is known: the latencies of many operators on that card, a public benchmark of large products and
copies, or the datasheet alone.
"""

from devicelab.gpus import Card
from devicelab.operators import BATCHED, CONVOLUTION, FORMULA, GATHER, GENERIC, MATMUL, RNN, ROWS

from .kernels import VOLTA

# A card that nobody measured reaches more of its peak the more watts the board may draw for it: the fraction of
# fp32 is AT_TEN * (watts per TFLOP/s / 10) ** SLOPE, between the least and the most that was seen.
AT_TEN, SLOPE, LEAST, MOST = 0.70, 0.41, 0.40, 0.97
UNKNOWN_FP32, UNKNOWN_MEMORY = 0.65, 0.82
TENSOR = 0.78  # of fp32's fraction, on tensor cores that nobody measured: T4, V100, A100 and H100 lie between 0.77 and 0.81

# Factors from the guess to low and to high that hold the truth 9 times in 10 (benchmarks/fit_costs.py).
LATENCIES, BENCHMARK, DATASHEET = "latencies", "benchmark", "datasheet"
SPREADS = {
    LATENCIES: {MATMUL: 1.20, BATCHED: 1.20, ROWS: 1.18, GENERIC: 1.05},
    BENCHMARK: {MATMUL: 1.30, BATCHED: 1.30, ROWS: 1.25, GENERIC: 1.18},
    DATASHEET: {MATMUL: 1.50, BATCHED: 1.50, ROWS: 1.30, GENERIC: 1.20},
}
# Boards that may draw little power change their clock from one product to the next; before Volta, long rows cost more.
LOW_WATTS, LOW_POWER, BEFORE_VOLTA = 100, {MATMUL: 1.35, BATCHED: 1.60}, {MATMUL: 1.70, BATCHED: 1.60}
OTHER_SPREAD = 1.8  # where no latencies were at hand: half precision, attention, recurrent layers, look-ups
_UNTRIED = {FORMULA: OTHER_SPREAD, CONVOLUTION: 2.0, RNN: OTHER_SPREAD, GATHER: OTHER_SPREAD}


def reached_fp32(card: Card) -> float:
    """Return the fraction of the float32 peak that a large product reaches on `card`."""
    if card.reached_fp32 is not None:
        return card.reached_fp32
    if card.watts is None:
        return UNKNOWN_FP32
    return min(MOST, max(LEAST, AT_TEN * (card.watts / (card.fp32 / 1e12) / 10) ** SLOPE))


def reached_half(card: Card) -> float:
    """Return the fraction of the half precision peak that a large product reaches on `card`."""
    return card.reached_half or TENSOR * reached_fp32(card)


def reached_memory(card: Card) -> float:
    """Return the fraction of the memory bandwidth that a large copy reaches on `card`."""
    return UNKNOWN_MEMORY if card.reached_memory is None else card.reached_memory


def spread_of(card: Card, rule: int) -> float:
    """Return the factor by which low and high lie away from the guess for the operators of a rule."""
    if rule in _UNTRIED:
        return _UNTRIED[rule]
    if rule not in (MATMUL, BATCHED):
        known = DATASHEET if card.reached_memory is None else card.evidence or BENCHMARK
        return SPREADS[known][ROWS if rule == ROWS else GENERIC]
    known = DATASHEET if card.reached_fp32 is None else card.evidence or BENCHMARK
    wider = [LOW_POWER[rule]] if card.watts is not None and card.watts < LOW_WATTS else []
    wider += [BEFORE_VOLTA[rule]] if card.capability < VOLTA else []
    return max([SPREADS[known][rule], *wider])
