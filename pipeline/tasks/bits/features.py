"""Strings of bits as floats. A string is encoded as its bits, so that it may have any length."""

import numpy as np

from pipeline.dataset import DatasetInfo


def features(encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Bits (batch, length), each a step of one feature: float32 (batch, length, 1)."""
    return encoded[:, :, None].astype(np.float32)


def step_targets(encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """How many ones each prefix has: integers (batch, length)."""
    return np.cumsum(encoded, axis=1, dtype=np.int32)
