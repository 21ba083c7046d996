"""What passes between the stages: examples from split to train, predictions from evaluate to its figures.

Every task is the same sentence (read a short sequence, predict its class), so all of them share these forms.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import manifest
from pipeline.errors import PipelineError
from pipeline.files import load_parquet, write_csv, write_json, write_parquet
from pipeline.paths import TaskPaths, repro

SPLITS = ("train", "validation", "test")

# An exported model: float32 (batch, steps, features) to its outputs by name, of which one is `probabilities`.
Model = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class DatasetInfo:
    """The facts of a dataset that training, prediction and reports need; it holds no array."""

    task: str
    dataset: str  # "bits-20", "mnist", "uci-digits", the name of a story
    stand_in: bool  # whether it only takes the place of another dataset: then no reference figure applies to it
    shape: tuple[int, int]  # (steps, features) of one example
    class_names: list[str]  # in class order: a target is an index into this list
    eval_split: str  # the split whose accuracy counts
    autoregressive: bool  # whether a prediction can be fed back as the last step of the next input
    encoding: str  # how an input becomes (steps, features), for people
    min_steps: int | None = None  # of the shortest sequence that an exported model takes; None: it takes shape[0] steps


@dataclass(frozen=True)
class Examples:
    """The examples of a task, encoded as compact integers; the task's `features` makes floats of them."""

    info: DatasetInfo
    encoded: np.ndarray  # (examples, code) integers
    targets: np.ndarray  # (examples,) integers, index into info.class_names
    splits: np.ndarray  # (examples,) str, each one of SPLITS

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The encoded examples and the targets of one split, in their order."""
        chosen = self.splits == name
        return self.encoded[chosen], self.targets[chosen]

    def eval_split(self) -> tuple[np.ndarray, np.ndarray]:
        """The split whose accuracy counts."""
        return self.split(self.info.eval_split)


@dataclass(frozen=True)
class Predictions:
    """What an exported model predicts for the examples of the evaluated split."""

    info: DatasetInfo
    encoded: np.ndarray  # (examples, code) integers
    targets: np.ndarray  # (examples,) int32
    predicted: np.ndarray  # (examples,) int32
    probability: np.ndarray  # (examples,) float32, 0 to 1, of the predicted class

    @property
    def wrong(self) -> np.ndarray:
        """Where the prediction is wrong, (examples,) bool."""
        return np.asarray(self.predicted != self.targets)


def save_examples(examples: Examples, paths: TaskPaths) -> None:
    """Write examples.parquet (a row for each example), info.json, balance.csv (a row for each split and class).

    Beside them lies their manifest.
    """
    import pandas as pd

    table = pd.DataFrame(examples.encoded, columns=[f"code_{i}" for i in range(examples.encoded.shape[1])])
    table["target"] = examples.targets
    table["split"] = pd.Categorical(examples.splits, categories=list(SPLITS))
    write_parquet(table, paths.examples)
    save_info(examples.info, paths.info)
    names = examples.info.class_names
    counts = {split: np.bincount(examples.split(split)[1], minlength=len(names)) for split in SPLITS}
    rows = [(split, *row) for split in SPLITS if counts[split].any() for row in zip(names, counts[split], strict=True)]
    write_csv(pd.DataFrame(rows, columns=["split", "class", "examples"]), paths.balance)
    manifest.write(paths.split, [paths.examples, paths.info, paths.balance])


def load_examples(paths: TaskPaths) -> Examples:
    """Read what save_examples wrote. Raises PipelineError if it is missing or damaged."""
    stage = ("split", paths.name)
    manifest.verify(paths.split, stage, paths.examples.name)
    table = load_parquet(paths.examples, repro(*stage, force=True))
    encoded = table[[name for name in table.columns if name.startswith("code_")]].to_numpy()
    info = load_info(paths.info, stage)
    return Examples(info, encoded, table["target"].to_numpy(), table["split"].to_numpy(dtype=str))


def save_info(info: DatasetInfo, path: Path, **more: Any) -> None:
    """Write the info as JSON, with what else is known by then."""
    write_json({**asdict(info), **more}, path)


def load_info(path: Path, stage: tuple[str, str]) -> DatasetInfo:
    """Read a DatasetInfo and ignore what else the file holds.

    Raises PipelineError if the file is missing or damaged; `stage`, such as ("split", "bits"), makes it again.
    """
    manifest.verify(path.parent, stage, path.name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["shape"] = tuple(content["shape"])
        return DatasetInfo(**{name: content[name] for name in DatasetInfo.__dataclass_fields__})
    except (ValueError, KeyError, TypeError):
        raise PipelineError(f"{path} is damaged; run `{repro(*stage, force=True)}` to make it again.") from None
