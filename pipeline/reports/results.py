"""The results of all models beside their references, as a table."""

from typing import Any

import pandas as pd
from tabulate import tabulate

from pipeline.config import Config, ModelSetup
from pipeline.lineage import dvc, git
from pipeline.lineage.artifacts import Entries, trained_weights, workspace
from pipeline.lineage.provenance import load_training, of_entries
from pipeline.reports.metrics import facts, metric

COLUMNS = (
    *("model", "dataset", "recipe", "examples", "wrong", "accuracy", "balanced_accuracy", "worst_class"),
    *("worst_class_accuracy", "ceiling", "certified_steps", "reference"),
    *("seconds", "device", "commit"),
)
LAST_STEPS = "training_accuracy"  # the mean over the last steps before the end of training, as programs print it


def collect(config: Config) -> pd.DataFrame:
    """A row for each model of params.yaml, with COLUMNS.

    The reference is missing if it is of another dataset; seconds and device, if the logs do not have the training.
    Raises PipelineError if metrics.json of a model is missing or damaged.
    """
    entries, commit = dvc.lock_entries(), git.commit()[:7]
    rows = [_row(setup, entries) | {"commit": commit} for setup in config.all_models()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def show(table: pd.DataFrame) -> str:
    """The table as Markdown: shares in per cent, times in seconds, a dash where a value is missing."""
    alignment = [*["left"] * 3, *["right"] * 6]
    rows = [_cells({str(name): value for name, value in row.items()}) for row in table.to_dict("records")]
    headers = ["model", "dataset", "recipe", "wrong", "accuracy", "worst class", "proven to", "reference", "training"]
    return tabulate(rows, headers, "pipe", disable_numparse=True, colalign=alignment)


def _cells(row: dict[str, Any]) -> list[str]:
    """The cells of one model."""
    accuracy = metric("accuracy")
    known = {fact.name: fact.text(value) for fact, value in facts(row).items()}
    return [
        row["model"],
        row["dataset"],
        row["recipe"],
        f"{known['wrong']} of {known['examples']}",
        known["accuracy"],
        f"`{row['worst_class']}` {accuracy.text(row['worst_class_accuracy'], decimals=1)}",
        known.get("certified_steps", "-"),
        accuracy.text(row["reference"], decimals=2) if not pd.isna(row["reference"]) else "-",
        "-" if pd.isna(row["seconds"]) else metric("training_seconds").text(row["seconds"], decimals=1),
    ]


def show_seeds(table: pd.DataFrame) -> str:
    """A table with a row for each seed as Markdown, with a row for each model: the mean and the standard deviation.

    The accuracy of the last training steps has a column, if the table has one.
    """
    headers = ["model", "dataset", "recipe", "seeds", "wrong", "mean accuracy"]
    headers += ["last steps"] * (LAST_STEPS in table) + ["reference", "training"]
    groups = table.groupby(["model", "dataset", "recipe"], sort=False)
    rows = [[*map(str, names), *_over_seeds(group)] for names, group in groups]
    return tabulate(
        rows, headers, "pipe", disable_numparse=True, colalign=[*["left"] * 3, *["right"] * (len(headers) - 3)]
    )


def _over_seeds(group: pd.DataFrame) -> list[str]:
    """The cells of the seeds of one model."""
    accuracy, reference, seconds = metric("accuracy"), group["reference"].iloc[0], group["seconds"].mean()
    return [
        str(len(group)),
        ", ".join(f"{wrong:,}" for wrong in group["wrong"]) + f" of {group['examples'].iloc[0]:,}",
        accuracy.mean(group["accuracy"]),
        *([accuracy.mean(group[LAST_STEPS])] if LAST_STEPS in group else []),
        "-" if pd.isna(reference) else accuracy.text(reference, decimals=2),
        "-" if pd.isna(seconds) else metric("training_seconds").text(seconds, decimals=0),
    ]


def markdown(path: str) -> str:
    """The table of a CSV file, for a document: `make docs` calls it there."""
    table = pd.read_csv(path)
    return f"\n{show_seeds(table) if 'seed' in table else show(table)}\n\n"


def _row(setup: ModelSetup, entries: Entries) -> dict[str, Any]:
    task = setup.task.name
    artifacts = workspace(setup.name, task, entries)
    metrics = artifacts.metrics()
    training = load_training(setup.name, task, trained_weights(artifacts.entries, setup.name))
    environment = training.environment if training else {}
    return {
        "model": setup.name,
        "dataset": metrics["dataset"],
        "recipe": of_entries(artifacts.entries, setup.name, task).recipe or setup.recipe_name,
        "examples": metrics["examples"],
        "wrong": metrics["wrong"],
        **{name: metrics[name] for name in ("accuracy", "balanced_accuracy", "worst_class", "worst_class_accuracy")},
        "ceiling": metrics.get("ceiling"),
        "certified_steps": metrics.get("certified_steps"),
        "reference": _reference(setup, metrics),
        "seconds": environment.get("seconds"),
        "device": environment.get("device"),
    }


def _reference(setup: ModelSetup, metrics: dict[str, Any]) -> float | None:
    """The accuracy of the reference, if it is of the same dataset."""
    reference = setup.params.reference
    same = reference.dataset in (None, metrics["dataset"]) and not metrics["stand_in"]
    return reference.accuracy if same else None
