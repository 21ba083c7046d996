"""The report of a branch: parameters and inputs, the stages that ran, metrics before and after, the gate."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tabulate import tabulate

from pipeline.config import Config, ModelSetup
from pipeline.errors import PipelineError, quoted
from pipeline.lineage import dvc, git
from pipeline.lineage.snapshot import RunSummary, Snapshot
from pipeline.paths import LOCK, ModelPaths
from pipeline.reports import branch_changes, compare, curves
from pipeline.reports.branch_changes import Rows
from pipeline.tracking.gate import Champion, Verdict, judge

ROWS = 10  # of a learning curve that is a table


@dataclass(frozen=True)
class Report:
    """What a branch changes."""

    base: str
    changes: Rows  # parameter or input, its value before, its value now
    ran: list[str]  # stages that ran because of the changes
    skipped: list[str]
    pairs: list[list[RunSummary]]  # before and now, for each model with other results
    differing: list[str]  # models whose stages did not run, and whose metrics differ
    new: list[RunSummary]  # models that the base does not have
    verdicts: list[Verdict]


def make(base: str, config: Config) -> Report:
    """Compare the workspace with the commit at which it left the revision `base`.

    Raises PipelineError if the revision does not exist or has no dvc.lock, or if the workspace is not up to date.
    """
    before, now = Snapshot(base, _branch_point(base)), Snapshot("now", "")
    if not before.entries:
        raise PipelineError(f"{base} holds no {LOCK}: there is nothing to compare with; name another base.")
    _require_up_to_date()
    known = config.tasks | config.models
    # DVC keeps the entries of tasks and models that params.yaml no longer has
    entries = {name: entry for name, entry in now.entries.items() if _item(name) in known}
    ran = branch_changes.stages_that_ran(before.entries, entries)
    items = {_item(name) for name in ran}
    models = [setup for setup in config.all_models() if setup.name in items]
    new = [setup for setup in models if not before.entry("evaluate", setup.name)]
    differing = [
        setup
        for setup in config.all_models()
        if setup not in models and before.metrics(setup.name) not in ({}, now.metrics(setup.name))
    ]
    pairs = [
        [side.summary(setup.name, setup.task.name) for side in (before, now)]
        for setup in [*models, *differing]
        if setup not in new and before.read(ModelPaths(setup.name).metrics)
    ]
    return Report(
        base,
        branch_changes.parameters(before.params(), now.params()) + branch_changes.inputs(before.entries, entries),
        sorted(ran),
        sorted(entries.keys() - ran),
        pairs,
        [setup.name for setup in differing],
        [now.summary(setup.name, setup.task.name) for setup in new],
        [_verdict(setup, before, now) for setup in models],
    )


def text(report: Report, picture: Path) -> str:
    """The report as Markdown, with a link to the `picture` of the learning curves if models are compared."""
    title = f"# What differs from {report.base}"
    if not report.changes and not report.ran and not report.differing:
        return f"{title}\n\nNo stage ran: nothing that a stage depends on has changed."
    stages = [
        [f"ran ({len(report.ran)})", _list(report.ran)],
        [f"skipped ({len(report.skipped)})", _list(report.skipped)],
    ]
    parts = [
        title,
        "## Parameters and inputs",
        _table(report.changes, ["", "before", "now"]),
        "## Stages",
        _table(stages, ["", "stages"]),
    ]
    if report.pairs:
        parts += ["## Metrics", compare.text(report.pairs, picture, markdown=True)]
        parts += [_curves(pair) for pair in report.pairs]
    if report.differing:
        parts.append(
            f"Of the same inputs, this machine made other results than those of {report.base}: "
            f"{_list(report.differing)}. Another processor or library rounds differently."
        )
    for run in report.new:
        parts += [f"### {run.model}, which {report.base} does not have", compare.table([run], markdown=True)]
    if report.verdicts:
        rows = [
            [verdict.model, "passed" if verdict.passed else "**did not pass**", "; ".join(verdict.reasons)]
            for verdict in report.verdicts
        ]
        parts += ["## Gate", _table(rows, ["model", "verdict", "reasons"])]
    return "\n\n".join(parts)


def _curves(pair: list[RunSummary]) -> str:
    """The error of both runs by step, as a table: a job summary shows no picture that is a file."""
    columns = {}
    for run in pair:
        column = curves.shown_column(run)
        title = f"{run.name}, {column.replace('accuracy', 'error').replace('_', ' ')}, %"
        columns[title] = 100 * (1 - run.history[column])
    table = pd.DataFrame(columns)
    rows = np.unique(np.linspace(0, len(table) - 1, min(len(table), ROWS)).astype(int))  # the first and the last, too
    table = table.iloc[rows].round(3).reset_index().astype(object)
    shown = _table(table.where(table.notna(), "-").to_numpy().tolist(), ["step", *columns])
    return f"<details><summary>Learning curves of {pair[0].model}</summary>\n\n{shown}\n\n</details>"


def _branch_point(base: str) -> str:
    commit = git.commit(base)
    if not commit:
        raise PipelineError(
            f"there is no revision {quoted(base)} to compare with; fetch it (`git fetch origin {base}`), or name "
            "another with --base."
        )
    return git.merge_base(commit) or commit


def _require_up_to_date() -> None:
    if changed := [address for address in dvc.changed_stages() if "@" in address]:  # of a task or a model
        raise PipelineError(
            f"the workspace is not up to date ({', '.join(changed[:5])}{', ...' if len(changed) > 5 else ''}): run "
            "`dvc repro` first."
        )


def _item(address: str) -> str:
    """The task or model of a stage: bits-lstm24 for train@bits-lstm24."""
    return address.rpartition("@")[2]


def _verdict(setup: ModelSetup, before: Snapshot, now: Snapshot) -> Verdict:
    """What the gate decides if the model before is the champion. Accuracies on other examples are not compared."""
    model, task = setup.name, setup.task.name
    metrics, old = now.metrics(model), before.metrics(model)
    champion = None
    if old:
        same_examples = before.examples(model, task) == now.examples(model, task)
        champion = Champion(before.name, old["accuracy"] if same_examples else None)
    return judge(model, metrics, setup.params.gate, champion)


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _table(rows: Rows, headers: list[str]) -> str:
    return tabulate(rows, headers, "github", disable_numparse=True, missingval="null")
