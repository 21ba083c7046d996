"""What came of a sweep: its runs in MLflow, and the results of its trials as a table."""

import logging
from collections.abc import Iterator, Sequence

import pandas as pd

from pipeline.cluster.plan import Sweep
from pipeline.cluster.state import STOPPED, SweepFolder, TrialRecord
from pipeline.cluster.worker import FAILED, FINISHED
from pipeline.errors import PipelineError
from pipeline.lineage.provenance import strip_prefixes
from pipeline.tracking import trials

log = logging.getLogger(__name__)


def line(record: TrialRecord) -> str:
    """A trial that has ended, for the terminal."""
    values = ", ".join(f"{key}={value}" for key, value in strip_prefixes(record.overrides).items())
    result = f"accuracy {record.metrics['accuracy']:.3%}" if record.metrics else record.reason
    return f"{record.name} ({values}): {record.outcome}{f', {result}' if result else ''}"


def recorded(sweep: Sweep, records: Sequence[TrialRecord]) -> Iterator[str]:
    """Record the trials in MLflow, and yield a line for each; a store that fails is one warning."""
    shipment = sweep.shipment
    try:
        for record in records:
            setup = sweep.trials[record.name].setup
            if record.outcome == FINISHED:
                yield f"recorded {trials.record_finished(setup, record.entries, setup.params.gate, sweep.name)}"
            elif record.outcome == STOPPED:
                name = trials.record_stopped(setup, record.name, sweep.name, shipment.commit, record.rows)
                yield f"recorded {name}"
    except PipelineError as error:
        log.warning("not all trials are recorded: %s", error)


def table(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """A row for each trial: trial, outcome, its parameters, score, accuracy, wrong."""
    rows = [
        {
            "trial": record.name,
            "outcome": record.outcome,
            **strip_prefixes(record.overrides),
            "score": record.score,
            "accuracy": record.metrics.get("accuracy"),
            "wrong": record.metrics.get("wrong"),
        }
        for record in records
    ]
    return pd.DataFrame(rows).astype({"score": float, "accuracy": float, "wrong": float})


def text(sweep: Sweep, records: Sequence[TrialRecord]) -> str:
    """The table, the file of the figure, and how to make the best trial the model of the workspace."""
    from pipeline.reports import sweep as report

    lines = []
    if records:
        found = table(records)
        picture = report.save(sweep.name, found, SweepFolder(sweep.name).path)
        lines += [report.text(found), "", f"results against each parameter: {picture}"]
    if finished := [record for record in records if record.outcome == FINISHED]:
        best = max(finished, key=lambda record: record.score or 0.0)
        values = ", ".join(f"{key}: {value}" for key, value in best.overrides.items())
        lines.append(f"best: {best.name}; set {values} in params.yaml, and `dvc repro` takes its files from the cache")
    if missing := len(sweep.trials) - len(records):
        lines.append(f"{missing} trials have not ended; the same command goes on with them")
    lines += [f"{record.name} failed: {record.reason}" for record in records if record.outcome == FAILED]
    return "\n".join(lines)
