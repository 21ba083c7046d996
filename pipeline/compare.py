"""Set runs beside each other: what differs between them, what came of it, and how far that is from chance."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import data
from pipeline.run import Run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WIDE = 4  # runs from which on each is a row of the table, no longer a column
CHANCE = 0.05  # a smaller p is called more than chance
UNITS = {"training_seconds": "s", "peak_memory_mib": "MiB"}


@dataclass(frozen=True)
class Paired:
    """How a run's answers differ from the first run's on the same examples (McNemar's exact test)."""

    run: str
    examples: int
    better: int  # right here, wrong there
    worse: int  # wrong here, right there
    p: float  # of so uneven a split, were both models equally good

    def __str__(self) -> str:
        if not self.better + self.worse:
            return f"{self.run}: the same {self.examples:,} examples are right and wrong"
        verdict = "more than chance" if self.p < CHANCE else "within chance"
        return (
            f"{self.run}: of the same {self.examples:,} examples, {self.better:,} that were wrong are right and "
            f"{self.worse:,} that were right are wrong; p = {self.p:.2g}, {verdict}"
        )


def paired(first: Run, other: Run) -> Paired | None:
    """The paired test of two runs; None unless both answered the same examples.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12
    (1947); exact: of the examples that only one of them has right, half would fall to each by chance. The chance is
    that of the test examples; another seed may move a model further.
    """
    from scipy.stats import binomtest

    if first.answers is None or other.answers is None or first.task != other.task:
        return None
    if len(first.answers) != len(other.answers) or not _same_examples(first, other):
        return None
    right = [(answers["class"] == answers["said"]).to_numpy() for answers in (first.answers, other.answers)]
    better, worse = int((~right[0] & right[1]).sum()), int((right[0] & ~right[1]).sum())
    p = float(binomtest(better, better + worse).pvalue) if better + worse else 1.0
    return Paired(other.name, len(right[0]), better, worse, p)


def _same_examples(first: Run, other: Run) -> bool:
    path = str(data.SPLIT / first.task / "examples.parquet")
    return first.inputs.get(path) is not None and first.inputs.get(path) == other.inputs.get(path)


def differences(group: Sequence[Run]) -> "pd.DataFrame":
    """What differs, then the figures: a row a thing, a column a run; with two runs, their difference."""
    import pandas as pd

    told = {"model": [run.model for run in group]}
    told |= {key: [run.params.get(key, "-") for run in group] for key in _keys(run.params for run in group)}
    inputs = {key: [run.inputs.get(key, "-") for run in group] for key in _keys(run.inputs for run in group)}
    rows: dict[str, list[Any]] = {key: values for key, values in told.items() if len(set(values)) > 1}
    rows |= {key: [md5[:7] for md5 in hashes] for key, hashes in inputs.items() if len(set(hashes)) > 1}
    rows |= {_figure(key): [run.figures.get(key) for run in group] for key in _keys(run.figures for run in group)}
    return pd.DataFrame(rows, index=[run.name for run in group]).T


def _keys(mappings: Any) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def table(group: Sequence[Run], markdown: bool = False) -> str:
    """The differences as text; a run a row if there are many."""
    import pandas as pd
    from tabulate import tabulate

    what = differences(group)
    figures = {_figure(key) for key in _keys(run.figures for run in group)}
    cells = [
        [name, *(_cell(name, value, name in figures) for value in values)]
        for name, values in zip(what.index, what.to_numpy().tolist(), strict=True)
    ]
    heads = ["", *(run.name for run in group)]
    if len(group) == 2:
        heads.append("difference")
        for row, (before, after) in zip(cells, what.to_numpy().tolist(), strict=True):
            known = row[0] in figures and pd.notna(before) and pd.notna(after)
            row.append(_difference(row[0], after - before) if known else "")
    if len(group) >= WIDE:
        heads, *cells = [list(row) for row in zip(heads, *cells, strict=True)]
    kind = "github" if markdown else "simple"
    return tabulate(cells, heads, kind, disable_numparse=True, colalign=["left", *["right"] * (len(heads) - 1)])


def _figure(key: str) -> str:
    """What a figure is called in a table: a parameter, too, goes by the name of loss."""
    return "test_loss" if key == "loss" else key


def _cell(name: str, value: Any, is_figure: bool) -> str:
    import pandas as pd

    if pd.isna(value):
        return "-"
    if not is_figure:
        return str(value)
    if _share(name):
        return f"{value:.3%}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def _difference(name: str, value: float) -> str:
    if _share(name):
        return f"{value * 100:+.3f} points"
    number = f"{value:+,.0f}" if float(value).is_integer() else f"{value:+.4g}"
    return f"{number} {UNITS[name]}" if name in UNITS else number


def _share(name: str) -> bool:
    return name.startswith("accuracy") or name == "ceiling"


def text(groups: Sequence[Sequence[Run]], picture: Path, markdown: bool = False) -> str:
    """All of a comparison as a person reads it, in a terminal or as Markdown."""
    parts = []
    for group in groups:
        lines = [table(group, markdown)]
        if len(group) > 2:
            lines.append(f"Against {group[0].name}:" + ("\n" if markdown else ""))
        tests = [paired(group[0], run) or f"{run.name}: no paired test, other test examples" for run in group[1:]]
        lines += [f"- {test}" if markdown else str(test) for test in tests]
        title = " and ".join(dict.fromkeys(run.model for run in group))
        parts.append(
            (f"### {title}\n\n" if markdown else f"{title}\n\n") + "\n\n".join([lines[0], "\n".join(lines[1:])])
        )
    parts.append(f"![learning curves]({picture})" if markdown else f"learning curves: {picture}")
    return "\n\n".join(parts)


def as_json(groups: Sequence[Sequence[Run]], picture: Path) -> str:
    """The same as JSON: a list of groups, each with its runs, what differs, and the paired tests."""
    content = [
        {
            "runs": [{"id": run.id, "name": run.name, "model": run.model, "figures": run.figures} for run in group],
            "differences": json.loads(differences(group).T.to_json(orient="records")),
            "paired": [vars(test) for run in group[1:] if (test := paired(group[0], run))],
        }
        for group in groups
    ]
    return json.dumps({"groups": content, "picture": str(picture)}, indent=2, ensure_ascii=False)


def draw(groups: Sequence[Sequence[Run]]) -> "Figure":
    """The learning curves over each other, a panel a group: accuracy on the training examples, or as monitored."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.6 + 3.2 * len(groups)), layout="constrained")
    for group, axes in zip(groups, figure.subplots(len(groups), squeeze=False)[:, 0], strict=True):
        for run in group:
            if "accuracy" not in run.history:
                continue
            share = 100 * run.history["accuracy"]
            (line,) = axes.plot(run.history.index, share, lw=1.5, label=run.name.replace("$", r"\$"))
            if "monitor_accuracy" in run.history:
                monitored = 100 * run.history["monitor_accuracy"]
                axes.plot(run.history.index, monitored, "--", lw=1.2, color=line.get_color())
        dashed = any("monitor_accuracy" in run.history for run in group)
        axes.set_title(
            "accuracy while training" + (" (dashed: on the part that was monitored)" if dashed else ""), fontsize=10
        )
        axes.set_xlabel("step")
        axes.set_ylabel("accuracy, %")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a picture as PNG."""
    data.write_whole(path, lambda draft: figure.savefig(draft, dpi=110, format="png"))
