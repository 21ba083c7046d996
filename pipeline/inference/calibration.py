"""Whether predictions are right as often as their probabilities say.

Source: C. Guo et al., "On Calibration of Modern Neural Networks" (2017).
"""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.predictions import BINS, Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """The number by which to divide logits (examples, classes) for the smallest cross-entropy with targets, 0.05 to 20.

    One more example is counted, whose class is the second most probable one: however few examples there are, and even
    if all of them are right, a probability does not become certainty (after Laplace's rule of succession). Rounded to
    three digits, so that small differences between processors do not change it.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if logits.shape[1] == 1:
        return 1.0
    rows, logits = np.arange(len(targets)), logits.astype(np.float64)
    second = np.argsort(logits, axis=1)[:, -2]

    def loss(log_temperature: float) -> float:
        logs = log_softmax(logits / np.exp(log_temperature), axis=1)
        return float(-logs[rows, targets].sum() - logs[rows, second].mean())

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x
    return float(f"{np.exp(best):.3g}")


def bins(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of 15 equal ranges of probability: how many predictions, their accuracy, their mean probability."""
    count, right, probability = predictions.totals.bins
    shown = np.maximum(count, 1)
    return count, right / shown, probability / shown


def expected_calibration_error(predictions: Predictions) -> float:
    """The mean distance between accuracy and probability over the bins, weighted by their sizes: 0 is calibrated."""
    count, accuracy, probability = bins(predictions)
    return float((count * np.abs(accuracy - probability)).sum() / count.sum())


def plot(predictions: Predictions) -> "Figure":
    """The reliability diagram: the accuracy of each bin beside its probability, above the sizes of the bins."""
    from matplotlib.figure import Figure

    count, accuracy, probability = bins(predictions)
    filled = count > 0
    figure = Figure(figsize=(5.5, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="#7f8c8d", linestyle="--", label="calibrated")
    upper.plot(probability[filled], accuracy[filled], color="#2471a3", marker="o", label="predictions")
    upper.set(ylabel="accuracy", xlim=(0, 1.01), ylim=(0, 1.03))
    upper.legend(loc="upper left")
    upper.set_title(
        f"{predictions.info.dataset}: expected calibration error {expected_calibration_error(predictions):.2%}"
    )
    centres = (np.arange(BINS) + 0.5) / BINS
    lower.bar(centres, count, width=0.9 / BINS, color="#34495e")
    lower.set(xlabel="probability of the predicted class", ylabel="examples", yscale="symlog", ylim=(0, None))
    return figure
