"""Exercise 1: one step of an LSTM, in NumPy."""

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """A number between 0 and 1."""
    return np.asarray(1 / (1 + np.exp(-x)))


def step(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The output and the cell state (units,) after an input x (features,), from those before it.

    The kernel (features, 4 * units) has the weights W of all four gates side by side, in Keras' order: input, forget,
    candidate, output. So do recurrent (units, 4 * units), which is R, and bias (4 * units,), which is b.
    """
    # Fill the gap: sum up all four gates at once, split the sum in four, then compute c and h.
    raise NotImplementedError
