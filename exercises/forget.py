"""Exercise 4: the bias of the forget gate, and how far a counter counts."""

import numpy as np


def kept(bias: float, steps: int) -> float:
    """The share of a cell state that is left after so many steps, whose forget gate is sigmoid(bias) at each."""
    # Fill the gap: each step multiplies by the forget gate.
    raise NotImplementedError


def longest(bias: float) -> int:
    """The longest string of ones that is counted right: c = f c + 1 at each step, and the nearest number is the count.

    At most 1,000,000.
    """
    # Fill the gap: follow the cell state step by step, until it is half a one away from the number of steps.
    raise NotImplementedError
