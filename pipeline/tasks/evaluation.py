"""The base of every task's evaluation.py: its own metrics, its picture of errors, the example that figures show."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pipeline.dataset import DatasetInfo, Examples, Model
from pipeline.predictions import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AFTER = "accuracy_after_{}_steps"  # a metric of a model that names the class of an example before its end
NAMED = 30  # classes that are named below the bars of accuracy, of more only some


class Evaluation:
    """What a task measures and draws. By default, no metrics of its own and the accuracy of each class."""

    # Where the class is a count: what each symbol, 0 or 1, adds to it; see inference.certificate.
    increments: ClassVar[Mapping[float, int]] = {}

    def evaluate(self, examples: Examples, predictions: Predictions, model: Model) -> "tuple[dict[str, float], Figure]":
        """The task's own metrics, beside accuracy and loss, and the picture that shows best what the model gets wrong.

        `model` predicts further examples, where the task measures more than the evaluated split.
        """
        return {}, accuracy_by_class(predictions)

    def example_to_show(self, examples: Examples, predictions: Predictions) -> np.ndarray:
        """The code (code,) of an example that shows well how a network works; by default its most confident error.

        Without errors, the right prediction with the lowest probability; where none is kept, the first example.
        """
        wrong, probability = predictions.wrong, predictions.probability
        if not len(probability):
            return np.asarray(examples.encoded[0])
        row = np.argmax(np.where(wrong, probability, -1)) if wrong.any() else np.argmin(probability)
        return np.asarray(predictions.encoded[row])

    def sample_line(self, code: np.ndarray, predicted: int, target: int, info: DatasetInfo) -> str:
        """What a training prints about one example, in one line; by default, nothing."""
        return ""


def accuracy_by_class(predictions: Predictions) -> "Figure":
    """A bar for each class of the evaluated examples, in the order of the class names."""
    from matplotlib.figure import Figure

    totals = predictions.totals
    classes, examples, wrong = totals.by_class().T
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.bar(np.arange(len(classes)), 100 * (1 - wrong / examples), color="#2471a3")
    axes.set(ylabel="right, %", ylim=(0, 100), title=f"{totals.wrong:,} of {totals.examples:,} examples wrong")
    shown = np.arange(0, len(classes), -(-len(classes) // NAMED))
    names = [predictions.info.class_names[i].replace("$", r"\$") for i in classes[shown]]
    axes.set_xticks(shown, names, rotation=30, ha="right")
    return figure
