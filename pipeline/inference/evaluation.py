"""Evaluate an exported model: its predictions for the evaluated split, chunk by chunk, added up.

A chunk depends on no other, so an evaluation goes on where it was stopped, and many machines can share one.
"""

import hashlib
import inspect
import io
import shutil
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from pipeline import manifest, tasks
from pipeline.dataset import DatasetInfo, Examples, Model, binary, load_examples, load_info, numbers
from pipeline.errors import PipelineError
from pipeline.files import damaged, md5, md5_of, write_bytes
from pipeline.inference.onnx_session import Session, batches
from pipeline.paths import ModelPaths, TaskPaths, repro
from pipeline.predictions import ROWS, Predictions, Totals, in_parallel

HASH = hashlib.sha256().digest_size  # bytes at the beginning of a chunk's file


class Functions(NamedTuple):
    """What a chunk needs of a task. They travel to processes that do not have the task's folder."""

    features: tasks.FromEncoded
    step_targets: tasks.FromEncoded | None  # of an implicit split; a split that is stored has its targets

    @classmethod
    def of(cls, task: tasks.Task, info: DatasetInfo) -> "Functions":
        """Those of a task. Raises PipelineError if the evaluated split is implicit and there is no `step_targets`."""
        if info.implicit_split and task.step_targets is None:
            raise PipelineError(
                f"pipeline/tasks/{task.name}/features.py does not define the function step_targets, which gives the "
                "classes of an implicit split; add it."
            )
        return cls(task.features, task.step_targets if info.implicit_split else None)


class Store:
    """The chunks that have been predicted, each in a file of one folder."""

    def __init__(self, folder: Path):
        self._folder = folder

    def save(self, number: int, chunk: Predictions) -> None:
        """Keep a chunk, with the hash of its content."""
        content = io.BytesIO()
        arrays = {name: getattr(chunk, name) for name in ROWS} | vars(chunk.totals)
        np.savez(content, allow_pickle=False, **arrays)
        write_bytes(hashlib.sha256(content.getbuffer()).digest() + content.getvalue(), self._path(number))

    def load(self, number: int, info: DatasetInfo) -> Predictions | None:
        """A chunk; None if it has not been predicted, or if its file is damaged."""
        try:
            content = self._path(number).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[HASH:]).digest() != content[:HASH]:
            return None
        with np.load(io.BytesIO(content[HASH:])) as file:
            counted = {name: file[name][()] for name in file.files if name not in ROWS}  # [()]: 0-d to float
            if {*counted} != {*vars(Totals())}:  # of another version of this project
                return None
            totals = Totals(**counted)
            return Predictions(info, **{name: file[name] for name in ROWS}, totals=totals)

    def remove(self) -> None:
        """Forget all chunks."""
        if self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05}.chunk"


def open_evaluation(paths: ModelPaths, task: TaskPaths) -> tuple[Examples, Session, Store]:
    """The examples of a task as an exported model reads them, the model, and the chunks that have been predicted.

    Raises PipelineError if the exported file or the examples are damaged.
    """
    exported = ("export", paths.name)
    again = repro(*exported, force=True)
    manifest.verify(paths.export, exported, paths.onnx.name)
    examples, info = load_examples(task), load_info(paths.info, exported)
    if replace(info, min_steps=None, max_steps=None) != replace(examples.info, min_steps=None, max_steps=None):
        raise damaged(paths.info, again, f"it is of other data than {task.info}")
    session = Session(paths.onnx, again, threads=1)  # of a batch: batches are predicted side by side
    if not session.is_of(info):
        raise damaged(paths.onnx, again, f"it is of other data than {task.info}")
    # What has been counted by other code is counted again.
    code = [Path(str(inspect.getsourcefile(each))) for each in (Examples, Session, Predictions, Store)]
    files = [paths.onnx, task.examples, *code, Path(tasks.__file__).parent / task.name / "features.py"]
    fingerprint = md5_of("".join(map(md5, files)).encode())
    return replace(examples, info=info), session, Store(paths.evaluation(fingerprint))


