"""What an evaluation passes to its metrics, figures and tables: predictions, and what is counted of them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, shortened
from pipeline.files import require, write_atomic

if TYPE_CHECKING:
    import pandas as pd

BINS = 15  # ranges of probability
KEPT = 1_000_000  # predictions of several chunks
ROWS = ("encoded", "targets", "predicted", "probability")  # arrays with a row for each prediction


@dataclass(frozen=True)
class Totals:
    """What an evaluation counts. The totals of two sets of examples add up to those of both."""

    confusion: np.ndarray  # int64 (pairs, 3): the actual class, the predicted one, how many examples; sorted
    loss: float  # the sum of the cross-entropies, in nats
    # float64 (3, BINS), for equal ranges of probability: the examples, the right ones, the sum of their probabilities.
    bins: np.ndarray

    @classmethod
    def of(cls, targets: np.ndarray, predicted: np.ndarray, probability: np.ndarray, loss: float) -> "Totals":
        """Count predictions, (examples,) each; probability is that of the predicted class, loss that of all."""
        pairs, counts = np.unique(targets.astype(np.int64) << 32 | predicted, return_counts=True)
        which = np.minimum((probability * BINS).astype(int), BINS - 1)
        weights = (None, targets == predicted, probability.astype(np.float64))
        bins = np.array([np.bincount(which, each, BINS) for each in weights], np.float64)
        return cls(np.column_stack([pairs >> 32, pairs & 2**32 - 1, counts]), loss, bins)

    def __add__(self, other: "Totals") -> "Totals":
        pairs = np.concatenate([self.confusion, other.confusion])
        found, which = np.unique(pairs[:, :2], axis=0, return_inverse=True)
        counts = np.zeros(len(found), np.int64)
        np.add.at(counts, which.ravel(), pairs[:, 2])
        return Totals(np.column_stack([found, counts]), self.loss + other.loss, self.bins + other.bins)

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


@dataclass(frozen=True)
class Predictions:
    """What an exported model predicts for the evaluated split: all predictions; of an unstored split the wrong ones."""

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
        pairs = ((name, getattr(self, name), getattr(other, name)[:more]) for name in ROWS)
        rows: dict[str, Any] = {name: np.concatenate([ours, theirs]) for name, ours, theirs in pairs}
        return replace(self, totals=self.totals + other.totals, **rows)


def write_parquet(table: "pd.DataFrame", path: Path) -> None:
    """Write a table as Parquet."""
    write_atomic(path, lambda draft: table.to_parquet(draft, index=False, compression="zstd"))


def load_parquet(path: Path, command: str) -> "pd.DataFrame":
    """Read a table. Raises PipelineError if the file is missing or damaged; `command` makes it again."""
    import pandas as pd

    require(path, command)
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError, KeyError, NotImplementedError) as error:  # the base classes of pyarrow's errors
        reason = shortened(str(error), 100)
        raise PipelineError(f"{path} is damaged ({reason}); run `{command}` to make it again.") from None
