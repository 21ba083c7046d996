"""An exported model, opened by ONNX Runtime."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when onnxruntime is imported

BATCH = 4096  # examples at a time: keeps the memory of a million strings small


class Session:
    """An ONNX file that maps `sequence`, float32 (batch, steps, features), to `probabilities`, (batch, classes)."""

    def __init__(self, path: Path | bytes, command: str, threads: int = 0):
        """Open a file, or its content. Raises PipelineError if it is missing or damaged; `command` makes it again.

        It uses so many threads, or, if that is 0, one for each core.
        """
        import onnxruntime

        self._path, self._command = path if isinstance(path, Path) else "the graph", command
        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the errors of ONNX Runtime have no class in common
            raise PipelineError(f"{self._path} is missing or damaged; run `{command}` to make it again.") from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    def reads(self, shape: tuple[int, int]) -> bool:
        """Whether it takes examples of this shape (steps, features); some models take any number of steps."""
        _, steps, features = self._session.get_inputs()[0].shape
        return features == shape[1] and (steps == shape[0] or isinstance(steps, str))

    @property
    def classes(self) -> int:
        """How many classes it knows."""
        return int(self._session.get_outputs()[0].shape[1])

    def run(self, sequence: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs for features float32 (batch, steps, features): probabilities, and count where it reads one."""
        return dict(zip(self._outputs, self._session.run(None, {"sequence": sequence}), strict=True))

    def probabilities(self, sequence: np.ndarray) -> np.ndarray:
        """float32 (batch, classes) for features float32 (batch, steps, features).

        Raises PipelineError if one is not between 0 and 1: the file is damaged.
        """
        probabilities = np.asarray(self._session.run(["probabilities"], {"sequence": sequence})[0])
        if not ((probabilities >= 0) & (probabilities <= 1.00001)).all():  # rounding; a NaN fails, too
            raise PipelineError(
                f"{self._path} gives probabilities that are not from 0 to 1; run `{self._command}` to make it again."
            )
        return probabilities


def batches(examples: int, size: int = BATCH) -> Iterator[slice]:
    """The rows of `examples` examples, batch by batch."""
    for start in range(0, examples, size):
        yield slice(start, min(start + size, examples))
