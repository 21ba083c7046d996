"""Strings of 0 and 1."""

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, quoted


def steps(text: str, info: DatasetInfo) -> int:
    """How many bits the text has."""
    return len(text)


def encode(text: str, info: DatasetInfo) -> np.ndarray:
    """The number (1,) that a string of 0 and 1 stands for."""
    longest = info.shape[0]
    shortest = info.min_steps or longest
    lengths = str(longest) if shortest == longest else f"{shortest} to {longest}"
    other = sorted(set(text) - {"0", "1"})
    if other:
        raise PipelineError(
            f"{quoted(text)} contains {other[0]!r}, expected {lengths} characters, each 0 or 1; remove it."
        )
    if not shortest <= len(text) <= longest:
        raise PipelineError(f"{quoted(text)} has {len(text)} bits, expected {lengths}; type {lengths} zeros and ones.")
    return np.array([int(text, 2)], np.uint32)


def decode(code: np.ndarray, info: DatasetInfo) -> str:
    """The string of bits of a code (1,)."""
    return f"{int(code[0]):0{info.shape[0]}b}"
