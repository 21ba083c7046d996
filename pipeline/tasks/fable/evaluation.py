"""What the model remembers of the story."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.dataset import DatasetInfo, Examples, Model
from pipeline.predictions import Predictions
from pipeline.tasks import evaluation
from pipeline.tasks.fable import ngram
from pipeline.tasks.fable.features import features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 400  # words of the story
LINE = 92  # characters
BATCH = 1024  # windows


class Evaluation(evaluation.Evaluation):
    """What of the story the model remembers, and what it predicts of a part that it did not read."""

    def evaluate(self, examples: Examples, predictions: Predictions, model: Model) -> "tuple[dict[str, float], Figure]":
        """The ceiling, the errors in the story, and, of a story with a test split, how well that is predicted.

        ceiling: the accuracy of predicting the most frequent follower of each context, which no model can exceed.
        test_perplexity: e to the mean cross-entropy per token; beside it that of a Kneser-Ney model, which only counts.
        """
        metrics = {"ceiling": _ceiling(*examples.split(examples.info.eval_split))}
        if examples.info.splits.get("test"):
            metrics |= _on_test_split(examples, model)
        return metrics, plot_errors(predictions)

    def example_to_show(self, examples: Examples, predictions: Predictions) -> np.ndarray:
        """The first context after which the story goes on in several ways, or the first of all."""
        contexts = np.unique(predictions.encoded, axis=0, return_inverse=True)[1].ravel()
        pairs = np.unique(np.column_stack([contexts, predictions.targets]), axis=0)
        ambiguous = np.bincount(pairs[:, 0])[contexts] > 1
        return np.asarray(predictions.encoded[np.argmax(ambiguous)])

    def sample_line(self, code: np.ndarray, predicted: int, target: int, info: DatasetInfo) -> str:
        """One window, its prediction and its target, as the published programs print them."""
        words = " ".join(info.class_names[i] for i in code)
        return f"[{words}] -> predicted [{info.class_names[predicted]}], target [{info.class_names[target]}]"


def _ceiling(windows: np.ndarray, targets: np.ndarray) -> float:
    contexts = np.unique(windows, axis=0, return_inverse=True)[1].ravel()
    pairs, counts = np.unique(np.column_stack([contexts, targets]), axis=0, return_counts=True)
    best = np.zeros(len(targets), np.int64)
    np.maximum.at(best, pairs[:, 0], counts)
    return float(best.sum() / len(targets))


def _on_test_split(examples: Examples, model: Model) -> dict[str, float]:
    windows, targets = examples.split("test")
    parts = [features(windows[start : start + BATCH], examples.info) for start in range(0, len(windows), BATCH)]
    probabilities = np.concatenate([model.run(part)["probabilities"] for part in parts])
    of_target = np.maximum(probabilities[np.arange(len(targets)), targets], np.finfo(np.float32).tiny)
    train_windows, train_targets = examples.split("train")
    tokens = [*train_windows[0].tolist(), *train_targets.tolist()]
    return {
        "test_accuracy": float((probabilities.argmax(axis=1) == targets).mean()),
        "test_perplexity": float(np.exp(-np.log(of_target, dtype=np.float64).mean())),
        "test_perplexity_kneser_ney": ngram.perplexity(tokens, windows, targets, len(examples.info.class_names)),
    }


def plot_errors(predictions: Predictions) -> "Figure":
    """The first words of the story as predicted: a wrong word in red, the right one above it in green."""
    from matplotlib.figure import Figure

    placed = _layout(_words(predictions))
    lines = placed[-1][0] + 1
    figure = Figure(figsize=(10, 0.42 * lines + 0.7), layout=None)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.98 - 0.45 / figure.get_figheight()))
    axes.set(xlim=(0, LINE), ylim=(lines, 0))
    axes.axis("off")
    for row, start, predicted, target in placed:
        style: dict[str, Any] = {"family": "monospace", "fontsize": 12.4, "va": "baseline"}
        colour = "#222222" if target is None else "#c0392b"
        axes.text(start, row + 0.9, predicted, color=colour, weight="normal" if target is None else "bold", **style)
        if target is not None:
            axes.text(start, row + 0.42, target, color="#1e8449", family="monospace", fontsize=10, va="baseline")
    figure.suptitle(
        f"{predictions.info.dataset}: {predictions.totals.wrong} of {predictions.totals.examples} words wrong"
        " (red: predicted, green: the story)",
        fontsize=12,
    )
    return figure


def _words(predictions: Predictions) -> list[tuple[str, str | None]]:
    """The first window, then each predicted word, with its target where it is wrong."""
    names = predictions.info.class_names
    words: list[tuple[str, str | None]] = [(names[i], None) for i in predictions.encoded[0]]
    shown = zip(predictions.targets[:SHOWN].tolist(), predictions.predicted[:SHOWN].tolist(), strict=True)
    words += [(names[predicted], names[target] if predicted != target else None) for target, predicted in shown]
    return words


def _layout(words: list[tuple[str, str | None]]) -> list[tuple[int, int, str, str | None]]:
    """Each word with its line and its first column."""
    line, column, placed = 0, 0, []
    for predicted, target in words:
        width = max(len(predicted), len(target or ""))
        if column + width > LINE:
            line, column = line + 1, 0
        placed.append((line, column, predicted, target))
        column += width + 1
    return placed
