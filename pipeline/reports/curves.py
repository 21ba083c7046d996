"""The learning curves of runs in one picture."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.files import write_atomic
from pipeline.lineage.run_summary import RunSummary

MONITORED = ("validation_accuracy", "test_accuracy")  # columns of the history, if the recipe monitors that split


def plot(groups: Sequence[Sequence[RunSummary]]) -> Figure:
    """A panel for each group, a line for each run: the accuracy on the training examples, in per cent, by step.

    A dashed line of the same color shows the split that the recipe monitors, if it monitors one.
    """
    figure = Figure(figsize=(7.5, 0.6 + 3.2 * len(groups)), layout="constrained")
    for group, axes in zip(groups, figure.subplots(len(groups), squeeze=False)[:, 0], strict=True):
        title = "accuracy while training"
        for run in group:
            if "accuracy" not in run.history:
                continue
            label = run.name.replace("$", r"\$")  # matplotlib would read $...$ as mathematics
            (line,) = axes.plot(run.history.index, 100 * run.history["accuracy"], lw=1.5, label=label)
            for column in MONITORED:
                if column in run.history:
                    monitored = 100 * run.history[column]
                    axes.plot(run.history.index, monitored, "--", lw=1.2, color=line.get_color())
                    title = "accuracy while training (dashed: on the monitored split)"
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        axes.set_ylabel("accuracy, %")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG. Raises PipelineError if the operating system refuses."""
    write_atomic(path, lambda draft: figure.savefig(draft, dpi=110, format="png"))
