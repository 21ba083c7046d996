"""Strings of 0 and 1."""

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, quoted
from pipeline.tasks import inputs


class Inputs(inputs.Inputs):
    """A string of bits is encoded as its bits."""

    help = "a string of bits, such as 01101010"

    def encode(self, given: str, info: DatasetInfo) -> np.ndarray:
        """The bits of a string of 0 and 1, uint8 (length,)."""
        shortest, longest = (steps or info.shape[0] for steps in (info.min_steps, info.max_steps))
        lengths = f"{longest:,}" if shortest == longest else f"{shortest} to {longest:,}"
        other = sorted(set(given) - {"0", "1"})
        if other:
            raise PipelineError(
                f"{quoted(given)} contains {other[0]!r}, expected {lengths} characters, each 0 or 1; remove it."
            )
        if not shortest <= len(given) <= longest:
            raise PipelineError(
                f"{quoted(given)} has {len(given):,} bits, expected {lengths}; type {lengths} zeros and ones."
            )
        return np.frombuffer(given.encode(), np.uint8) - ord("0")

    def decode(self, code: np.ndarray, info: DatasetInfo) -> str:
        """The string of bits of a code (length,)."""
        return "".join(map(str, code))

    def measures(self, code: np.ndarray, info: DatasetInfo) -> dict[str, float | str]:
        """The length and the share of ones."""
        return {"length": float(len(code)), "share of ones": float(code.mean())}

    def step_names(self, code: np.ndarray, info: DatasetInfo) -> list[str]:
        """The bits."""
        return list(self.decode(code, info))
