"""Make checked examples of the raw data, each in one split."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline import manifest
from pipeline.config import TaskSetup
from pipeline.dataset import SPLITS, Examples, save_examples
from pipeline.errors import PipelineError, shortened
from pipeline.files import fits


def run(task: TaskSetup) -> None:
    """Read the raw data of a task; write its examples, their info and the balance of classes."""
    raw = task.paths.raw
    manifest.verify(raw, ("generate", task.name))
    examples = task.data.split(task.params.split, raw, np.random.default_rng(task.seed))
    check(examples, raw)
    save_examples(examples, task.paths)
    info = examples.info
    sizes = [f"{size:,} {split}" for split, size in info.splits.items() if size]
    print(f"{task.name}: {info.dataset}, {', '.join(sizes)}, {len(info.class_names)} classes")


def check(examples: Examples, raw: Path) -> None:
    """Check what training relies on.

    Raises PipelineError, with the folder and the row of the example, if a code, a target or a split is invalid, if the
    training split or the evaluated split is empty, or if an example is in two splits.
    """
    info, encoded, targets = examples.info, examples.encoded, examples.targets
    if encoded.ndim != 2 or encoded.dtype.kind not in "biuf" or targets.ndim != 1 or targets.dtype.kind not in "iu":
        raise PipelineError(
            f"{raw}: the codes are {encoded.dtype} {encoded.shape} and the targets {targets.dtype} {targets.shape}; "
            "expected numbers (examples, code) and integers (examples,); fix the task's split function."
        )
    if not fits([*info.class_names], list[str]) or len({*info.class_names}) < len(info.class_names):
        raise PipelineError(
            f"{raw}: class_names are {shortened(str(info.class_names), 200)}, expected texts, each once; fix the "
            "task's split function."
        )
    if unknown := [split for split in info.splits if split not in SPLITS]:
        raise PipelineError(f"{raw}: the split {unknown[0]!r} is none of {', '.join(SPLITS)}; rename it.")
    for split in ("train", info.eval_split):
        if info.splits.get(split, 0) < 1:
            raise PipelineError(f"{raw}: the split {split!r} is empty; change the sizes in params.yaml.")
    stored = info.stored
    if not len(encoded) == len(targets) == sum(stored.values()):
        raise PipelineError(
            f"{raw}: {len(encoded)} encoded examples, {len(targets)} targets, {sum(stored.values())} in the splits; "
            "expected the same number of each; fix the task's split function."
        )
    classes = len(info.class_names)
    if info.implicit_split:
        sizes = examples.class_sizes(info.eval_split)
        if len(sizes) != classes or sizes.sum() != info.splits[info.eval_split] or len(stored) > 1:
            raise PipelineError(
                f"{raw}: the split {info.eval_split!r} is not stored, so one other split and implicit_sizes are "
                "expected, with the size of each of its classes; fix the task's split function."
            )
    _refuse(
        raw, (targets < 0) | (targets >= classes), lambda row: f"target {targets[row]}, expected 0 to {classes - 1}"
    )
    if np.issubdtype(encoded.dtype, np.floating):
        numbers = np.isfinite(encoded).all(axis=1)
        _refuse(raw, ~numbers, lambda row: f"its code holds {encoded[row].tolist()}, expected finite numbers")
        encoded = encoded + 0.0  # -0.0 is 0.0: the same example
    if len(stored) > 1 and not info.autoregressive:  # a text repeats itself
        splits = np.repeat(list(stored), list(stored.values()))
        repeated = _in_two_splits(encoded, splits)
        _refuse(raw, repeated, lambda row: f"it is in the split {str(splits[row])!r} and in another, too")


def _refuse(raw: Path, wrong: np.ndarray, problem: Callable[[int], str]) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise PipelineError(f"{raw}, example {row}: {problem(row)}; fix the data or make them again.")


def _in_two_splits(encoded: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Which examples are in another split, too: bool (examples,)."""
    rows = np.ascontiguousarray(encoded).view(f"V{encoded.shape[1] * encoded.itemsize}").ravel()
    example = np.unique(rows, return_inverse=True)[1]
    first = np.full(example.max() + 1, "", splits.dtype)
    first[example[::-1]] = splits[::-1]  # the split of the first one
    last = first.copy()
    last[example] = splits
    return np.asarray((first != last)[example])
