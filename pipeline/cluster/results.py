"""The trials of a sweep that have ended: kept in sweeps/NAME, recorded in MLflow, shown as a table."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from pipeline.cluster.overrides import TrialParams
from pipeline.cluster.plan import Sweep
from pipeline.cluster.worker import FAILED, FINISHED, STOPPED
from pipeline.errors import PipelineError, quoted
from pipeline.files import fits, load_json
from pipeline.formats import write_json
from pipeline.lineage import dvc
from pipeline.lineage.artifacts import trained_weights
from pipeline.lineage.provenance import strip_prefixes
from pipeline.paths import SWEEPS
from pipeline.reports import sweep as report
from pipeline.tracking.record import record_finished, record_stopped

METRICS = {"accuracy": float, "wrong": int}  # that the evaluation of a trial has, and others

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended."""

    name: str
    overrides: dict[str, Any]
    outcome: str  # finished, stopped or failed
    reason: str = ""  # of a failure
    rows: list[dict[str, float]] = field(default_factory=list)  # of the history
    metrics: dict[str, Any] = field(default_factory=dict)  # of the evaluation
    entries: dict[str, Any] = field(default_factory=dict)  # of dvc.lock, by stage address

    @property
    def score(self) -> float | None:
        """By what trials are ordered: the last accuracy on the validation split, or that of the evaluation."""
        if not self.metrics:
            return None
        last = self.rows[-1] if self.rows else {}
        return float(last.get("validation_accuracy", self.metrics["accuracy"]))

    def __str__(self) -> str:
        values = ", ".join(f"{key}={value}" for key, value in strip_prefixes(self.overrides).items())
        result = f"accuracy {self.metrics['accuracy']:.3%}" if self.metrics else self.reason
        return f"{self.name} ({values}): {self.outcome}{f', {result}' if result else ''}"


class Results:
    """The folder of a sweep: its settings, and a file for each trial that has ended."""

    def __init__(self, sweep: Sweep):
        self.sweep, self.folder = sweep, SWEEPS / sweep.name

    def begin(self) -> dict[str, TrialParams]:
        """The trials that are left to run; one that failed runs again.

        Raises PipelineError if the folder holds a sweep with other settings.
        """
        path, settings = self.folder / "sweep.json", self.sweep.settings
        if path.exists() and load_json(path, f"rm -rf {self.folder}") != settings:
            raise PipelineError(
                f"{quoted(str(self.folder))} holds a sweep of other trials, code or data; choose another --name, or "
                "delete the folder."
            )
        write_json(settings, path)
        for record in self.ended():
            if record.outcome == FAILED:
                (self.folder / f"{record.name}.json").unlink()
        return {name: trial for name, trial in self.sweep.trials.items() if not self.has(name)}

    def has(self, name: str) -> bool:
        """Whether a trial has ended."""
        return (self.folder / f"{name}.json").exists()

    def save(self, record: TrialRecord) -> None:
        """Keep a trial that has ended."""
        write_json(asdict(record), self.folder / f"{record.name}.json")

    def ended(self) -> list[TrialRecord]:
        """The trials that have ended. Raises PipelineError if a file is damaged."""
        return [self._load(name) for name in self.sweep.trials if self.has(name)]

    def _load(self, name: str) -> TrialRecord:
        path = self.folder / f"{name}.json"
        content = load_json(path, f"rm {path}", dict[str, Any])
        try:
            record = TypeAdapter(TrialRecord).validate_python(content)
            for entry in record.entries.values():
                dvc.check(entry)
            if record.outcome == FINISHED and not fits(record.metrics, METRICS):
                raise ValueError
            return record
        except dvc.INVALID:
            raise PipelineError(f"{path} is damaged; run `rm {path}`, and the sweep runs this trial again.") from None

    def recorded(self) -> Iterator[str]:
        """Record the trials in MLflow, and yield the name of each run; a store that fails is one warning."""
        sweep = self.sweep
        try:
            for record in self.ended():
                setup = sweep.trials[record.name].setup
                if record.outcome == FINISHED:
                    yield record_finished(setup, record.entries, setup.params.gate, sweep.name)
                elif record.outcome == STOPPED:
                    yield record_stopped(setup, record.name, sweep.name, sweep.shipment.commit, record.rows)
        except PipelineError as error:
            log.warning("not all trials are recorded: %s", error)

    def text(self) -> str:
        """The table, the file of the figure, and how to make the best trial the model of the workspace."""
        records, lines = self.ended(), []
        if records:
            found = table(records)
            picture = report.save(self.sweep.name, found, self.folder)
            lines += [report.text(found), "", f"results against each parameter: {picture}"]
        if finished := [record for record in records if record.outcome == FINISHED]:
            best = max(finished, key=lambda record: record.score or 0.0)
            values = ", ".join(f"{key}: {value}" for key, value in best.overrides.items())
            here = dvc.Cache().path(trained_weights(best.entries, self.sweep.setup.name)).is_file()
            where = "`dvc repro` takes its files from the cache" if here else "`dvc repro --pull` fetches its files"
            lines.append(f"best: {best.name}; set {values} in params.yaml, and {where}")
        if missing := len(self.sweep.trials) - len(records):
            lines.append(f"{missing} trials have not ended; the same command goes on with them")
        lines += [f"{record.name} failed: {record.reason}" for record in records if record.outcome == FAILED]
        return "\n".join(lines)


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
