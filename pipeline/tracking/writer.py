"""Write to the store: experiments, parameters, metrics, inputs, and a run while its model trains.

MLflow never stops a training: its failure becomes one warning.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import ModelSetup
from pipeline.errors import redact
from pipeline.files import md5_of
from pipeline.lineage.artifacts import workspace
from pipeline.lineage.provenance import SourceCode, input_kind, strip_prefixes
from pipeline.paths import TaskPaths, stage
from pipeline.tracking import connection, ui
from pipeline.tracking.schema import LIVE, WEIGHTS, curve, model_tags, run_name, runs_with_weights, source_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXAMPLES = TaskPaths("").examples.name
ReportCallback = Callable[[int, dict[str, float]], None]  # a step, and its row of history.csv


def experiment_id(client: "MlflowClient", task: str) -> str:
    """The id of a task's experiment, which is created, restored and given its view in the user interface if need be."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(task)
    if experiment is None:
        try:
            experiment = client.get_experiment(client.create_experiment(task, artifact_location=_artifacts(task)))
        except MlflowException:
            experiment = client.get_experiment_by_name(task)
            if experiment is None:
                raise
            # Another process created it in between.
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if ui.TAG not in experiment.tags:
        for key, value in ui.experiment_tags(task, experiment.experiment_id).items():
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any]) -> None:
    """Write parameters; their names are those that all models share."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, redact(str(value))) for key, value in params.items()])


def log_metrics(
    client: "MlflowClient", run_id: str, step: int, metrics: Mapping[str, float], model_id: str | None = None
) -> None:
    """Write the metrics of one step, of the run and, with `model_id`, of its model."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    rows = [Metric(key, float(value), now, step, model_id=model_id) for key, value in metrics.items()]
    client.log_batch(run_id, metrics=rows)


def log_report(client: "MlflowClient", run_id: str, row: Mapping[str, float]) -> None:
    """Write a row of history.csv as points of the curves."""
    points = {curve(column): value for column, value in row.items() if column != "step"}
    log_metrics(client, run_id, int(row["step"]), points)


def log_inputs(client: "MlflowClient", run_id: str, dataset: str, inputs: Mapping[str, str]) -> None:
    """Write the examples as MLflow's dataset, with their MD5, and an MD5 of the code's MD5s as a tag."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = {path: md5 for path, md5 in inputs.items() if Path(path).name == EXAMPLES}
    for path, md5 in data.items():
        entity = Dataset(dataset, md5, "dvc", json.dumps({"path": path, "md5": md5}))
        client.log_inputs(run_id, datasets=[DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])
    code = sorted((path, md5) for path, md5 in inputs.items() if input_kind(path) == "code")
    client.set_tag(run_id, "code", md5_of(json.dumps(code).encode())[:7])


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


def _artifacts(task: str) -> str | None:
    """Where the artifacts of an experiment go: beside a SQLite file; None if a server chooses.

    MLflow stores it for good, so it has to be absolute.
    """
    file = connection.database_file()
    return (file.parent / connection.ARTIFACTS / task).as_uri() if file else None


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
