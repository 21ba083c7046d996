"""Predict examples, all at once or in parts: an evaluation in parts goes on after a stop, or runs on many machines."""

import hashlib
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.files import write_bytes
from pipeline.inference.calibration import BINS
from pipeline.predictions import Predictions, Totals

SIZE = 2**20  # codes of a part
BATCH = 4096  # examples at a time: keeps the memory of a million strings small
HASH = hashlib.sha256().digest_size  # bytes at the beginning of a part's file
KEPT = 1_000_000  # wrong predictions of a complement; the totals count all

Function = Callable[[np.ndarray, DatasetInfo], np.ndarray]  # of a task: codes (batch, code) to features, or to targets


def predict(
    probabilities: Callable[[np.ndarray], np.ndarray],
    features: Function,
    info: DatasetInfo,
    encoded: np.ndarray,
    targets: np.ndarray,
) -> Predictions:
    """Predict the classes of these examples, a batch at a time.

    `probabilities` gives float32 (batch, classes) for features float32 (batch, steps, features).
    """
    predicted, probability = np.empty(len(encoded), np.int32), np.empty(len(encoded), np.float32)
    loss = 0.0
    for first in range(0, len(encoded), BATCH):
        rows = slice(first, first + BATCH)
        of_classes = probabilities(features(encoded[rows], info))
        predicted[rows] = of_classes.argmax(axis=1)
        probability[rows] = of_classes.max(axis=1)
        of_target = np.take_along_axis(of_classes, targets[rows, None].astype(np.int64), axis=1)
        loss -= float(np.log(np.maximum(of_target, np.finfo(np.float32).tiny), dtype=np.float64).sum())
    targets = targets.astype(np.int32)
    return Predictions(info, encoded, targets, predicted, probability, totals(targets, predicted, probability, loss))


def predict_range(
    probabilities: Callable[[np.ndarray], np.ndarray],
    features: Function,
    step_targets: Function,
    info: DatasetInfo,
    others: np.ndarray,
    number: int,
) -> Predictions:
    """The wrong predictions of one part of a complement: the codes of a range, but for `others`, sorted (codes,)."""
    first, stop = number * SIZE, min((number + 1) * SIZE, sum(info.splits.values()))
    evaluated = np.ones(stop - first, bool)
    evaluated[others[np.searchsorted(others, first) : np.searchsorted(others, stop)] - first] = False
    encoded = (first + np.flatnonzero(evaluated)).astype(np.uint32)[:, None]
    targets = np.empty(len(encoded), np.int32)
    for start in range(0, len(encoded), BATCH):
        targets[start : start + BATCH] = step_targets(encoded[start : start + BATCH], info)[:, -1]
    made = predict(probabilities, features, info, encoded, targets)
    return _predictions(info, [array[made.wrong] for array in _rows(made)], made.totals)


def _predictions(info: DatasetInfo, rows: Sequence[np.ndarray], totals: Totals) -> Predictions:
    encoded, targets, predicted, probability = rows
    return Predictions(info, encoded, targets, predicted, probability, totals)


def _rows(made: Predictions) -> tuple[np.ndarray, ...]:
    return made.encoded, made.targets, made.predicted, made.probability


def numbers(info: DatasetInfo) -> range:
    """The numbers of the parts of a complement."""
    return range(-(-sum(info.splits.values()) // SIZE))


def totals(targets: np.ndarray, predicted: np.ndarray, probability: np.ndarray, loss: float = 0.0) -> Totals:
    """The totals of some predictions, int (examples,) each; probability is that of the predicted class."""
    pairs, counts = np.unique(targets.astype(np.int64) << 32 | predicted, return_counts=True)
    which = np.minimum((probability * BINS).astype(int), BINS - 1)
    bins = [
        np.bincount(which, weights, BINS) for weights in (None, targets == predicted, probability.astype(np.float64))
    ]
    return Totals(np.column_stack([pairs >> 32, pairs & 2**32 - 1, counts]), loss, np.array(bins, np.float64))


def merged(first: Predictions, second: Predictions) -> Predictions:
    """Two parts as one, in their order; at most a million predictions are kept, the totals are those of all."""
    pairs = np.concatenate([first.totals.confusion, second.totals.confusion])
    found, which = np.unique(pairs[:, :2], axis=0, return_inverse=True)
    counts = np.zeros(len(found), np.int64)
    np.add.at(counts, which.ravel(), pairs[:, 2])
    loss, bins = first.totals.loss + second.totals.loss, first.totals.bins + second.totals.bins
    rows = [np.concatenate(pair)[:KEPT] for pair in zip(_rows(first), _rows(second), strict=True)]
    return _predictions(first.info, rows, Totals(np.column_stack([found, counts]), loss, bins))


def to_arrays(part: Predictions) -> tuple[np.ndarray, ...]:
    """All that a part holds, but the info."""
    return (*_rows(part), part.totals.confusion, np.array(part.totals.loss), part.totals.bins)


def from_arrays(info: DatasetInfo, arrays: Sequence[np.ndarray]) -> Predictions:
    """The part that `to_arrays` took apart. Raises ValueError if it is not one."""
    *rows, confusion, loss, bins = arrays
    return _predictions(info, rows, Totals(confusion, float(loss), bins))


class Store:
    """The parts that have been evaluated, each in a file of one folder."""

    def __init__(self, folder: Path):
        self._folder = folder

    def save(self, number: int, part: Predictions) -> None:
        """Keep a part, with the hash of its content."""
        content = io.BytesIO()
        np.savez(content, *to_arrays(part))
        write_bytes(hashlib.sha256(content.getbuffer()).digest() + content.getvalue(), self._path(number))

    def load(self, number: int, info: DatasetInfo) -> Predictions | None:
        """A part; None if it has not been evaluated, or if its file is damaged."""
        try:
            content = self._path(number).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[HASH:]).digest() != content[:HASH]:
            return None
        with np.load(io.BytesIO(content[HASH:])) as file:
            return from_arrays(info, [file[name] for name in file.files])

    def remove(self) -> None:
        """Forget all parts."""
        if self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05}.part"