def predict_split(model: Model, task: tasks.Task, examples: Examples, store: Store | None = None) -> Predictions:
    """The predictions for the evaluated split, in the order of the examples.

    `store` keeps each chunk of several: an evaluation that was stopped goes on. Of an implicit split, the totals by
    length count all strings, also those that trained.
    """
    chunks, functions = range(examples.chunks), Functions.of(task, examples.info)

    def chunk(number: int) -> Predictions:
        if store is None or len(chunks) == 1:
            return predict_chunk(model, functions, examples, number)
        known = store.load(number, examples.info)
        if known is None:
            known = predict_chunk(model, functions, examples, number)
            store.save(number, known)
        return known

    shown = tqdm(chunks, desc="evaluation", unit="chunk", disable=None if len(chunks) > 1 else True)
    predictions = reduce(add, map(chunk, shown))
    return replace(predictions, totals=predictions.totals + _of_trained(model, functions, examples))


def predict_chunk(
    model: Model, functions: Functions, examples: Examples, number: int, threads: int | None = None
) -> Predictions:
    """The predictions for one chunk of the evaluated split; if that is implicit, the wrong ones alone.

    So many batches are predicted at once; without a number, one for each core.
    """
    info = examples.info
    encoded, targets = examples.chunk(number)
    actual, predicted = np.empty(len(encoded), np.int32), np.empty(len(encoded), np.int32)
    probability = np.empty(len(encoded), np.float32)

    def predict(rows: slice) -> Totals:
        of_classes, computed, by_length = _read(model, functions, encoded[rows], info)
        actual[rows] = targets[rows] if computed is None else computed
        predicted[rows], probability[rows] = of_classes.argmax(axis=1), of_classes.max(axis=1)
        return Totals.of(actual[rows], of_classes) + Totals(by_length=by_length)

    totals = reduce(add, in_parallel(predict, batches(len(encoded)), threads), Totals())
    kept = np.flatnonzero(predicted != actual) if functions.step_targets else slice(None)
    return Predictions(info, encoded[kept], actual[kept], predicted[kept], probability[kept], totals)


def _read(
    model: Model, functions: Functions, codes: np.ndarray, info: DatasetInfo
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Probabilities (batch, classes) of codes (batch, code); of an implicit split also their targets (batch,).

    And, where the model takes all lengths, how many strings of each length are right (steps,): the beginnings of these,
    which are different strings in the order of their numbers. Others may begin alike: one whose rest is zeros counts.
    """
    sequence, nothing = functions.features(codes, info), np.zeros(1, np.int64)
    if functions.step_targets is None:
        return model.run(sequence)["probabilities"], None, nothing
    targets = functions.step_targets(codes, info)
    if not info.min_steps:
        return model.run(sequence)["probabilities"], targets[:, -1], nothing
    right = np.zeros(codes.shape[1], np.int64)
    for length, rows, outputs in model.run_prefixes(sequence):
        of_classes = outputs["probabilities"]
        counts = ~codes[rows, length:].any(axis=1)
        right[length - 1] = (of_classes[counts].argmax(axis=1) == targets[rows[counts], length - 1]).sum()
    return of_classes, targets[:, -1], right


def _of_trained(model: Model, functions: Functions, examples: Examples) -> Totals:
    """How many strings of each length are right of those that trained, if the evaluated split has all others."""
    info = examples.info
    if not (functions.step_targets and info.min_steps):
        return Totals()
    codes = binary(np.sort(numbers(examples.encoded)), info.shape[0])
    found = in_parallel(lambda rows: _read(model, functions, codes[rows], info), batches(len(codes)))
    return sum((Totals(by_length=by_length) for *_, by_length in found), Totals())


def accuracy(session: Session, paths: TaskPaths) -> float:
    """The accuracy of any exported model on the evaluated split of a task.

    Raises ValueError if the model expects another shape or predicts other classes.
    """
    examples = load_examples(paths)
    if not session.is_of(examples.info):
        shape, classes = examples.info.shape, len(examples.info.class_names)
        raise ValueError(f"the model has {session.classes} classes; the data have {classes} and examples of {shape}")
    totals = predict_split(session, tasks.load(paths.name), examples).totals
    return 1 - totals.wrong / totals.examples
