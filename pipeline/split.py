"""Part a task's examples into train, validation and test, and refuse those that break their promises."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline import data, tasks
from pipeline.config import Config
from pipeline.errors import BadInput


def run(name: str, config: Config) -> None:
    """Read data/raw/NAME; write the examples, their card and their balance into data/split/NAME."""
    task, raw, folder = tasks.load(name), data.RAW / name, data.SPLIT / name
    data.need(raw, f"dvc repro generate@{name}")
    examples = task.split(config.task(name).split, raw, np.random.default_rng(config.seed))
    check(examples, task.EVALUATED, raw)
    data.save_examples(examples, folder)
    sizes = [f"{size:,} {part}" for part in data.PARTS if (size := int((examples.parts == part).sum()))]
    print(f"{name}: {examples.card.dataset}, {', '.join(sizes)}, {len(examples.card.labels)} classes")


def check(examples: data.Examples, evaluated: str, raw: Path) -> None:
    """BadInput, with the folder and the example's row, unless the examples are such as training may trust."""
    codes, classes, parts, labels = examples.codes, examples.classes, examples.parts, examples.card.labels
    refuse = _refuser(raw)
    if not len(codes) == len(classes) == len(parts):
        raise BadInput(
            f"{raw}: {len(codes)} codes, {len(classes)} classes, {len(parts)} parts; expected as many of each."
        )
    refuse(
        (classes < 0) | (classes >= len(labels)), lambda row: f"class {classes[row]}, expected 0 to {len(labels) - 1}"
    )
    refuse(
        ~np.isin(parts, data.PARTS), lambda row: f"part {str(parts[row])!r}, expected one of {', '.join(data.PARTS)}"
    )
    for part in {"train", evaluated}:
        if not (parts == part).any():
            raise BadInput(f"{raw}: the part {part!r} is empty; ask for other sizes in params.yaml.")
    if len(set(parts.tolist())) > 1:
        refuse(
            _shared(codes, parts), lambda row: f"the example stands in the part {str(parts[row])!r} and in another too"
        )


def _refuser(raw: Path) -> Callable[[np.ndarray, Callable[[int], str]], None]:
    def refuse(wrong: np.ndarray, what: Callable[[int], str]) -> None:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise BadInput(f"{raw}, example {row}: {what(row)}; mend the data or make them again.")

    return refuse


def _shared(codes: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Which examples (n,) have their like in another part."""
    whole = np.ascontiguousarray(codes).view(f"V{codes.shape[1] * codes.itemsize}").ravel()
    _, group = np.unique(whole, return_inverse=True)
    part = np.unique(parts, return_inverse=True)[1]
    least, most = np.full(group.max() + 1, len(data.PARTS)), np.full(group.max() + 1, -1)
    np.minimum.at(least, group, part)
    np.maximum.at(most, group, part)
    return np.asarray((least != most)[group])
