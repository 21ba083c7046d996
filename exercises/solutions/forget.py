"""Exercise 4: the bias of the forget gate, and how far a counter counts."""

import numpy as np


def kept(bias: float, steps: int) -> float:
    """The share of a cell state that is left after so many steps, whose forget gate is sigmoid(bias) at each."""
    # gap: each step multiplies by the forget gate
    return float((1 / (1 + np.exp(-bias))) ** steps)
    # end


def longest(bias: float) -> int:
    """The longest string of ones that is counted right: c = f c + 1 at each step, and the nearest number is the count.

    At most 1,000,000.
    """
    # gap: follow the cell state step by step, until it is half a one away from the number of steps
    forget, cell = 1 / (1 + np.exp(-bias)), 0.0
    for steps in range(1, 1_000_001):
        cell = forget * cell + 1
        if abs(cell - steps) >= 0.5:
            return steps - 1
    return 1_000_000
    # end
