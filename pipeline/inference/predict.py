"""Predict what a user asks, from models/MODEL/export alone: no TensorFlow, no data, no params.yaml."""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline import tasks
from pipeline.dataset import DatasetInfo, load_info
from pipeline.errors import PipelineError
from pipeline.inference.onnx_session import Session
from pipeline.paths import MODELS, ModelPaths, repro

BATCH = 64  # lines of a stream that are predicted at once
RUNNERS_UP = 2


@dataclass(frozen=True)
class Prediction:
    """The result for one input: the class, its probability, the runners-up; for a story, its continuation, too."""

    input: str
    label: str
    probability: float  # 0 to 1
    runners_up: tuple[tuple[str, float], ...]  # class name, probability
    text: str = ""  # the continued story

    def json(self) -> str:
        """One line of JSON."""
        content: dict[str, object] = {"input": self.input}
        content |= {"text": self.text} if self.text else {"label": self.label, "probability": self.probability}
        return json.dumps(content, ensure_ascii=False)

    def __str__(self) -> str:
        runners_up = ", ".join(f"{label} {probability:.1%}" for label, probability in self.runners_up)
        best = f"{self.label}  {self.probability:.1%}" + (f"  (then {runners_up})" if runners_up else "")
        return f"{self.text}\n  first: {best}" if self.text else best


@dataclass(frozen=True)
class Failure:
    """The result for an input that is not valid."""

    input: str
    error: str

    def json(self) -> str:
        """One line of JSON."""
        return json.dumps({"input": self.input, "error": self.error}, ensure_ascii=False)

    def __str__(self) -> str:
        return f"error: {self.error}"


Result = Prediction | Failure


@dataclass(frozen=True)
class Predictor:
    """An exported model and the facts of its dataset."""

    paths: ModelPaths
    info: DatasetInfo

    @cached_property
    def _session(self) -> Session:
        return Session(self.paths.onnx, repro("export", self.paths.name, force=True))

    @property
    def _task(self) -> tasks.Task:
        return tasks.load(self.info.task)

    def probabilities(self, encoded: np.ndarray) -> np.ndarray:
        """float32 (batch, classes) for encoded inputs (batch, code)."""
        return self._session.probabilities(self._task.features(encoded, self.info))

    def predict(self, inputs: Iterable[str], words: int, batch_size: int = BATCH) -> Iterator[Result]:
        """A result for each input, in order; a story is continued by `words` words."""
        lines = iter(inputs)
        while batch := list(itertools.islice(lines, batch_size)):
            yield from self._predict(batch, words)

    def _predict(self, inputs: list[str], words: int) -> list[Result]:
        results: dict[int, Result] = {}
        codes: dict[int, np.ndarray] = {}
        for row, text in enumerate(inputs):
            try:
                codes[row] = self._task.encode(text, self.info)
            except PipelineError as error:
                results[row] = Failure(text, str(error))
        if codes:
            encoded = np.stack(list(codes.values()))
            probabilities = self.probabilities(encoded)
            texts = self._continue(encoded, probabilities, words) if self.info.autoregressive else [""] * len(codes)
            for row, scores, text in zip(codes, probabilities, texts, strict=True):
                results[row] = self._prediction(inputs[row], scores, text)
        return [results[row] for row in range(len(inputs))]

    def _prediction(self, text: str, probabilities: np.ndarray, continuation: str) -> Prediction:
        best, *others = np.argsort(-probabilities, kind="stable")[: RUNNERS_UP + 1].tolist()
        names = self.info.class_names
        runners_up = tuple((names[i], float(probabilities[i])) for i in others)
        return Prediction(text, names[best], float(probabilities[best]), runners_up, continuation)

    def _continue(self, encoded: np.ndarray, probabilities: np.ndarray, words: int) -> list[str]:
        """Each input followed by `words` predictions, each of which becomes the last step of the next input."""
        parts = [encoded]
        for word in range(words):
            if word:
                probabilities = self.probabilities(encoded)
            predicted = probabilities.argmax(axis=1)[:, None].astype(encoded.dtype)
            parts.append(predicted)
            encoded = np.concatenate([encoded[:, 1:], predicted], axis=1)
        return [self._task.decode(code, self.info) for code in np.concatenate(parts, axis=1)]


def load(name: str) -> Predictor:
    """The exported model `name`. Raises PipelineError if it does not exist, or if its info file is damaged."""
    names = sorted(path.parent.parent.name for path in MODELS.glob(f"*/{ModelPaths('').info.relative_to(MODELS)}"))
    if name not in names:
        known = f"use one of {', '.join(names)}, or run" if names else "run"
        raise PipelineError(f"there is no exported model {name!r}; {known} `dvc repro` to export the models.")
    paths = ModelPaths(name)
    return Predictor(paths, load_info(paths.info, repro("export", name, force=True)))
