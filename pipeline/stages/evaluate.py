"""Measure the exported ONNX file, batch by batch: the published metrics are those of the file that predicts."""

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.config import ModelSetup
from pipeline.dataset import Examples, numbers
from pipeline.figure import write_figure
from pipeline.files import md5
from pipeline.formats import write_csv, write_json
from pipeline.inference import trace_figure
from pipeline.inference.certificate import certify
from pipeline.inference.evaluation import open_evaluation, predict_split
from pipeline.inference.trace import Tracer, read_weights
from pipeline.predictions import Predictions, write_parquet
from pipeline.tasks.evaluation import AFTER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

FAR_BELOW = 0.9  # of the ceiling


def run(setup: ModelSetup) -> None:
    """Predict the evaluated split; write metrics, predictions, tables, figures and the certificate."""
    paths, task = setup.paths, setup.task
    examples, session, store = open_evaluation(paths, setup.task.paths)
    predictions = predict_split(session, task, examples, store)
    more, errors = task.evaluation.evaluate(examples, predictions, session)
    info = examples.info
    values: dict[str, Any] = {"dataset": info.dataset, "stand_in": info.stand_in}
    values |= predictions.totals.metrics(info.class_names) | more
    certificate = certify(paths.onnx, task.evaluation.increments)
    if task.evaluation.increments:
        values["certified_steps"] = certificate.certified_steps
    write_json(values, paths.metrics)
    write_json([{"onnx": md5(paths.onnx)} | asdict(certificate)], paths.certificate)
    write_csv(confusion(predictions), paths.confusion)
    write_csv(by_class(predictions), paths.by_class)
    write_parquet(table(predictions), paths.predictions)
    write_figure(errors, paths.errors)
    error, by_chance = values["expected_calibration_error"], values["expected_calibration_error_by_chance"]
    write_figure(reliability(predictions, error, by_chance), paths.reliability)
    write_figure(_inside(setup, examples, predictions, values), paths.inside)
    store.remove()
    print(f"{setup.name}: {values['wrong']:,} of {values['examples']:,} wrong on {values['dataset']}")
    if values["accuracy"] < FAR_BELOW * values.get("ceiling", 0.0):
        embedding = "" if setup.network.embedding else f", or set models.{setup.name}.network.embedding to 64"
        log.warning(
            "%s: accuracy %.1f%% is far below %.1f%%, the best that any model can reach on these examples; train for "
            "more epochs%s.",
            *(setup.name, 100 * values["accuracy"], 100 * values["ceiling"], embedding),
        )


def _inside(setup: ModelSetup, examples: Examples, predictions: Predictions, metrics: dict[str, Any]) -> "Figure":
    """The states of the network while it reads an example that shows well how it works."""
    task, info = setup.task, examples.info
    steps = {step: AFTER.format(step) for step in range(1, info.shape[0])}
    early = {step: metrics[name] for step, name in steps.items() if name in metrics}
    accuracy = early | {info.shape[0]: metrics["accuracy"]} if early else {}
    code = task.evaluation.example_to_show(examples, predictions)
    (features,) = task.features(code[None], info)
    trace = Tracer(read_weights(setup.paths.onnx)).trace(features)
    text = task.inputs.decode(code, info)
    title = f"{setup.name} reads {text or 'an example'}"
    for row in np.flatnonzero((predictions.encoded == code).all(axis=1))[:1]:
        target, predicted = (info.class_names[each[row]] for each in (predictions.targets, predictions.predicted))
        title += f" (target {target}, predicted {predicted})"
    labels = task.inputs.step_names(code, info)
    return trace_figure.draw(trace, features, labels, info.class_names, title, accuracy)


def reliability(predictions: Predictions, calibration_error: float, by_chance: float) -> "Figure":
    """The reliability diagram: the accuracy of each bin beside its probability, above the sizes of the bins."""
    from matplotlib.figure import Figure

    count, accuracy, probability = predictions.totals.reliability()
    filled = count > 0
    figure = Figure(figsize=(5.5, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="#7f8c8d", linestyle="--", label="calibrated")
    upper.plot(probability[filled], accuracy[filled], color="#2471a3", marker="o", label="predictions")
    upper.set(ylabel="accuracy", xlim=(0, 1.01), ylim=(0, 1.03))
    upper.legend(loc="upper left")
    upper.set_title(f"{predictions.info.dataset}: calibration error {calibration_error:.2%}, by chance {by_chance:.2%}")
    centres = (np.arange(len(count)) + 0.5) / len(count)
    lower.bar(centres, count, width=0.9 / len(count), color="#34495e")
    lower.set(xlabel="probability of the predicted class", ylabel="examples", yscale="symlog", ylim=(0, None))
    return figure


def table(predictions: Predictions) -> pd.DataFrame:
    """The content of predictions.parquet: a row for each prediction that is kept.

    `example` is the row in the evaluated split, or, of an implicit split, the number that the string writes.
    """
    rows = numbers(predictions.encoded) if predictions.info.implicit_split else np.arange(len(predictions.targets))
    columns = {"target": predictions.targets, "predicted": predictions.predicted}
    return pd.DataFrame({"example": rows.astype(np.int64), **columns, "probability": predictions.probability})


def confusion(predictions: Predictions) -> pd.DataFrame:
    """How often each class was predicted for each actual class.

    The pairs of a class with itself come first: plots show classes in the order in which they appear. Other pairs that
    do not occur are left out.
    """
    names, totals = predictions.info.class_names, predictions.totals.confusion
    counts = {(actual, predicted): examples for actual, predicted, examples in totals.tolist()}
    pairs = {*counts, *((each, each) for each in np.unique(totals[:, :2]).tolist())}
    in_order = sorted(pairs, key=lambda pair: (pair[0] != pair[1], pair))
    rows = [(names[pair[0]], names[pair[1]], counts.get(pair, 0)) for pair in in_order]
    return pd.DataFrame(rows, columns=["actual", "predicted", "examples"])


def by_class(predictions: Predictions) -> pd.DataFrame:
    """For each class of the evaluated examples: how many there are, how many are wrong, the accuracy."""
    found = pd.DataFrame(predictions.totals.by_class(), columns=["class", "examples", "wrong"])
    found["accuracy"] = 1 - found["wrong"] / found["examples"]
    found["class"] = [predictions.info.class_names[i] for i in found["class"]]
    return found
