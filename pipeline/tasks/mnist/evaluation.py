"""Misread digits."""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.dataset import Examples, Model
from pipeline.predictions import Predictions
from pipeline.tasks import evaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, ROWS = 12, 6  # digits shown


class Evaluation(evaluation.Evaluation):
    """Which digits are misread."""

    def evaluate(self, examples: Examples, predictions: Predictions, model: Model) -> "tuple[dict[str, float], Figure]":
        """The accuracy on the first 256 images, as the program behind mnist-lstm128 printed it; the misread digits."""
        return {"accuracy_first_256": float(1 - predictions.wrong[:256].mean())}, plot_errors(predictions)


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
