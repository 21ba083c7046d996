"""Answer what a person asks, from models/NAME/export alone: no TensorFlow, no data, no params.yaml."""

import itertools
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import tasks
from pipeline.data import MODELS, Card, load_card
from pipeline.errors import BadInput

BATCH = 64  # lines of a stream answered at once
RUNNERS_UP = 2


@dataclass(frozen=True)
class Answer:
    """One answer: the label, its probability, the runners-up; or the text that a story was continued to."""

    input: str
    label: str = ""
    probability: float = 0.0
    others: tuple[tuple[str, float], ...] = ()
    text: str = ""
    error: str = ""

    def json(self) -> str:
        """One line of JSON."""
        if self.error:
            content: dict[str, object] = {"input": self.input, "error": self.error}
        elif self.text:
            content = {"input": self.input, "text": self.text}
        else:
            content = {"input": self.input, "label": self.label, "probability": self.probability}
        return json.dumps(content, ensure_ascii=False)

    def __str__(self) -> str:
        if self.error:
            return f"error: {self.error}"
        others = ", ".join(f"{label} {share:.1%}" for label, share in self.others)
        best = f"{self.label}  {self.probability:.1%}" + (f"  (then {others})" if others else "")
        return f"{self.text}\n  first: {best}" if self.text else best


@dataclass(frozen=True)
class Predictor:
    """An exported model with its card."""

    folder: Path
    card: Card

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        path = self.folder / "model.onnx"
        try:
            return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common class for its errors
            name = self.folder.parent.name
            raise BadInput(
                f"{path} is missing or damaged; `dvc repro --force export@{name}` makes it again."
            ) from error

    @property
    def task(self) -> tasks.Task:
        """The module that reads what a person writes."""
        return tasks.load(self.card.task)

    def probabilities(self, codes: np.ndarray) -> np.ndarray:
        """float32 (batch, classes) for codes (batch, code)."""
        sequence = self.task.features(codes, self.card.shape)
        return np.asarray(self._session.run(["probabilities"], {"sequence": sequence})[0])

    def answer(self, inputs: Iterable[str], words: int, at_once: int = BATCH) -> Iterator[Answer]:
        """An answer for each input, in batches; a bad one's is its error; a story goes on for `words`."""
        lines = iter(inputs)
        while batch := list(itertools.islice(lines, at_once)):
            yield from self._answer(batch, words)

    def _answer(self, inputs: list[str], words: int) -> list[Answer]:
        codes, errors = {}, {}
        for row, text in enumerate(inputs):
            try:
                codes[row] = self.task.read(text, self.card)
            except BadInput as error:
                errors[row] = Answer(text, error=str(error))
        answers = dict(zip(codes, self._ask(list(codes.values())), strict=True)) if codes else {}
        texts = self._continue(codes, answers, words) if codes and self.task.CONTINUES else {}
        labels = self.card.labels
        for row, shares in answers.items():
            best, *others = np.argsort(-shares, kind="stable")[: RUNNERS_UP + 1].tolist()
            errors[row] = Answer(
                inputs[row],
                labels[best],
                float(shares[best]),
                tuple((labels[i], float(shares[i])) for i in others),
                texts.get(row, ""),
            )
        return [errors[row] for row in range(len(inputs))]

    def _ask(self, codes: list[np.ndarray]) -> np.ndarray:
        return self.probabilities(np.stack(codes))

    def _continue(self, codes: dict[int, np.ndarray], first: dict[int, np.ndarray], words: int) -> dict[int, str]:
        code = np.stack(list(codes.values()))
        shares = np.stack(list(first.values()))
        written = [code]
        for more in range(words):
            if more:
                shares = self.probabilities(code)
            said = shares.argmax(axis=1)[:, None].astype(code.dtype)
            written.append(said)
            code = np.concatenate([code[:, 1:], said], axis=1)
        whole = np.concatenate(written, axis=1)
        return {row: self.task.write(line, self.card.labels) for row, line in zip(codes, whole, strict=True)}


def load(name: str, models: Path = MODELS) -> Predictor:
    """The exported model `name`; BadInput names those that are there, and the command that makes them."""
    there = sorted(path.parent.parent.name for path in models.glob("*/export/card.json"))
    if name not in there:
        known = f"those exported are {', '.join(there)}" if there else "none is exported yet"
        raise BadInput(f"there is no exported model {name!r}: {known}; make them with `dvc repro`.")
    folder = models / name / "export"
    try:
        return Predictor(folder, load_card(folder / "card.json"))
    except (ValueError, KeyError, TypeError):
        raise BadInput(
            f"{folder / 'card.json'} is damaged; make it again with `dvc repro --force export@{name}`."
        ) from None
