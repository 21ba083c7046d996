"""What an evaluation passes to its metrics, figures and tables: predictions, and what is counted of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, shortened
from pipeline.files import require, write_atomic

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Totals:
    """What an evaluation counts. Those of its parts add up to those of all."""

    confusion: np.ndarray  # int64 (pairs, 3): the actual class, the predicted one, how many examples; sorted
    loss: float  # the sum of the cross-entropies, in nats
    bins: (
        np.ndarray
    )  # float64 (3, bins): of equal ranges of probability, the examples, the right ones, all probabilities

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
    """What an exported model predicts for the evaluated split: each prediction, or, of a complement, the wrong ones."""

    info: DatasetInfo
    encoded: np.ndarray  # (examples, code) integers
    targets: np.ndarray  # (examples,) int32
    predicted: np.ndarray  # (examples,) int32
    probability: np.ndarray  # (examples,) float32, 0 to 1, of the predicted class
    totals: Totals  # of all examples

    @property
    def wrong(self) -> np.ndarray:
        """Where the prediction is wrong, (examples,) bool."""
        return np.asarray(self.predicted != self.targets)


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
