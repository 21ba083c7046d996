"""A run that is written while its model trains. MLflow never stops a training: its failure becomes one warning."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import ModelSetup
from pipeline.lineage.artifacts import workspace
from pipeline.lineage.provenance import SourceCode, strip_prefixes
from pipeline.paths import stage
from pipeline.tracking import connection
from pipeline.tracking.experiments import experiment_id
from pipeline.tracking.names import LIVE, WEIGHTS, model_tags, run_name, source_tags
from pipeline.tracking.run_writer import log_params, log_report
from pipeline.tracking.search import runs_with_weights

if TYPE_CHECKING:
    from mlflow import MlflowClient

ReportCallback = Callable[[int, dict[str, float]], None]  # a step, and its row of history.csv


@contextmanager
def live_run(setup: ModelSetup, source: SourceCode) -> Iterator[ReportCallback]:
    """A run of a training that goes on inside the `with`; yields what the training calls at each log."""
    attempt = connection.BestEffort(setup.name)
    client = attempt("the training", connection.client)
    run_id = attempt("the training", lambda: _begin(client, setup, source))

    def on_report(step: int, row: dict[str, float]) -> None:
        attempt(f"the training from step {step} on", lambda: log_report(client, run_id, row))

    try:
        yield on_report
    except BaseException:
        attempt("the end of the training", lambda: _stop(client, run_id, setup.name))
        raise
    attempt("the end of the training", lambda: _finish(client, run_id, setup))


def delete_killed_runs(client: "MlflowClient", experiment: str) -> None:
    """Delete the live runs of this machine whose process has ended: it was killed and could not end them."""
    if not Path("/proc").is_dir():
        return
    for run in client.search_runs([experiment], f"tags.{LIVE} LIKE '{socket.gethostname()} %'"):
        process = run.data.tags[LIVE].split()[-1]
        if not Path(f"/proc/{process}").exists():
            client.delete_run(run.info.run_id)


def _begin(client: "MlflowClient", setup: ModelSetup, source: SourceCode) -> str:
    experiment = experiment_id(client, setup.task.name)
    delete_killed_runs(client, experiment)  # their training is resumed in a new run
    tags = {LIVE: f"{socket.gethostname()} {os.getpid()}"}
    tags |= model_tags(setup.name, setup.task.name, setup.recipe_name, stage("train", setup.name))
    tags |= source_tags(source.commit, bool(source.patch), _dvc_experiment())
    run = client.create_run(experiment, tags=tags, run_name=f"{setup.name}@training")
    log_params(client, run.info.run_id, {"recipe": setup.recipe_name} | strip_prefixes(setup.used_params()))
    return str(run.info.run_id)


def _stop(client: "MlflowClient", run_id: str, model: str) -> None:
    client.set_terminated(run_id, "FAILED")
    client.update_run(run_id, name=f"{model}@stopped")
    client.delete_tag(run_id, LIVE)


def _finish(client: "MlflowClient", run_id: str, setup: ModelSetup) -> None:
    client.set_terminated(run_id, "FINISHED")
    weights = workspace(setup.name, setup.task.name).weights_md5
    client.set_tag(run_id, WEIGHTS, weights)
    client.update_run(run_id, name=run_name(setup.name, weights, _dvc_experiment()))
    client.delete_tag(run_id, LIVE)
    # The same model may have been trained before, or by another process at the same time: the oldest run is kept.
    same = runs_with_weights(client, experiment_id(client, setup.task.name), setup.name, weights)
    for run in same[1:]:
        client.delete_run(run.info.run_id)


def _dvc_experiment() -> str:
    return os.environ.get("DVC_EXP_NAME", "")
