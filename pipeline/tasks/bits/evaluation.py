"""Errors by count of ones."""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.dataset import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def metrics(predictions: Predictions) -> dict[str, float]:
    """Nothing beside accuracy and loss."""
    return {}


def plot_errors(predictions: Predictions) -> "Figure":
    """The error for each count of ones, above the number of strings with that count."""
    from matplotlib.figure import Figure

    ones = np.arange(len(predictions.info.class_names))
    strings = np.bincount(predictions.targets, minlength=len(ones))
    wrong = np.bincount(predictions.targets[predictions.wrong], minlength=len(ones))
    percent = np.divide(100.0 * wrong, strings, out=np.zeros(len(ones)), where=strings > 0)
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    error, count = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    bars = error.bar(ones, percent, color="#c0392b")
    error.bar_label(bars, [f"{w:,}" if w else "" for w in wrong], fontsize=8)
    error.set(ylabel="wrong, %", ylim=(0, max(1.0, percent.max()) * 1.12))
    error.set_title(
        f"{predictions.wrong.sum():,} of {len(predictions.targets):,} strings miscounted (number above each bar)"
    )
    count.bar(ones, strings, color="#34495e")
    count.set(yscale="symlog", ylabel="strings tested", xlabel="ones in the string", xticks=ones)
    return figure
