"""The models' figures beside the published ones."""

from pathlib import Path

import pandas as pd

from pipeline import data, git, run
from pipeline.config import Config
from pipeline.outputs import workspace

NUMBERS = 3  # columns before the numbers


def collect(config: Config) -> pd.DataFrame:
    """A row for each model of params.yaml: what metrics.json says, and how long training took where that is known."""
    rows = []
    for name, model in config.models.items():
        outputs = workspace(name, model.task)
        figures = outputs.metrics()
        # A figure made from a stand-in is not comparable, so it never stands beside the published one.
        published = None if figures["dataset"] in data.STAND_INS else model.figure.accuracy
        told = run.note(name, outputs.weights)
        machine = told.machine if told else {}
        rows.append(
            {
                "model": name,
                "dataset": figures["dataset"],
                "recipe": outputs.recipe or config.recipe,
                "examples": figures["examples"],
                "wrong": figures["wrong"],
                "accuracy": figures["accuracy"],
                "ceiling": figures.get("ceiling"),
                "published": published,
                "seconds": machine.get("seconds"),
                "device": machine.get("device"),
                "commit": git.commit()[:7],
            }
        )
    return pd.DataFrame(rows)


def save(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV."""
    data.write_csv(table, path)


def show(table: pd.DataFrame) -> str:
    """The table in Markdown, accuracies in per cent, a dash where nothing is known."""
    cells = [["model", "data set", "recipe", "wrong", "accuracy", "published", "training"], ["--"] * 7]
    cells += [
        [
            f"{row['model']}",
            f"{row['dataset']}",
            f"{row['recipe']}",
            f"{row['wrong']:,} of {row['examples']:,}",
            f"{row['accuracy']:.3%}",
            "-" if pd.isna(row["published"]) else f"{row['published']:.2%}",
            "-" if pd.isna(row["seconds"]) else f"{row['seconds']:.1f} s",
        ]
        for row in table.to_dict("records")
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(7)]
    return "\n".join(_line(row, widths) for row in cells)


def _line(cells: list[str], widths: list[int]) -> str:
    padded = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        if cell == "--":
            padded.append("-" * (width - 1) + (":" if column >= NUMBERS else "-"))
        else:
            padded.append(cell.rjust(width) if column >= NUMBERS else cell.ljust(width))
    return f"| {' | '.join(padded)} |"
