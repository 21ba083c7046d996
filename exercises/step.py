"""Exercise 1: one step of an LSTM, in NumPy."""

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """A number between 0 and 1."""
    return np.asarray(1 / (1 + np.exp(-x)))


def step(
    x: np.ndarray, h: np.ndarray, c: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The output and the cell state (units,) after an input x (features,), from those before it.

    kernel (features, 4 units), recurrent (units, 4 units), bias (4 units,), with the gates in Keras' order: input,
    forget, candidate, output.
    """
    # Fill the gap: sum up all four gates at once, split the sum, then compute c and h.
    raise NotImplementedError
