"""Exercise 6: a temperature that calibrates."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (examples, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The number from 0.1 to 10 by which to divide logits (examples, classes) for the smallest mean cross-entropy."""
    # gap: compute the cross-entropy for many temperatures, 1 % apart, and take the best
    candidates = np.geomspace(0.1, 10, 464)
    rows = np.arange(len(targets))
    losses = [-np.log(softmax(logits / each)[rows, targets]).mean() for each in candidates]
    return float(candidates[np.argmin(losses)])
    # end
