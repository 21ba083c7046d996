"""What passes between the stages: examples from split to train, predictions from evaluate to its figures.

Every task is the same sentence (read a short sequence, predict its class), so all of them share these forms.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, get_type_hints

import numpy as np

from pipeline import manifest
from pipeline.files import damaged, fits, load_json, write_atomic
from pipeline.formats import write_csv, write_json
from pipeline.paths import TaskPaths, repro

SPLITS = ("train", "validation", "test")
CHUNK = 2**20  # examples that are written or evaluated at once
REFERENCE = 10_000  # examples, at most
LARGEST = 2**40  # examples of a split
LARGEST_EXAMPLE = 2**24  # values of one example: 64 MiB as float32

Outputs = Mapping[str, np.ndarray]  # of an exported model by name, of which one is `probabilities`: (batch, classes)


class Model(Protocol):
    """An exported model, as a task's evaluation sees it."""

    def run(self, sequence: np.ndarray) -> Outputs:
        """The outputs for features float32 (batch, steps, features)."""

    def run_prefixes(self, sequence: np.ndarray) -> Iterator[tuple[int, np.ndarray, Outputs]]:
        """For 1, 2, … steps: this number, some rows (n,) of the batch, the outputs (n, …) for so many of their steps.

        Of neighbours that begin with the same steps, the first row alone is given.
        """


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
    encoding: str  # how an input becomes (steps, features), for people; it is part of what a model is made from
    splits: dict[str, int]  # how many examples each split has, in the order in which they are stored
    # Whether the evaluated split is every string of shape[0] zeros and ones that did not train: computed, not stored.
    implicit_split: bool = False
    # Of the shortest and the longest sequence that an exported model takes; None: shape[0].
    min_steps: int | None = None
    max_steps: int | None = None

    @property
    def stored(self) -> dict[str, int]:
        """The splits whose examples are stored, and how many they have, in their order."""
        unstored = self.eval_split if self.implicit_split else None
        return {name: size for name, size in self.splits.items() if name != unstored}


@dataclass(frozen=True)
class Outline:
    """What params.yaml alone says of a dataset, before it is made."""

    shape: tuple[int, int]  # (steps, features) of one example
    stored: tuple[str, ...]  # the splits whose examples are stored, in their order


@dataclass(frozen=True)
class Examples:
    """The examples of a task, encoded as a few numbers each; the task's `features` makes floats of them.

    The arrays may lie in a file: a slice of them reads nothing, and rows of them read no more than these.
    """

    info: DatasetInfo
    encoded: np.ndarray  # (examples, code) integers or floats: the splits one after the other, as in info.splits
    targets: np.ndarray  # (examples,) integers, index into info.class_names
    implicit_sizes: np.ndarray | None = None  # int64 (classes,): how many examples of each class an implicit split has

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The encoded examples and the targets of one split, in their order; none if there is no such split."""
        first = 0
        for each, size in self.info.splits.items():
            if each == name:
                return self.encoded[first : first + size], self.targets[first : first + size]
            first += size
        return self.encoded[:0], self.targets[:0]

    @property
    def reference_split(self) -> str:
        """The split that a model is calibrated on: the validation split, or, without one, the training split."""
        return "validation" if self.info.splits.get("validation") else "train"

    @property
    def reference(self) -> tuple[np.ndarray, np.ndarray]:
        """The first 10,000 examples of that split, for each of which a training also writes logits: at most 2^24."""
        encoded, targets = self.split(self.reference_split)
        rows = slice(min(REFERENCE, LARGEST_EXAMPLE // len(self.info.class_names)))
        return encoded[rows], targets[rows]

    @property
    def chunks(self) -> int:
        """How many chunks of at most 2^20 examples the evaluated split has; of an implicit one, of 2^20 strings."""
        info = self.info
        return -(-(sum(info.splits.values()) if info.implicit_split else info.splits[info.eval_split]) // CHUNK)

    def chunk(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The encoded examples (examples, code) and the targets of one chunk of the evaluated split.

        Of an implicit split, the strings of a range of numbers that did not train, in their order, without targets: the
        task's `step_targets` computes them.
        """
        first, stop = number * CHUNK, (number + 1) * CHUNK
        if not self.info.implicit_split:
            encoded, targets = self.split(self.info.eval_split)
            return encoded[first:stop], targets[first:stop]
        stop = min(stop, sum(self.info.splits.values()))
        trained = numbers(self.encoded)
        untrained = np.ones(stop - first, bool)
        untrained[trained[(trained >= first) & (trained < stop)] - first] = False
        return binary(first + np.flatnonzero(untrained), self.info.shape[0]), self.targets[:0]

    @property
    def outline(self) -> Outline:
        """The shape and the stored splits, as they came out."""
        return Outline(self.info.shape, tuple(name for name in self.info.splits if len(self.split(name)[0])))

    def class_sizes(self, name: str) -> np.ndarray:
        """How many examples of each class a split has: int64 (classes,)."""
        if self.implicit_sizes is not None and name == self.info.eval_split:
            return self.implicit_sizes
        return np.bincount(self.split(name)[1], minlength=len(self.info.class_names))


