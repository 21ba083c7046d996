"""What the model remembers of the story."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.dataset import DatasetInfo, Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 400  # words of the story
LINE = 92  # characters


def metrics(predictions: Predictions) -> dict[str, float]:
    """The ceiling: the accuracy of predicting the most frequent follower of each context. No model can exceed it."""
    followers: dict[tuple[int, ...], Counter[int]] = {}
    for code, follower in zip(predictions.encoded.tolist(), predictions.targets.tolist(), strict=True):
        followers.setdefault(tuple(code), Counter())[follower] += 1
    best = sum(counts.most_common(1)[0][1] for counts in followers.values())
    return {"ceiling": best / len(predictions.targets)}


def sample_line(code: np.ndarray, predicted: int, target: int, info: DatasetInfo) -> str:
    """One window, its prediction and its target, as the published programs print them."""
    words = " ".join(info.class_names[i] for i in code)
    return f"[{words}] -> predicted [{info.class_names[predicted]}], target [{info.class_names[target]}]"


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
        f"{predictions.info.dataset}: {predictions.wrong.sum()} of {len(predictions.targets)} words wrong"
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
