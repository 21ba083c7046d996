"""Strings of bits as floats. A string is stored as the number that it writes, the highest bit first."""

import numpy as np

from pipeline.dataset import DatasetInfo


def features(encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Numbers (batch, 1) as their bits, float32 (batch, length, 1)."""
    return bits(encoded[:, 0], info.shape[0])


def bits(numbers: np.ndarray, length: int) -> np.ndarray:
    """Numbers (batch,) as strings of so many bits, float32 (batch, length, 1)."""
    places = np.arange(length - 1, -1, -1, dtype=np.uint32)
    return np.asarray((numbers.astype(np.uint32)[:, None] >> places & 1)[:, :, None], np.float32)


def step_targets(encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """How many ones each prefix has: integers (batch, length)."""
    return np.cumsum(features(encoded, info)[:, :, 0], axis=1).astype(np.int32)
