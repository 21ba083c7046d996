"""A model that is a function, for what a task's evaluation makes of one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.dataset import Outputs


@dataclass(frozen=True)
class FunctionModel:
    """Gives what `outputs` gives for features (batch, steps, features). It reads every row, at every length."""

    outputs: Callable[[np.ndarray], Outputs] = lambda sequence: {}

    def run(self, sequence: np.ndarray) -> Outputs:
        """As dataset.Model."""
        return self.outputs(sequence)

    def run_prefixes(self, sequence: np.ndarray) -> Iterator[tuple[int, np.ndarray, Outputs]]:
        """As dataset.Model."""
        for steps in range(1, sequence.shape[1] + 1):
            yield steps, np.arange(len(sequence)), self.outputs(sequence[:, :steps])
