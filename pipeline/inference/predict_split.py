"""The predictions of an exported model for all examples of the evaluated split."""

from pathlib import Path

import numpy as np

from pipeline import tasks
from pipeline.dataset import Examples, Predictions, load_examples
from pipeline.inference.onnx_session import Session, batches
from pipeline.paths import TaskPaths


def predict_split(session: Session, task: tasks.Task, examples: Examples) -> tuple[Predictions, float]:
    """The predictions for the evaluated split, and their mean cross-entropy in nats. Memory stays small."""
    encoded, targets = examples.eval_split()
    predicted, probability = np.empty(len(encoded), np.int32), np.empty(len(encoded), np.float32)
    loss = 0.0
    for rows in batches(len(encoded)):
        probabilities = session.probabilities(task.features(encoded[rows], examples.info))  # (batch, classes)
        predicted[rows] = probabilities.argmax(axis=1)
        probability[rows] = probabilities.max(axis=1)
        of_target = np.take_along_axis(probabilities, targets[rows, None].astype(np.int64), axis=1)
        loss -= float(np.log(np.maximum(of_target, np.finfo(np.float32).tiny), dtype=np.float64).sum())
    predictions = Predictions(examples.info, encoded, targets.astype(np.int32), predicted, probability)
    return predictions, loss / len(encoded)


def accuracy(onnx: Path, paths: TaskPaths) -> float:
    """The accuracy of any exported model on the evaluated split of a task.

    Raises ValueError if the model expects another shape or predicts other classes.
    """
    examples = load_examples(paths)
    session = Session(onnx, "pipeline track")
    shape, classes = examples.info.shape, len(examples.info.class_names)
    if not session.reads(shape) or session.classes != classes:
        raise ValueError(f"the model has {session.classes} classes; the data have {classes} and examples of {shape}")
    predictions, _ = predict_split(session, tasks.load(paths.name), examples)
    return float(1 - predictions.wrong.mean())
