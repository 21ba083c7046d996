"""The longest sequence for which every count of an exported network is proven right, from its weights alone.

docs/counter.md has the proof in words. It holds for one LSTM whose recurrent kernel is zero and whose forget gate is
one: its cell state is a sum, to which each step adds what depends on that step alone. The bound is one of the distance
from the count to the number that is read from the cell state, with the rounding of the graph's float64 arithmetic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np

from pipeline.inference.trace import Arrays, read_weights

DIGITS = 50  # of the arithmetic of the proof
UNIT = Decimal(2) ** -53  # the largest relative error of one float64 operation
# Of ONNX Runtime: the absolute error of a sigmoid, and the relative error of a tanh, at most. A test measures both.
FUNCTION = 16 * UNIT
OPEN = 38  # before the sigmoid: from here on 1 + exp(-z) rounds to 1, and the forget gate is exactly one
NEAR = Decimal("0.499")  # below one half, a number is rounded to the count
LONGEST = 10**9  # steps, above which nothing is claimed


@dataclass(frozen=True)
class Certificate:
    """How many steps are proven, and the numbers of the proof; if none is, the reason."""

    certified_steps: int
    reason: str | None = None
    adds: tuple[float, ...] = ()  # what each symbol adds to the number that is read
    bias: float = 0.0  # of that number
    deviation_per_step: float = 0.0  # of the number from the count, at most, in exact arithmetic
    rounding: float = 0.0  # of all operations, at most, at the certified length
    forget_gate: float = 0.0  # the smallest number whose sigmoid is the forget gate


def certify(onnx: Path, increments: Mapping[float, int]) -> Certificate:
    """The certificate of an exported graph that reads one symbol at each step: 0 or 1, whose products are exact.

    `increments` has what each symbol counts.
    """
    weights = read_weights(onnx)
    reason = _no_sum(weights, increments)
    if reason:
        return Certificate(0, reason)
    with localcontext(prec=DIGITS):
        return _certificate(weights, increments)


def _no_sum(weights: Arrays, increments: Mapping[float, int]) -> str | None:
    """Why the cell state is not a sum of what each step adds; None if it is."""
    if not increments or "count.kernel" not in weights:
        return "it does not read a count"
    if "lstm_2.kernel" in weights or "dense.kernel" in weights or "embedding.table" in weights:
        return "it has other layers than one LSTM"
    if nonzero := np.count_nonzero(weights["lstm_1.recurrent"]):
        return f"{nonzero:,} of its recurrent weights are not zero, so that a step depends on those before it"
    opened = min(float(_before_gates(weights, symbol)[2].min()) for symbol in increments)
    if not opened >= OPEN:
        return f"its forget gate is not one: before the sigmoid, it is {opened:.3g}, expected at least {OPEN}"
    return None


def _before_gates(weights: Arrays, symbol: float) -> np.ndarray:
    """What the sigmoids and the tanh are given at a step with this symbol: float64 (4, units), ONNX' order of gates."""
    of_input, of_output = np.split(weights["lstm_1.bias"][0].astype(np.float64), 2)
    z = weights["lstm_1.kernel"][0, :, 0].astype(np.float64) * symbol + of_input + of_output
    return np.asarray(z.reshape(4, -1))


def _certificate(weights: Arrays, increments: Mapping[float, int]) -> Certificate:
    kernel = [Decimal(float(weight)) for weight in weights["count.kernel"][:, 0]]
    bias = Decimal(float(weights["count.bias"][0]))
    largest = [Decimal(0)] * len(kernel)  # of each unit: what a step adds to its cell state, at most
    inexact = [Decimal(0)] * len(kernel)  # and how wrong that may be
    adds, opened = {}, []
    for symbol in increments:
        i, _, f, g = _before_gates(weights, symbol)
        gates = [(_sigmoid(zi), _tanh(zg), abs(Decimal(float(zi)))) for zi, zg in zip(i, g, strict=True)]
        added = [input_gate * candidate for input_gate, candidate, _ in gates]
        errors = [  # the slope of a sigmoid is at most 1/4; a tanh changes by no larger share than its input
            abs(candidate) * (FUNCTION + UNIT * z / 4) + abs(input_gate * candidate) * (FUNCTION + 2 * UNIT)
            for input_gate, candidate, z in gates
        ]
        largest = [max(so_far, abs(each) + error) for so_far, each, error in zip(largest, added, errors, strict=True)]
        inexact = [max(pair) for pair in zip(inexact, errors, strict=True)]
        adds[symbol] = sum((weight * each for weight, each in zip(kernel, added, strict=True)), Decimal(0))
        opened.append(float(f.min()))
    deviation = max(abs(adds[symbol] - count) for symbol, count in increments.items())
    added_at_most = sum((abs(weight) * each for weight, each in zip(kernel, largest, strict=True)), Decimal(0))
    wrong_at_most = sum((abs(weight) * each for weight, each in zip(kernel, inexact, strict=True)), Decimal(0))
    operations = 2 * (len(kernel) + 2)  # of the weighted sum that reads the number

    def rounding(steps: int) -> Decimal:
        # The sum after t steps is at most t * added_at_most; an addition is wrong by at most UNIT times its result.
        of_sums = UNIT * added_at_most * steps * (steps + 1) / 2
        of_reading = operations * UNIT * (added_at_most * steps + abs(bias))
        return Decimal("1.01") * (wrong_at_most * steps + of_sums + of_reading)  # 1.01: products of such errors

    def is_right(steps: int) -> bool:
        return abs(bias) + deviation * steps + rounding(steps) < NEAR

    low, high = 0, LONGEST
    while low < high:  # the bound grows with the steps
        middle = (low + high + 1) // 2
        low, high = (middle, high) if is_right(middle) else (low, middle - 1)
    return Certificate(
        certified_steps=low,
        adds=tuple(float(adds[symbol]) for symbol in increments),
        bias=float(bias),
        deviation_per_step=float(deviation),
        rounding=float(rounding(low)),
        forget_gate=min(opened),
    )


def _sigmoid(z: float) -> Decimal:
    return 1 / (1 + (-Decimal(float(z))).exp())


def _tanh(z: float) -> Decimal:
    squared = (2 * Decimal(float(z))).exp()
    return (squared - 1) / (squared + 1)
