"""Bits as floats."""

import numpy as np

from pipeline.dataset import DatasetInfo


def features(encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Numbers (batch, 1) as their bits, float32 (batch, length, 1), the highest bit first."""
    places = np.arange(info.shape[0] - 1, -1, -1, dtype=np.uint32)
    return np.asarray((encoded.astype(np.uint32) >> places & 1)[:, :, None], np.float32)


def step_targets(encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """How many ones each prefix has: integers (batch, length)."""
    return np.cumsum(features(encoded, info)[:, :, 0], axis=1).astype(np.int32)
