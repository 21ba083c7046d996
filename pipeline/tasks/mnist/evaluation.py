"""Misread digits, and how early a digit is recognised."""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.dataset import Examples, Model
from pipeline.predictions import Predictions, in_parallel
from pipeline.tasks import evaluation
from pipeline.tasks.mnist.features import features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, ROWS = 12, 6  # digits shown
EARLY = (7, 14, 21)  # rows of an image, of 28
BATCH = 1000  # images


class Evaluation(evaluation.Evaluation):
    """Which digits are misread, and how many are recognised before their last row."""

    def evaluate(self, examples: Examples, predictions: Predictions, model: Model) -> "tuple[dict[str, float], Figure]":
        """The accuracy on the first 256 images, as the program behind mnist-lstm128 printed it; the misread digits.

        Of a model that was trained to know the digit after every row, also the accuracy after 7, 14 and 21 rows.
        """
        metrics = {"accuracy_first_256": float(1 - predictions.wrong[:256].mean())}
        if predictions.info.min_steps:
            metrics |= {evaluation.AFTER.format(rows): _accuracy(predictions, model, rows) for rows in EARLY}
        return metrics, plot_errors(predictions)


def _accuracy(predictions: Predictions, model: Model, rows: int) -> float:
    """The share of the images that are right after so many of their rows."""

    def right(start: int) -> int:
        some = slice(start, start + BATCH)
        images = features(predictions.encoded[some], predictions.info)
        return int((model.run(images[:, :rows])["probabilities"].argmax(axis=1) == predictions.targets[some]).sum())

    return sum(in_parallel(right, range(0, len(predictions.targets), BATCH))) / len(predictions.targets)


def plot_errors(predictions: Predictions) -> "Figure":
    """The misread digits, the most confident errors first, each with its prediction and its target."""
    from matplotlib.figure import Figure

    wrong = np.flatnonzero(predictions.wrong)
    wrong = wrong[np.argsort(-predictions.probability[wrong], kind="stable")]
    shown = wrong[: COLUMNS * ROWS]
    rows = max(1, -(-len(shown) // COLUMNS))
    figure = Figure(figsize=(12, 1.28 * rows + 0.6), layout="constrained")
    for axes in figure.subplots(rows, COLUMNS, squeeze=False).flat:
        axes.axis("off")
    info = predictions.info
    for axes, row in zip(figure.axes, shown, strict=False):
        axes.imshow(predictions.encoded[row].reshape(info.shape), cmap="gray_r", vmin=0, vmax=255)
        predicted, target = info.class_names[predictions.predicted[row]], info.class_names[predictions.targets[row]]
        axes.set_title(f"{predicted}, not {target}", fontsize=9, color="#c0392b")
    figure.suptitle(
        f"{info.dataset}: {len(wrong)} of {len(predictions.targets)} misread"
        + (f", the {len(shown)} most confident" if len(shown) < len(wrong) else ""),
        fontsize=12,
    )
    return figure
