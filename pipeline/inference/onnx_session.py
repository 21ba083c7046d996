"""An exported model, opened by ONNX Runtime."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.dataset import DatasetInfo
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
            options.log_severity_level = 3  # errors: it would warn that the first states may be given
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            reads = [each.name for each in self._session.get_inputs()]
            self._outputs = [each.name for each in self._session.get_outputs()]
            # Inputs that may be left out, such as lstm_1.initial_cell, by the outputs that continue them.
            initial = [each.name for each in self._session.get_overridable_initializers()]
        except Exception as error:  # the errors of ONNX Runtime have no class in common
            raise PipelineError(f"{self._path} is missing or damaged; run `{command}` to make it again.") from error
        self._states = {name.replace(".initial_", ".final_"): name for name in initial}
        if reads != ["sequence"] or self._outputs[0] != "probabilities" or not {*self._states} <= {*self._outputs}:
            raise PipelineError(f"{self._path} is no network of this project; run `{command}` to make it again.")

    def reads(self, shape: tuple[int, int]) -> bool:
        """Whether it takes examples of this shape (steps, features); some models take any number of steps."""
        _, steps, features = self._session.get_inputs()[0].shape
        return features == shape[1] and (steps == shape[0] or isinstance(steps, str))

    @property
    def classes(self) -> int:
        """How many classes it knows."""
        return int(self._session.get_outputs()[0].shape[1])

    def is_of(self, info: DatasetInfo) -> bool:
        """Whether it takes the examples of a dataset and knows its classes."""
        return self.reads(info.shape) and self.classes == len(info.class_names)

    def run(self, sequence: np.ndarray) -> dict[str, np.ndarray]:
        """All outputs for features float32 (batch, steps, features): probabilities, and count where it reads one.

        If the graph takes and gives states, what neighbours in the batch begin with alike is read once.

        Raises PipelineError if a probability is not between 0 and 1: the file is damaged.
        """
        if not self._states or len(sequence) < 2:
            return self._run({"sequence": sequence})
        first = _first_of_each_prefix(sequence)
        partings = np.flatnonzero(np.diff(first.sum(axis=0), prepend=0))  # the steps at which neighbours part
        for _, rows, outputs in self._run_parts(sequence, first, partings.tolist()):  # noqa: B007  # the last is kept
            pass
        equal = np.diff(rows, append=len(sequence))  # how many rows in turn are the same sequence
        return {name: np.repeat(values, equal, axis=0) for name, values in outputs.items()}

    def run_prefixes(self, sequence: np.ndarray) -> Iterator[tuple[int, np.ndarray, dict[str, np.ndarray]]]:
        """As in `dataset.Model`, with the errors of `run`. A graph that takes and gives states reads no step twice."""
        first = _first_of_each_prefix(sequence)
        if self._states:
            yield from self._run_parts(sequence, first, [*range(sequence.shape[1])])
            return
        for steps in range(1, sequence.shape[1] + 1):
            rows = np.flatnonzero(first[:, steps - 1])
            yield steps, rows, self._run({"sequence": sequence[rows, :steps]})

    def probabilities(self, sequence: np.ndarray) -> np.ndarray:
        """float32 (batch, classes) for features float32 (batch, steps, features). Raises PipelineError as `run`."""
        return self.run(sequence)["probabilities"]

    def _run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            outputs = dict(zip(self._outputs, self._session.run(None, inputs), strict=True))
        except Exception as error:  # as above
            raise PipelineError(f"{self._path} could not be run; run `{self._command}` to make it again.") from error
        probabilities = outputs["probabilities"]
        if not ((probabilities >= 0) & (probabilities <= 1.00001)).all():  # rounding; a NaN fails, too
            raise PipelineError(
                f"{self._path} gives probabilities that are not from 0 to 1; run `{self._command}` to make it again."
            )
        return outputs

    def _run_parts(
        self, sequence: np.ndarray, first: np.ndarray, starts: list[int]
    ) -> Iterator[tuple[int, np.ndarray, dict[str, np.ndarray]]]:
        """Run from each of some steps to the next one, from the states before it, the rows that `first` marks there."""
        states: dict[str, np.ndarray] = {}
        group = np.zeros(len(sequence), int)  # of each row, its place among the rows that were read so far
        for start, stop in pairwise([*starts, sequence.shape[1]]):
            rows = np.flatnonzero(first[:, start])
            going_on = {name: values[group[rows]] for name, values in states.items()}
            outputs = self._run({"sequence": sequence[rows, start:stop]} | going_on)
            yield stop, rows, outputs
            states = {initial: outputs[final] for final, initial in self._states.items()}
            group = np.cumsum(first[:, start]) - 1


def _first_of_each_prefix(sequence: np.ndarray) -> np.ndarray:
    """Whether a row begins otherwise than the row above, up to each step: bool (batch, steps)."""
    differs = np.logical_or.accumulate((sequence[1:] != sequence[:-1]).any(axis=2), axis=1)
    return np.vstack([np.ones_like(differs, shape=(1, sequence.shape[1])), differs])


def batches(examples: int, size: int = BATCH) -> Iterator[slice]:
    """The rows of `examples` examples, batch by batch."""
    for start in range(0, examples, size):
        yield slice(start, min(start + size, examples))
