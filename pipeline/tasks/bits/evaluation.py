"""Errors by count of ones, and accuracy by length."""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.dataset import Examples, Model
from pipeline.predictions import Predictions
from pipeline.tasks import evaluation
from pipeline.tasks.bits.features import bits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BATCH = 2**14  # strings
LONGEST = 100  # bits
ALL = 20  # bits, up to which all shorter strings are counted
DRAWN = 2000  # strings of each length that is longer than those of training
SEED = 0  # of these strings


class Evaluation(evaluation.Evaluation):
    """How often strings are miscounted, by their count and by their length."""

    def evaluate(self, examples: Examples, predictions: Predictions, model: Model) -> "tuple[dict[str, float], Figure]":
        """The errors on shorter and longer strings, where the model takes them; the error by count and by length.

        wrong_shorter: of all strings with fewer bits than those of training; of those with more than 20 bits, of 2,000
        random ones of each length. accuracy_N_bits: of 2,000 random strings of N = twice as many bits.
        """
        info = predictions.info
        wrong, strings = _by_length(examples, predictions, model) if info.min_steps else (np.zeros(0), np.ones(0))
        metrics: dict[str, float] = {}
        if len(wrong):
            metrics["wrong_shorter"] = int(wrong[: info.shape[0] - 1].sum())
        if len(wrong) == LONGEST:
            double = 2 * info.shape[0]
            metrics[f"accuracy_{double}_bits"] = float(1 - wrong[double - 1] / strings[double - 1])
        return metrics, plot(predictions, 1 - wrong / strings)

    def example_to_show(self, examples: Examples, predictions: Predictions) -> np.ndarray:
        """The string of ones: its count passes through all values."""
        return np.array([2 ** examples.info.shape[0] - 1], np.uint32)


def plot(predictions: Predictions, accuracy: np.ndarray) -> "Figure":
    """The error for each count of ones, above the number of such strings; the accuracy of each length, if known."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8 if len(accuracy) else 5.5), layout="constrained")
    axes = figure.subplots(3 if len(accuracy) else 2, 1, height_ratios=(3, 2, 3)[: 3 if len(accuracy) else 2])
    _plot_counts(predictions, axes[0], axes[1])
    if len(accuracy):
        axes[2].plot(np.arange(1, len(accuracy) + 1), 100 * accuracy, color="#2471a3", marker=".")
        axes[2].axvspan(0.5, predictions.info.shape[0] + 0.5, color="#d5f5e3", label="lengths of training: all strings")
        axes[2].set(xlabel="bits of a string", ylabel="right, %", ylim=(-3, 103), xlim=(0.5, len(accuracy) + 0.5))
        axes[2].legend(loc="lower left")
    return figure


def _plot_counts(predictions: Predictions, error: "Axes", count: "Axes") -> None:
    ones = np.arange(len(predictions.info.class_names))
    strings, wrong = np.zeros((2, len(ones)), np.int64)
    classes, strings_of_class, wrong_of_class = predictions.totals.by_class().T
    strings[classes], wrong[classes] = strings_of_class, wrong_of_class
    percent = np.divide(100.0 * wrong, strings, out=np.zeros(len(ones)), where=strings > 0)
    bars = error.bar(ones, percent, color="#c0392b")
    error.bar_label(bars, [f"{w:,}" if w else "" for w in wrong], fontsize=8)
    error.set(ylabel="wrong, %", ylim=(0, max(1.0, percent.max()) * 1.12), xticks=ones)
    error.set_title(
        f"{predictions.totals.wrong:,} of {predictions.totals.examples:,} strings miscounted (number above each bar)"
    )
    count.bar(ones, strings, color="#34495e")
    count.set(yscale="symlog", ylabel="strings tested", xlabel="ones in the string", xticks=ones)


def _by_length(examples: Examples, predictions: Predictions, model: Model) -> tuple[np.ndarray, np.ndarray]:
    """How many strings of each length, from 1, are wrong, and how many were tried.

    All strings of the length of training, and of up to 20 bits; random ones of the lengths between. If the model gives
    a count, which no list of classes bounds, random longer ones, too.
    """
    info = predictions.info
    rng = np.random.default_rng(SEED)
    wrong, tried = [], []
    for length in range(1, info.shape[0]):
        strings = np.arange(2**length) if length <= ALL else rng.integers(0, 2**length, DRAWN)
        wrong.append(_wrong(strings, length, model))
        tried.append(len(strings))
    others = examples.encoded[:, 0]  # `predictions` has those of the evaluated split
    wrong.append(predictions.totals.wrong + _wrong(others, info.shape[0], model))
    tried.append(predictions.totals.examples + len(others))
    if "count" in model(bits(np.arange(1), 1)):
        for length in range(info.shape[0] + 1, LONGEST + 1):
            sequence = rng.integers(0, 2, (DRAWN, length, 1)).astype(np.float32)
            wrong.append(int((np.rint(model(sequence)["count"][:, 0]) != _ones(sequence)).sum()))
            tried.append(DRAWN)
    return np.array(wrong), np.array(tried)


def _wrong(numbers: np.ndarray, length: int, model: Model) -> int:
    """How many of these strings are miscounted."""
    wrong = 0
    for first in range(0, len(numbers), BATCH):
        sequence = bits(numbers[first : first + BATCH], length)
        wrong += int((model(sequence)["probabilities"].argmax(axis=1) != _ones(sequence)).sum())
    return wrong


def _ones(sequence: np.ndarray) -> np.ndarray:
    """How many ones each of float32 (strings, length, 1) has: int64 (strings,)."""
    return np.asarray(sequence.sum(axis=(1, 2)).astype(np.int64))
