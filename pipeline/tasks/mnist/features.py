"""Pixels as floats."""

import numpy as np

from pipeline.dataset import DatasetInfo


def features(encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Pixels (batch, 784) of 0 to 255 as float32 (batch, 28, 28) of 0 to 1."""
    return np.asarray(encoded.reshape(-1, *info.shape).astype(np.float32) / np.float32(255))
