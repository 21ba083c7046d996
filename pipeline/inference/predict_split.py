"""The predictions of an exported model for all examples of the evaluated split."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline import manifest, tasks
from pipeline.dataset import Examples, load_examples, load_info
from pipeline.files import md5
from pipeline.inference import parts
from pipeline.inference.onnx_session import Session
from pipeline.inference.parts import Store
from pipeline.paths import ModelPaths, TaskPaths
from pipeline.predictions import Predictions


def evaluated(paths: ModelPaths, task: TaskPaths) -> tuple[Examples, Store]:
    """The examples of a task as an exported model reads them, and the parts of them that have been predicted.

    Raises PipelineError if the exported file or the examples are damaged.
    """
    exported = ("export", paths.name)
    manifest.verify(paths.export, exported, paths.onnx.name)
    examples = replace(load_examples(task), info=load_info(paths.info, exported))
    return examples, Store(paths.evaluation(md5(paths.onnx), md5(task.examples)))


def predict_split(session: Session, task: tasks.Task, examples: Examples, store: Store | None = None) -> Predictions:
    """The predictions for the evaluated split, in the order of the examples.

    Those of a complement are made part by part, of which `store` keeps each: an evaluation that was stopped goes on.
    """
    info = examples.info
    if not info.complement:
        encoded, targets = examples.split(info.eval_split)
        return parts.predict(session.probabilities, task.features, info, encoded, targets)
    others = np.sort(examples.encoded[:, 0])
    numbers = parts.numbers(info)
    made: Predictions | None = None
    for number in tqdm(numbers, desc="evaluation", unit="part", disable=None if len(numbers) > 1 else True):
        part = store.load(number, info) if store else None
        if part is None:
            part = parts.predict_range(session.probabilities, task.features, task.step_targets, info, others, number)
            if store and len(numbers) > 1:
                store.save(number, part)
        made = parts.merged(made, part) if made else part
    assert made  # noqa: S101  # a complement has at least one part
    return made


def accuracy(onnx: Path, paths: TaskPaths) -> float:
    """The accuracy of any exported model on the evaluated split of a task.

    Raises ValueError if the model expects another shape or predicts other classes.
    """
    examples = load_examples(paths)
    session = Session(onnx, "pipeline track")
    shape, classes = examples.info.shape, len(examples.info.class_names)
    if not session.reads(shape) or session.classes != classes:
        raise ValueError(f"the model has {session.classes} classes; the data have {classes} and examples of {shape}")
    totals = predict_split(session, tasks.load(paths.name), examples).totals
    return 1 - totals.wrong / totals.examples
