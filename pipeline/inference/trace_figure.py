"""A trace as a figure: the input, the states and the gates of each layer, and the probabilities, step by step."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from pipeline.inference.trace import LayerTrace, Trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = 48  # of a layer that are shown
CLASSES = 24  # that are shown
NAMED = 60  # steps
COLOURS = {"input": "#2471a3", "output": "#1e8449", "forget": "#c0392b", "update": "#c0392b", "reset": "#2471a3"}


def draw(
    trace: Trace,
    features: np.ndarray,
    labels: Sequence[str],
    class_names: Sequence[str],
    title: str,
    accuracy: Mapping[int, float] = MappingProxyType({}),
) -> "Figure":
    """The figure of a trace; features (steps, features) are what the network read, `labels` name the steps.

    Without class names, it shows the count instead of probabilities. `accuracy` is the share of all test examples that
    are right after so many steps, 0 to 1, where it is known.
    """
    from matplotlib.figure import Figure

    share = min(1.0, 1.4 / len(trace.layers))  # of many layers, each is drawn less high
    panels = [
        (height * share, draw_states, layer)
        for layer in trace.layers
        for height, draw_states, there in (
            (3, _cells, layer.cell is not None),
            (3, _outputs, True),
            (2, _gates, bool(layer.gates)),
        )
        if there
    ]
    heights = [1.6, *(height for height, _, _ in panels), 3]
    figure = Figure(figsize=(9, 0.4 + sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)  # one column: steps stand below each other
    _input(figure.add_subplot(grid[0]), features, labels)
    for row, (_, draw_states, layer) in enumerate(panels, start=1):
        draw_states(figure.add_subplot(grid[row]), layer)
    after = figure.add_subplot(grid[-1])
    if class_names:
        _probabilities(after, trace, class_names)
        if accuracy:
            _accuracy(after.twinx(), accuracy)
    else:
        after.plot(np.asarray(trace.count), color="#c0392b")
        after.set(title="the number that it has counted after this step", xlabel="step shown", ylabel="count")
    steps = len(labels)
    every = -(-steps // 14)
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            axes.set_xlim(-0.5, steps - 0.5)
        if axes.get_label() != "<colorbar>" and axes is not figure.axes[0]:
            axes.set_xticks(np.arange(0, steps, every), np.arange(1, steps + 1, every))
    figure.suptitle(_plain(title))
    return figure


def _plain(text: str) -> str:
    """A text that matplotlib takes for no formula."""
    return text.replace("$", r"\$")


def _input(axes: "Axes", features: np.ndarray, labels: Sequence[str]) -> None:
    if features.shape[1] > 1:
        axes.imshow(features.T, aspect="auto", cmap="gray_r", interpolation="nearest")
        axes.set(ylabel="feature")
    else:
        axes.bar(np.arange(len(features)), features[:, 0], color="#34495e")
        axes.set(ylabel="value")
    named = range(0, len(labels), -(-len(labels) // NAMED))
    axes.set_xticks(named, [_plain(labels[step]) for step in named], rotation=0 if len(labels) <= NAMED else 20)
    axes.set_title("the input, one column for each step")


def _cells(axes: "Axes", layer: LayerTrace) -> None:
    cells = np.asarray(layer.cell)
    _states(axes, cells, f"{layer.name}: cell states", float(np.abs(cells).max()) or 1.0)


def _outputs(axes: "Axes", layer: LayerTrace) -> None:
    _states(axes, layer.output, f"{layer.name}: outputs", 1.0)


def _states(axes: "Axes", states: np.ndarray, title: str, largest: float) -> None:
    """States (steps, units) as a heat map, the units that change most on top."""
    order = np.argsort(-np.ptp(states, axis=0), kind="stable")[:UNITS]
    image = axes.imshow(
        states[:, order].T, aspect="auto", cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest"
    )
    shown = f", the {len(order)} most active of {states.shape[1]} units" if len(order) < states.shape[1] else ""
    axes.set(title=f"{title}{shown}", ylabel="unit", yticks=[])
    axes.figure.colorbar(image, ax=axes, pad=0.01)


def _gates(axes: "Axes", layer: LayerTrace) -> None:
    for name, colour in COLOURS.items():
        if name in layer.gates:
            axes.plot(layer.gates[name].mean(axis=1), color=colour, marker=".", label=name)
    axes.set(title=f"{layer.name}: gates, mean over the units", ylim=(-0.03, 1.03), ylabel="0 closed, 1 open")
    axes.legend(loc="lower right", ncols=3, fontsize=8)


def _probabilities(axes: "Axes", trace: Trace, class_names: Sequence[str]) -> None:
    """The probabilities of the classes that are most probable at some step, or of all if they are few."""
    best = np.argsort(-trace.probabilities.max(axis=0), kind="stable")[:CLASSES]
    shown = np.sort(best) if trace.probabilities.shape[1] <= CLASSES else best
    image = axes.imshow(
        trace.probabilities[:, shown].T, aspect="auto", cmap="Greens", vmin=0, vmax=1, interpolation="nearest"
    )
    axes.set_yticks(np.arange(len(shown)), [_plain(class_names[i]) for i in shown], fontsize=8)
    axes.set(title="probability of each class, if the sequence ended after this step", xlabel="step", ylabel="class")
    axes.figure.colorbar(image, ax=axes, pad=0.01)
    if trace.count is not None and len(shown) == len(class_names):
        axes.plot(trace.count, color="#c0392b", marker=".", label="the number that it has counted")
        axes.legend(loc="lower left", fontsize=8)


def _accuracy(axes: "Axes", accuracy: Mapping[int, float]) -> None:
    """The accuracy after some of the steps, above the probabilities of one example."""
    steps, shares = np.array(list(accuracy)), 100 * np.array(list(accuracy.values()))
    axes.plot(steps - 1, shares, color="#c0392b", marker="o", label="all test examples: right after this step, %")
    for step, share in zip(steps, shares, strict=True):
        axes.annotate(f"{share:.1f}", (step - 1, share), (-6, -6), textcoords="offset points", ha="right", va="top")
    axes.set(ylim=(0, 106), ylabel="right, %")
    axes.legend(loc="lower right", fontsize=8)
