"""Write what a stage says, line by line: the run of a training while it goes on, or that of an evaluated model."""

import json
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, Any, TextIO

from pydantic import TypeAdapter

from pipeline import config
from pipeline.files import is_running, md5
from pipeline.lineage import artifacts
from pipeline.lineage import provenance as lineage
from pipeline.lineage.provenance import Provenance
from pipeline.paths import ModelPaths
from pipeline.tracking import connection, record
from pipeline.tracking.schema import LIVE, WEIGHTS, run_name, runs_with_weights

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAUSE = 2  # seconds between two records of a training
SAMPLING = 5  # seconds between two records of what the machine does


def serve(model: str, what: str, lines: TextIO) -> None:
    """Do what the lines of `recorder` say. If they end before the training did, its stage was killed: nothing is done.

    The next training deletes the run that is left.
    """
    writer = Writer(model, what)
    for line in lines:
        method, at, *arguments = json.loads(line)
        getattr(writer, method)(at, *arguments)


class Writer:
    """Connects at once, and writes. `at` is the time at which something was said, in milliseconds."""

    def __init__(self, model: str, what: str):
        self._model, self._attempt = model, connection.BestEffort(model)
        self._client: MlflowClient = self._attempt(what, connection.client)
        self._waiting: list[tuple[int, dict[str, float]]] = []

    def begin(self, at: int, provenance: dict[str, Any]) -> None:
        """A training begins."""
        self._provenance = TypeAdapter(Provenance).validate_python(provenance)
        self._run_id = self._attempt("the training", lambda: _begin(self._client, self._provenance, at))
        self._monitor = self._attempt("the machine", lambda: _monitor(self._run_id))
        self._due = time.monotonic()

    def report(self, at: int, row: dict[str, float]) -> None:
        """A row of the history."""
        self._waiting.append((at, row))
        if time.monotonic() >= self._due:
            self._send()

    def stop(self, at: int) -> None:
        """The training ended early."""
        self._send(last=True)
        name = f"{self._model}@stopped"
        self._attempt("the end of the training", lambda: _end(self._client, self._run_id, "FAILED", name, at))

    def finish(self, at: int) -> None:
        """The training has written its weights."""
        self._send(last=True)
        self._attempt("the end of the training", lambda: _finish(self._client, self._run_id, self._provenance, at))

    def record(self, _: int) -> None:
        """The model of the workspace has been evaluated."""

        def write() -> None:
            setup = config.load().model(self._model)
            files = artifacts.workspace(setup.name, setup.task.name)
            files.check_consistent()
            lineage.warn_of_credentials(lineage.of_artifacts(files).changes)
            record.record(self._client, files, setup.params.gate, os.environ.get("PIPELINE_SWEEP", ""))  # of a trial

        self._attempt("the metrics", write)

    def _send(self, last: bool = False) -> None:
        if last and self._monitor:
            self._attempt("the machine", lambda: _finish_monitor(self._monitor))
        if self._waiting:
            what = f"the training from step {self._waiting[0][1]['step']:.0f} on"
            self._attempt(what, lambda: record.log_rows(self._client, self._run_id, self._waiting))
        self._waiting.clear()
        self._due = time.monotonic() + PAUSE


def _monitor(run_id: str) -> Any:
    """Record what the machine does from now on: system/cpu_utilization_percentage and others."""
    from mlflow.system_metrics import system_metrics_monitor as module

    logging.getLogger(module.__name__).setLevel(logging.CRITICAL)  # a store that fails is one warning, of ours
    monitor: Any = module.SystemMetricsMonitor
    monitor = monitor(run_id, SAMPLING, tracking_uri=connection.tracking_uri())
    monitor.start()
    return monitor


def _finish_monitor(monitor: Any) -> None:
    """Stop, and record what the machine did since the last record: that of a short training is the only one."""
    monitor.finish()
    monitor.collect_metrics()
    monitor.publish_metrics(monitor.aggregate_metrics())
    monitor.mlflow_logger.flush()


def _begin(client: "MlflowClient", provenance: Provenance, at: int) -> str:
    lineage.warn_of_credentials(provenance.changes)
    delete_killed_runs(client, provenance.task)  # their training is resumed in a new run
    process = f"{socket.gethostname()} {os.getpid()}"
    return str(record.create(client, provenance, f"{provenance.model}@training", {LIVE: process}, at).info.run_id)


def delete_killed_runs(client: "MlflowClient", task: str) -> None:
    """Delete the live runs of this machine whose process has ended: it was killed and could not end them."""
    experiment = record.experiment_id(client, task)
    for run in client.search_runs([experiment], f"tags.{LIVE} LIKE '{socket.gethostname()} %'"):
        if not is_running(int(run.data.tags[LIVE].split()[-1])):
            client.delete_run(run.info.run_id)


def _finish(client: "MlflowClient", run_id: str, provenance: Provenance, at: int) -> None:
    model, weights = provenance.model, md5(ModelPaths(provenance.model).weights)
    client.set_tag(run_id, WEIGHTS, weights)
    _end(client, run_id, "FINISHED", run_name(model, weights, provenance.experiment), at)
    # The same model may have been trained before, or by another process at the same time: the oldest run is kept.
    for run in runs_with_weights(client, record.experiment_id(client, provenance.task), model, weights)[1:]:
        client.delete_run(run.info.run_id)


def _end(client: "MlflowClient", run_id: str, status: str, name: str, at: int) -> None:
    client.set_terminated(run_id, status, at)
    client.update_run(run_id, name=name)
    client.delete_tag(run_id, LIVE)
