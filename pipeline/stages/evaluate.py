"""Measure the exported ONNX file, batch by batch: the published metrics are those of the file that predicts."""

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.config import ModelSetup
from pipeline.dataset import Examples
from pipeline.figure import write_figure
from pipeline.formats import write_csv, write_json
from pipeline.inference import calibration, trace_figure
from pipeline.inference.evaluation import open_evaluation, predict_split
from pipeline.inference.onnx_session import Session
from pipeline.inference.trace import Tracer
from pipeline.paths import repro
from pipeline.predictions import Predictions, write_parquet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

FAR_BELOW = 0.9  # of the ceiling


def run(setup: ModelSetup) -> None:
    """Predict the evaluated split; write metrics, predictions, tables and figures."""
    paths, task = setup.paths, setup.task
    examples, store = open_evaluation(paths, setup.task.paths)
    session = Session(paths.onnx, repro("export", setup.name, force=True))
    predictions = predict_split(session, task, examples, store)
    more, errors = task.evaluation.evaluate(examples, predictions, session.run)
    values = metrics(predictions) | more
    write_json(values, paths.metrics)
    write_csv(confusion(predictions), paths.confusion)
    write_csv(by_class(predictions), paths.by_class)
    write_parquet(table(predictions), paths.predictions)
    write_figure(errors, paths.errors)
    write_figure(calibration.plot(predictions), paths.reliability)
    write_figure(_inside(setup, examples, predictions), paths.inside)
    store.remove()
    print(f"{setup.name}: {values['wrong']:,} of {values['examples']:,} wrong on {values['dataset']}")
    if values["accuracy"] < FAR_BELOW * values.get("ceiling", 0.0):
        embedding = "" if setup.network.embedding else f", or set models.{setup.name}.network.embedding to 64"
        log.warning(
            "%s: accuracy %.1f%% is far below %.1f%%, the best that any model can reach on these examples; train for "
            "more epochs%s.",
            *(setup.name, 100 * values["accuracy"], 100 * values["ceiling"], embedding),
        )


def _inside(setup: ModelSetup, examples: Examples, predictions: Predictions) -> "Figure":
    """The states of the network while it reads an example that shows well how it works."""
    task, info = setup.task, examples.info
    code = task.evaluation.example_to_show(examples, predictions)
    (features,) = task.features(code[None], info)
    trace = Tracer(setup.paths.onnx, repro("export", setup.name, force=True)).trace(features)
    text = task.inputs.decode(code, info)
    title = f"{setup.name} reads {text or 'an example'}"
    for row in np.flatnonzero((predictions.encoded == code).all(axis=1))[:1]:
        target, predicted = (info.class_names[each[row]] for each in (predictions.targets, predictions.predicted))
        title += f" (target {target}, predicted {predicted})"
    labels = task.inputs.step_names(code, info)
    return trace_figure.draw(trace, features, labels, info.class_names, title)


def metrics(predictions: Predictions) -> dict[str, Any]:
    """The content of metrics.json; accuracy is 0 to 1, loss the mean cross-entropy in nats.

    The balanced accuracy is the mean over the classes that occur, so a rare class counts as much as any. Of classes
    with the same accuracy, the worst is the first.
    """
    totals = predictions.totals
    classes = by_class(predictions).set_index("class")["accuracy"]
    return {
        "dataset": predictions.info.dataset,
        "stand_in": predictions.info.stand_in,
        "examples": totals.examples,
        "wrong": totals.wrong,
        "accuracy": (totals.examples - totals.wrong) / totals.examples,
        "balanced_accuracy": round(float(classes.mean()), 9),
        "worst_class": str(classes.idxmin()),
        "worst_class_accuracy": float(classes.min()),
        "loss": round(totals.loss / totals.examples, 9),
        "expected_calibration_error": round(calibration.expected_calibration_error(predictions), 6),
    }


def table(predictions: Predictions) -> pd.DataFrame:
    """The content of predictions.parquet: a row for each prediction that is kept.

    `example` is the row in the evaluated split, or the code of an example that is not stored.
    """
    info = predictions.info
    rows = np.arange(len(predictions.targets)) if info.eval_split in info.stored else predictions.encoded[:, 0]
    columns = {"target": predictions.targets, "predicted": predictions.predicted}
    return pd.DataFrame({"example": rows.astype(np.int64), **columns, "probability": predictions.probability})


def confusion(predictions: Predictions) -> pd.DataFrame:
    """How often each class was predicted for each actual class.

    The pairs of a class with itself come first: plots show classes in the order in which they appear. Other pairs that
    do not occur are left out.
    """
    names = predictions.info.class_names
    found = {(actual, predicted): examples for actual, predicted, examples in predictions.totals.confusion.tolist()}
    same = [(i, i) for i in np.unique(predictions.totals.confusion[:, :2]).tolist()]
    others = sorted(pair for pair in found if pair[0] != pair[1])
    rows = [
        (names[actual], names[predicted], found.get((actual, predicted), 0)) for actual, predicted in [*same, *others]
    ]
    return pd.DataFrame(rows, columns=["actual", "predicted", "examples"])


def by_class(predictions: Predictions) -> pd.DataFrame:
    """For each class of the evaluated examples: how many there are, how many are wrong, the accuracy."""
    found = pd.DataFrame(predictions.totals.by_class(), columns=["class", "examples", "wrong"])
    found["accuracy"] = 1 - found["wrong"] / found["examples"]
    found["class"] = [predictions.info.class_names[i] for i in found["class"]]
    return found
