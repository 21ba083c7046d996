"""Tokens as floats."""

import numpy as np

from pipeline.dataset import DatasetInfo


def features(encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Token numbers (batch, context) as plain floats, float32 (batch, context, 1), as the published programs do."""
    return encoded[:, :, None].astype(np.float32)
