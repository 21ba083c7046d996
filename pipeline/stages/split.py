"""Make checked examples of the raw data, each in one split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline import manifest
from pipeline.config import TaskSetup
from pipeline.dataset import SPLITS, Examples, save_examples
from pipeline.errors import PipelineError


def run(task: TaskSetup) -> None:
    """Read the raw data of a task; write its examples, their info and the balance of classes."""
    raw = task.paths.raw
    manifest.verify(raw, ("generate", task.name))
    examples = task.code.split(task.params.split, raw, np.random.default_rng(task.seed))
    check(examples, raw)
    save_examples(examples, task.paths)
    sizes = [f"{size:,} {split}" for split in SPLITS if (size := int((examples.splits == split).sum()))]
    print(f"{task.name}: {examples.info.dataset}, {', '.join(sizes)}, {len(examples.info.class_names)} classes")


def check(examples: Examples, raw: Path) -> None:
    """Check what training relies on.

    Raises PipelineError, with the folder and the row of the example, if a target or a split is invalid, if the training
    split or the evaluated split is empty, or if an example is in two splits.
    """
    encoded, targets, splits = examples.encoded, examples.targets, examples.splits
    classes = len(examples.info.class_names)
    if not len(encoded) == len(targets) == len(splits):
        raise PipelineError(
            f"{raw}: {len(encoded)} encoded examples, {len(targets)} targets, {len(splits)} splits; expected the same "
            "number of each; fix the task's split function."
        )
    _refuse(
        raw, (targets < 0) | (targets >= classes), lambda row: f"target {targets[row]}, expected 0 to {classes - 1}"
    )
    _refuse(
        raw, ~np.isin(splits, SPLITS), lambda row: f"split {str(splits[row])!r}, expected one of {', '.join(SPLITS)}"
    )
    for split in ("train", examples.info.eval_split):
        if not (splits == split).any():
            raise PipelineError(f"{raw}: the split {split!r} is empty; change the sizes in params.yaml.")
    if not examples.info.autoregressive:  # a text repeats itself
        repeated = _in_two_splits(encoded, splits)
        _refuse(raw, repeated, lambda row: f"it is in the split {str(splits[row])!r} and in another, too")


def _refuse(raw: Path, wrong: np.ndarray, problem: Callable[[int], str]) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise PipelineError(f"{raw}, example {row}: {problem(row)}; fix the data or make them again.")


def _in_two_splits(encoded: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Which examples are in another split, too: bool (examples,)."""
    if len(np.unique(splits)) == 1:
        return np.zeros(len(splits), bool)
    rows = np.ascontiguousarray(encoded).view(f"V{encoded.shape[1] * encoded.itemsize}").ravel()
    example = np.unique(rows, return_inverse=True)[1]
    return (pd.Series(pd.factorize(splits)[0]).groupby(example).transform("nunique") > 1).to_numpy()