def binary(numbers: np.ndarray, digits: int) -> np.ndarray:
    """Numbers (examples,) as so many binary digits, at most 32, the highest first: uint8 (examples, digits)."""
    return np.unpackbits(numbers.astype(">u4")[:, None].view(np.uint8), axis=1)[:, 32 - digits :]


def numbers(codes: np.ndarray) -> np.ndarray:
    """The numbers that binary digits (examples, digits) write: int64 (examples,)."""
    places = 1 << np.arange(codes.shape[1])[::-1]
    return np.asarray(codes @ places)


def save_examples(examples: Examples, paths: TaskPaths) -> None:
    """Write examples.npy (a row for each example), info.json, balance.csv (a row for each split and class).

    Beside them lies their manifest.
    """
    import pandas as pd

    write_atomic(paths.examples, lambda draft: _write_rows(examples, draft))
    info = examples.info
    save_info(info, paths.info)
    counts = {split: examples.class_sizes(split) for split in info.splits}
    rows = [
        (split, *row)
        for split in counts
        if counts[split].any()
        for row in zip(info.class_names, counts[split], strict=True)
    ]
    write_csv(pd.DataFrame(rows, columns=["split", "class", "examples"]), paths.balance)
    manifest.write(paths.split, [paths.examples, paths.info, paths.balance])


def _write_rows(examples: Examples, path: Path) -> None:
    code = ("code", examples.encoded.dtype, examples.encoded.shape[1:])
    dtype = np.dtype([code, ("target", examples.targets.dtype)])
    rows = np.lib.format.open_memmap(path, "w+", dtype, (len(examples.encoded),))
    for first in range(0, len(rows), CHUNK):
        some = slice(first, first + CHUNK)
        rows["code"][some], rows["target"][some] = examples.encoded[some], examples.targets[some]
    rows.flush()


def load_examples(paths: TaskPaths) -> Examples:
    """Open what save_examples wrote: rows are read from the file when they are used.

    Raises PipelineError if it is missing or damaged.
    """
    stage = ("split", paths.name)
    manifest.verify(paths.split, stage, paths.examples.name)
    info = load_info(paths.info, stage)
    try:
        rows = np.load(paths.examples, mmap_mode="r")
        if len(rows) != sum(info.stored.values()) or rows["code"].ndim != 2 or rows["target"].dtype.kind not in "iu":
            raise ValueError
        return Examples(info, rows["code"], rows["target"])
    except (ValueError, IndexError, OSError):
        raise damaged(paths.examples, repro(*stage, force=True)) from None


def save_info(info: DatasetInfo, path: Path, **more: Any) -> None:
    """Write the info as JSON, with what else is known by then."""
    write_json({**asdict(info), **more}, path)


def load_info(path: Path, stage: tuple[str, str]) -> DatasetInfo:
    """Read a DatasetInfo and ignore what else the file holds.

    Raises PipelineError if the file is missing or damaged; `stage`, such as ("split", "bits"), makes it again.
    """
    again = repro(*stage, force=True)
    manifest.verify(path.parent, stage, path.name)
    content = load_json(path, again, dict[str, Any])
    content.setdefault("implicit_split", content.get("complement", False))  # as 0.3 called it
    content.setdefault("max_steps", None)
    kinds = get_type_hints(DatasetInfo)
    if not fits(content, kinds):
        raise damaged(path, again, "a value is missing or has another type")
    info = DatasetInfo(**{name: content[name] for name in kinds} | {"shape": (*content["shape"],)})
    if wrong := _wrong(info):
        raise damaged(path, again, wrong)
    return info


def _wrong(info: DatasetInfo) -> str:
    """What no dataset has; "" if nothing is wrong."""
    steps = [*info.shape, info.min_steps or 1, info.max_steps or 1]
    if not all(1 <= each <= LARGEST_EXAMPLE for each in steps) or math.prod(info.shape) > LARGEST_EXAMPLE:
        return f"shape, min_steps and max_steps are {steps}"
    if not info.class_names or len(set(info.class_names)) < len(info.class_names):
        return "class_names has none, or one twice"
    if info.eval_split not in info.splits or not all(0 <= size <= LARGEST for size in info.splits.values()):
        return f"splits are {info.splits}"
    return ""
