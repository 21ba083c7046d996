"""Strings of 0 and 1."""

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, quoted
from pipeline.tasks import inputs


class Inputs(inputs.Inputs):
    """A string of bits is encoded as the number that it writes."""

    help = "a string of bits, such as 01101010"

    def steps(self, given: str, info: DatasetInfo) -> int:
        """How many bits the text has."""
        return len(given)

    def encode(self, given: str, info: DatasetInfo) -> np.ndarray:
        """The number (1,) that a string of 0 and 1 stands for."""
        longest = info.shape[0]
        shortest = info.min_steps or longest
        lengths = str(longest) if shortest == longest else f"{shortest} to {longest}"
        other = sorted(set(given) - {"0", "1"})
        if other:
            raise PipelineError(
                f"{quoted(given)} contains {other[0]!r}, expected {lengths} characters, each 0 or 1; remove it."
            )
        if not shortest <= len(given) <= longest:
            raise PipelineError(
                f"{quoted(given)} has {len(given)} bits, expected {lengths}; type {lengths} zeros and ones."
            )
        return np.array([int(given, 2)], np.uint32)

    def decode(self, code: np.ndarray, info: DatasetInfo) -> str:
        """The string of bits of a code (1,)."""
        return f"{int(code[0]):0{info.shape[0]}b}"

    def step_names(self, code: np.ndarray, info: DatasetInfo) -> list[str]:
        """The bits."""
        return list(self.decode(code, info))
