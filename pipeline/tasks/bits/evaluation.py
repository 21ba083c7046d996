"""Errors by count of ones, and accuracy by length."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pipeline.dataset import DatasetInfo, Examples, Model
from pipeline.predictions import Predictions, in_parallel
from pipeline.tasks import evaluation
from pipeline.tasks.bits.features import features

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGER = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)  # bits, of drawn strings
REPORTED = (100, 1_000, 10_000)  # of these, as metrics
DENSITIES = (0.05, 0.5, 0.95)  # shares of ones in them
STEPS = 30_000  # of all longer strings of one length and density, about
SEED = 0  # of drawn strings


class Evaluation(evaluation.Evaluation):
    """How often strings are miscounted, by their count and by their length."""

    increments: ClassVar = {0.0: 0, 1.0: 1}

    def evaluate(self, examples: Examples, predictions: Predictions, model: Model) -> "tuple[dict[str, float], Figure]":
        """The errors on shorter and longer strings, where the model takes them; the error by count and by length.

        wrong_shorter: of all strings with fewer bits than those of training. accuracy_N_bits: of random strings of N
        bits with few, half and many ones, of zeros alone, of ones alone.
        """
        info = predictions.info
        accuracy = _by_length(predictions, model) if info.min_steps else {}
        metrics: dict[str, float] = {}
        if accuracy:
            wrong = [strings - right for length, (right, strings) in accuracy.items() if length < info.shape[0]]
            metrics["wrong_shorter"] = sum(wrong)
        for length in REPORTED:
            if length > info.shape[0] and length in accuracy:
                right, strings = accuracy[length]
                metrics[f"accuracy_{length}_bits"] = right / strings
        return metrics, plot(predictions, {length: right / strings for length, (right, strings) in accuracy.items()})

    def example_to_show(self, examples: Examples, predictions: Predictions) -> np.ndarray:
        """The string of ones: its count passes through all values."""
        return np.ones(examples.info.shape[0], np.uint8)


def plot(predictions: Predictions, accuracy: dict[int, float]) -> "Figure":
    """The error for each count of ones, above the number of such strings; the accuracy of each length, if known."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8 if accuracy else 5.5), layout="constrained")
    axes = figure.subplots(3 if accuracy else 2, 1, height_ratios=(3, 2, 3)[: 3 if accuracy else 2])
    _plot_counts(predictions, axes[0], axes[1])
    if accuracy:
        longest = predictions.info.shape[0]
        axes[2].plot(list(accuracy), [100 * share for share in accuracy.values()], color="#2471a3", marker=".")
        axes[2].axvspan(0.9, longest + 0.5, color="#d5f5e3", label="lengths of training: all strings")
        ticks = sorted({1, 2, 5, 10, longest, *(length for length in LONGER if length in accuracy)})
        axes[2].set(xscale="log", xlabel="bits of a string", ylabel="right, %", ylim=(-3, 103))
        axes[2].set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes[2].set_xticks([], minor=True)
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


def _by_length(predictions: Predictions, model: Model) -> dict[int, tuple[int, int]]:
    """For strings of each length how many are right, and how many were tried: all, up to the length of training.

    If the model gives a count, which no list of classes bounds, random longer ones, too.
    """
    info = predictions.info
    found = {length: (int(right), 2**length) for length, right in enumerate(predictions.totals.by_length, start=1)}
    if info.max_steps:
        rng = np.random.default_rng(SEED)
        longer = [drawn(each, -(-STEPS // each), rng) for each in LONGER if each > info.shape[0]]
        right = in_parallel(lambda strings: _counted(strings, model, info), longer)
        found |= {strings.shape[1]: (each, len(strings)) for strings, each in zip(longer, right, strict=True)}
    return found


def drawn(length: int, strings: int, rng: np.random.Generator) -> np.ndarray:
    """So many random strings of each density, one of zeros, one of ones: uint8 (3 strings + 2, length)."""
    random = [rng.random((strings, length)) < density for density in DENSITIES]
    return np.concatenate([*random, np.zeros((1, length)), np.ones((1, length))]).astype(np.uint8)


def _counted(strings: np.ndarray, model: Model, info: DatasetInfo) -> int:
    """How many of strings (strings, length) are counted right, by the number that the model gives."""
    count = model.run(features(strings, info))["count"][:, 0]
    return int((np.rint(count) == strings.sum(axis=1)).sum())
