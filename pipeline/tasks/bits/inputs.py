"""Strings of 0 and 1."""

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, quoted


def encode(text: str, info: DatasetInfo) -> np.ndarray:
    """The number (1,) that a string of 0 and 1 stands for."""
    length = info.shape[0]
    other = sorted(set(text) - {"0", "1"})
    if other:
        raise PipelineError(
            f"{quoted(text)} contains {other[0]!r}, expected {length} characters, each 0 or 1; remove it."
        )
    if len(text) != length:
        raise PipelineError(f"{quoted(text)} has {len(text)} bits, expected {length}; type {length} zeros and ones.")
    return np.array([int(text, 2)], np.uint32)


def decode(code: np.ndarray, info: DatasetInfo) -> str:
    """The string of bits of a code (1,)."""
    return f"{int(code[0]):0{info.shape[0]}b}"
