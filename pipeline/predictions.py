"""What an evaluation passes to its figures and tables: predictions, what is counted of them, and the metrics."""

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import shortened
from pipeline.files import damaged, require, write_atomic

if TYPE_CHECKING:
    import pandas as pd

Part = TypeVar("Part")
Result = TypeVar("Result")

BINS = 15  # ranges of probability
KEPT = 1_000_000  # predictions of several chunks
ROWS = ("encoded", "targets", "predicted", "probability")  # arrays with a row for each prediction
# The metrics of every model that are shares from 0 to 1, which tables show in per cent.
SHARES = {
    *("accuracy", "balanced_accuracy", "worst_class_accuracy"),
    *("expected_calibration_error", "expected_calibration_error_by_chance"),
}


@dataclass(frozen=True)
class Totals:
    """What an evaluation counts, and the metrics made of it. The totals of two chunks add up to those of both.

    A new metric of every model is a line of `metrics`. What it needs and is not counted yet is a field, which `of`
    computes.
    """

    # int64 (pairs, 3): the actual class, the predicted one, how many examples; sorted
    confusion: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    loss: float = 0.0  # the sum of the cross-entropies, in nats
    # float64 (3, BINS), for equal ranges of probability: the examples, the right ones, the sum of their probabilities.
    bins: np.ndarray = field(default_factory=lambda: np.zeros((3, BINS)))
    # int64 (steps,): of an implicit split, how many strings of each length are right, if the model takes all lengths.
    by_length: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))

    @classmethod
    def of(cls, targets: np.ndarray, probabilities: np.ndarray) -> "Totals":
        """Count the predictions for targets (examples,): probabilities float32 (examples, classes)."""
        predicted, probability = probabilities.argmax(axis=1), probabilities.max(axis=1)
        pairs, counts = np.unique(targets.astype(np.int64) * probabilities.shape[1] + predicted, return_counts=True)
        of_target = np.maximum(probabilities[np.arange(len(targets)), targets], np.finfo(np.float32).tiny)
        which = np.minimum((probability * BINS).astype(int), BINS - 1)
        weights = (None, targets == predicted, probability.astype(np.float64))
        return cls(
            confusion=np.column_stack([*np.divmod(pairs, probabilities.shape[1]), counts]),
            loss=-float(np.log(of_target, dtype=np.float64).sum()),
            bins=np.array([np.bincount(which, each, BINS) for each in weights], np.float64),
        )

    def __add__(self, other: "Totals") -> "Totals":
        sums = {name: value + getattr(other, name) for name, value in vars(self).items() if name != "confusion"}
        rows = np.concatenate([self.confusion, other.confusion])
        pairs, which = np.unique(rows[:, :2], axis=0, return_inverse=True)
        counts = np.zeros(len(pairs), np.int64)
        np.add.at(counts, which.ravel(), rows[:, 2])
        return Totals(np.column_stack([pairs, counts]), **sums)

    def metrics(self, class_names: Sequence[str]) -> dict[str, Any]:
        """The metrics of every model, which docs/metrics.md explains: shares are 0 to 1, loss is in nats.

        The balanced accuracy is the mean over the classes that occur, so a rare class counts as much as any. Of classes
        with the same accuracy, the worst is the first. The calibration error is the mean distance between accuracy and
        probability over the bins, weighted by their sizes; its value by chance is the mean that it has if every
        probability is right, and each example of a bin counts there with the mean probability of the bin.
        """
        classes, examples, wrong = self.by_class().T
        of_class = 1 - wrong / examples
        worst = of_class.argmin()
        count, accuracy, probability = self.reliability()
        return {
            "examples": self.examples,
            "wrong": self.wrong,
            "accuracy": (self.examples - self.wrong) / self.examples,
            "balanced_accuracy": round(float(of_class.mean()), 9),
            "worst_class": class_names[classes[worst]],
            "worst_class_accuracy": float(of_class[worst]),
            "loss": round(self.loss / self.examples, 9),
            "expected_calibration_error": round(float((count * np.abs(accuracy - probability)).sum() / count.sum()), 6),
            "expected_calibration_error_by_chance": round(float(_deviation(count, probability).sum() / count.sum()), 6),
        }

    @property
    def examples(self) -> int:
        """How many there are."""
        return int(self.confusion[:, 2].sum())

    @property
    def wrong(self) -> int:
        """How many are predicted wrongly."""
        return int(self.confusion[self.confusion[:, 0] != self.confusion[:, 1], 2].sum())

    def by_class(self) -> np.ndarray:
        """Each class that occurs, how many examples it has, how many of them are wrong: int64 (classes, 3)."""
        actual, predicted, examples = self.confusion.T
        classes = np.unique(actual)
        of_class = [actual == each for each in classes]
        rows = [(examples[rows].sum(), examples[rows & (actual != predicted)].sum()) for rows in of_class]
        return np.column_stack([classes, np.array(rows, np.int64).reshape(-1, 2)])

    def reliability(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each of 15 equal ranges of probability: how many predictions, their accuracy, their mean probability."""
        count, right, probability = self.bins
        return count, right / np.maximum(count, 1), probability / np.maximum(count, 1)


def _deviation(examples: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The mean distance between how many of some examples are right and how many are expected, for each bin.

    Of n examples with probability p: 2 v (1 - p) P(v are right), where v is the whole number above n p. Source: A. de
    Moivre, "Miscellanea Analytica" (1730).
    """
    log_gamma = np.vectorize(math.lgamma)  # scipy.stats has the distribution, and takes a second to import
    above = np.floor(examples * probability) + 1
    left = np.maximum(examples - above, 0)
    ways = log_gamma(examples + 1) - log_gamma(above + 1) - log_gamma(left + 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # of 0 and 1, where np.where takes the other value
        others = np.where(left > 0, left * np.log1p(-probability), 0)
        of_above = np.exp(ways + above * np.log(probability) + others)
    return np.asarray(np.where(above > examples, 0, 2 * above * (1 - probability) * of_above))


@dataclass(frozen=True)
class Predictions:
    """What an exported model predicts for the evaluated split: all predictions; of an implicit split the wrong ones."""

    info: DatasetInfo
    encoded: np.ndarray  # (examples, code)
    targets: np.ndarray  # (examples,) int32
    predicted: np.ndarray  # (examples,) int32
    probability: np.ndarray  # (examples,) float32, 0 to 1, of the predicted class
    totals: Totals  # of all examples

    @property
    def wrong(self) -> np.ndarray:
        """Where the prediction is wrong, (examples,) bool."""
        return np.asarray(self.predicted != self.targets)

    def __add__(self, other: "Predictions") -> "Predictions":
        """Those of two chunks, in their order; at most a million predictions are kept, the totals are those of all."""
        more = max(0, KEPT - len(self.targets))
        pairs = ((name, getattr(self, name)[:KEPT], getattr(other, name)[:more]) for name in ROWS)
        rows: dict[str, Any] = {name: np.concatenate([ours, theirs]) for name, ours, theirs in pairs}
        return replace(self, totals=self.totals + other.totals, **rows)


def in_parallel(
    function: Callable[[Part], Result], parts: Iterable[Part], threads: int | None = None
) -> Iterator[Result]:
    """The function of each part, in their order, by so many threads; without a number, by one for each core.

    ONNX Runtime lets other threads run: batches side by side take less time than one that two threads share.
    """
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        yield from pool.map(function, parts)


def write_parquet(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as Parquet."""
    write_atomic(path, lambda draft: table.to_parquet(draft, index=False, compression="zstd"))


def load_parquet(path: Path, command: str, columns: Collection[str] = ("target", "predicted")) -> "pd.DataFrame":
    """Read predictions with these columns of whole numbers, and maybe others.

    Raises PipelineError if the file is missing or damaged; `command` makes it again.
    """
    from pyarrow import parquet

    require(path, command)
    try:
        # Without what pandas writes beside the columns, which it would believe.
        table: pd.DataFrame = parquet.read_table(path).to_pandas(ignore_metadata=True)
    except (ValueError, OSError, KeyError, NotImplementedError) as error:  # the base classes of pyarrow's errors
        reason = shortened(str(error), 100)
        raise damaged(path, command, reason) from None
    if missing := {*columns} - {*table.select_dtypes("integer")}:
        raise damaged(path, command, f"it has no column {min(missing)} of whole numbers")
    return table
