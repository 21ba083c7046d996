"""Exercise 8: a new task for the pipeline: is the number of ones in a string of bits odd?

In the pipeline, `Data` is tasks/parity/data.py, and `features` is tasks/parity/features.py: docs/extending.md.
"""

from pathlib import Path

import numpy as np

from pipeline.dataset import DatasetInfo, Examples, binary
from pipeline.section import Section
from pipeline.tasks import data

BITS = 8


class Data(data.Data):
    """All strings of 8 bits: three of four train, the others test."""

    def split(self, params: Section, folder: Path, rng: np.random.Generator) -> Examples:
        """The bits of each string uint8 (256, 8), in a random order, and the class of each: 0 if even, 1 if odd."""
        strings = binary(np.arange(2**BITS), BITS)
        rng.shuffle(strings)
        targets: np.ndarray = np.zeros(len(strings), int)
        splits: dict[str, int] = {}
        # Fill the gap: replace these two: `targets` by the classes (256,), `splits` by the numbers of strings by name.
        raise NotImplementedError
        info = DatasetInfo(
            task="parity",
            dataset=f"parity-{BITS}",
            stand_in=False,
            shape=(BITS, 1),
            class_names=["even", "odd"],
            eval_split="test",
            autoregressive=False,
            encoding="a string of bits, each one step of one feature, 0.0 or 1.0",
            splits=splits,
        )
        return Examples(info, strings, targets)


def features(encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
    """Bits (batch, 8) as float32 (batch, 8, 1), a step for each."""
    # Fill the gap: the network reads floats with the axes batch, steps, features.
    raise NotImplementedError
