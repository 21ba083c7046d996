"""The trials of a sweep as a table, and their results against each parameter as a figure."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from tabulate import tabulate

from pipeline.figure import write_figure
from pipeline.formats import write_csv
from pipeline.reports.metrics import metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIRST = ("trial", "outcome")
LAST = ("score", "accuracy", "wrong")
MOST_TICKS = 8  # values of a parameter that are all written at its axis


def text(trials: pd.DataFrame) -> str:
    """The trials, the best first.

    Columns: trial, outcome, a column for each parameter, score (by which they are ordered), accuracy, wrong.
    """
    shown = trials.sort_values("score", ascending=False, na_position="last", kind="stable")
    rows = []
    for row in shown.to_dict("records"):
        cells = [row[str(column)] for column in shown.columns[: -len(LAST)]]
        rows.append([*map(str, cells), *("-" if pd.isna(row[name]) else _number(name, row[name]) for name in LAST)])
    return tabulate(rows, list(shown.columns), "simple", disable_numparse=True)


def _number(name: str, value: float) -> str:
    return metric("accuracy" if name == "score" else name).number(value)


def plot(name: str, trials: pd.DataFrame) -> "Figure":
    """The error of each trial that finished against each parameter that was swept, log-scaled where it helps."""
    from matplotlib.figure import Figure

    finished = trials[trials["outcome"] == "finished"]
    params = [str(column) for column in trials.columns if column not in (*FIRST, *LAST)]
    figure = Figure(figsize=(4.4 * len(params) + 0.6, 4), layout="constrained")
    for axes, param in zip(figure.subplots(1, len(params), squeeze=False)[0], params, strict=True):
        _against(axes, param, finished[param], 100 * (1 - finished["score"]))
    figure.axes[0].set_ylabel("error, %")
    figure.suptitle(f"{name}: {len(finished)} of {len(trials)} trials finished", fontsize=11)
    return figure


def _against(axes: "Axes", param: str, values: "pd.Series[Any]", errors: "pd.Series[float]") -> None:
    numbers = values.map(lambda value: isinstance(value, int | float) and not isinstance(value, bool)).all()
    x: pd.Series[Any] = values.astype(float) if numbers else values.map(str)
    axes.scatter(x, errors, color="#2471a3", alpha=0.8, zorder=3)
    means = pd.DataFrame({"x": x, "error": errors}).groupby("x", sort=bool(numbers))["error"].mean()
    if len(means) < len(x):
        axes.plot(means.index, means.to_numpy(), color="#c0392b", marker="_", linestyle=":", label="mean")
        axes.legend()
    if numbers and len(x) and x.min() > 0 and x.max() >= 20 * x.min():
        axes.set_xscale("log")
    if len(errors) and errors.min() > 0 and errors.max() >= 5 * errors.min():
        axes.set_yscale("log")
    if numbers and len(means) <= MOST_TICKS:
        axes.minorticks_off()
        axes.set_xticks(means.index, [f"{value:g}" for value in means.index])
    axes.set_xlabel(param)
    axes.grid(alpha=0.3)


def save(name: str, trials: pd.DataFrame, folder: Path) -> Path:
    """Write results.csv and results.png into a folder; return the path of the picture."""
    picture = folder / "results.png"
    write_csv(trials, folder / "results.csv")
    figure = plot(name, trials)
    write_figure(figure, picture)
    return picture
