"""The learning curves of runs in one picture."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.lineage.snapshot import RunSummary

MONITORED = ("validation_accuracy", "test_accuracy")  # columns of the history, if the recipe monitors that split


def plot(groups: Sequence[Sequence[RunSummary]]) -> Figure:
    """A panel for each group, a line for each run: the error in per cent, by step, on the split that is monitored.

    Where it monitors none, the line is the error on the training examples; else that is dotted. A dot at the end is the
    error of the evaluated model. The axis is logarithmic above 0.1 %, so that small errors differ visibly.
    """
    figure = Figure(figsize=(7.5, 0.6 + 3.2 * len(groups)), layout="constrained")
    for group, axes in zip(groups, figure.subplots(len(groups), squeeze=False)[:, 0], strict=True):
        for run in group:
            _plot_run(axes, run)
        axes.set_title("error while training (dotted: on training examples), and of the evaluated model", fontsize=10)
        axes.set_yscale("symlog", linthresh=0.1)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="step", ylabel="error, %", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper right")
    return figure


def shown_column(run: RunSummary) -> str:
    """The column of the history that a curve shows: the accuracy on the monitored split, else on training examples."""
    return next((name for name in MONITORED if name in run.history), "accuracy")


def _plot_run(axes: Axes, run: RunSummary) -> None:
    if run.history.empty or "accuracy" not in run.history:
        return
    column = shown_column(run)
    errors = 100 * (1 - run.history)
    label = run.name.replace("$", r"\$")  # matplotlib would read $...$ as mathematics
    (line,) = axes.plot(errors.index, errors[column], lw=1.5, label=label)
    if column != "accuracy":
        axes.plot(errors.index, errors["accuracy"], ":", lw=1.2, color=line.get_color())
    if "accuracy" in run.metrics:
        axes.plot(errors.index[-1], 100 * (1 - run.metrics["accuracy"]), "o", color=line.get_color(), clip_on=False)
