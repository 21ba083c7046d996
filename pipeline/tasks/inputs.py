"""The base of every task's inputs.py: what a user types or names, as an encoded example and back."""

import re
from typing import Any

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, quoted

UserInput = str | bytes  # what a user types; where that names a file, also the content of one


class Drawing(bytes):
    """The content of a picture file in which all that differs from the ground is one example, as on a drawing pad."""


class Inputs:
    """Inputs of a task: texts, or, if `reads_files`, files, each as its path (str) or its content (bytes).

    By default, the numbers of an encoded example, with commas or blanks between them.
    """

    help = "the numbers of an example, such as 5.1,3.5,1.4"
    reads_files = False
    several = False  # whether one input may hold several examples, as a picture of several digits does

    def encode(self, given: Any, info: DatasetInfo) -> np.ndarray:
        """One input as an encoded example (code,). Raises PipelineError if it is not a valid input."""
        words = [word for word in re.split(r"[,;\s]+", given) if word]
        expected = int(np.prod(info.shape))
        if len(words) != expected:
            raise PipelineError(
                f"{quoted(given)} has {len(words)} numbers, expected {expected} with commas between, as of an example "
                f"without its class: {info.encoding}."
            )
        try:
            code = np.array([float(word) for word in words], np.float32)
        except ValueError as error:
            raise PipelineError(f"{quoted(given)} has something that is no number ({error}); fix it.") from None
        if not np.isfinite(code).all():
            raise PipelineError(f"{quoted(given)} has a number that is not finite; use finite ones.")
        return code

    def encode_all(self, given: Any, info: DatasetInfo) -> list[np.ndarray]:
        """All examples in one input, encoded. Raises PipelineError if it is not a valid input."""
        return [self.encode(given, info)]

    def decode(self, code: np.ndarray, info: DatasetInfo) -> str:
        """An encoded example (code,) as an input that `encode` takes; "" if inputs are no text.

        Autoregressive tasks must define it.
        """
        return ""

    def step_names(self, code: np.ndarray, info: DatasetInfo) -> list[str]:
        """A name for each step of an encoded example (code,), for figures; by default, numbers from 1."""
        return [str(step) for step in range(1, info.shape[0] + 1)]

    def measures(self, code: np.ndarray, info: DatasetInfo) -> dict[str, float | str]:
        """Numbers and names that describe an encoded example (code,), by which `pipeline drift` compares inputs."""
        return {"mean": float(code.mean()), "range": float(np.ptp(code))}

    def image(self, code: np.ndarray, info: DatasetInfo) -> np.ndarray:
        """An encoded example as the image uint8 (rows, columns) that the model sees. Raises PipelineError if none."""
        raise PipelineError(f"a {info.task} model does not read pictures; leave out --show.")
