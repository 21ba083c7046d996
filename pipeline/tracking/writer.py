"""Write to the store: experiments, parameters, metrics, inputs, and a run while its model trains.

MLflow never stops a training: its failure becomes one warning.
"""

import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import redact
from pipeline.files import md5, md5_of
from pipeline.lineage.provenance import Provenance, input_kind, strip_prefixes
from pipeline.paths import ModelPaths, TaskPaths
from pipeline.recipe import OnReport
from pipeline.tracking import connection, schema, ui
from pipeline.tracking.schema import LIVE, WEIGHTS, curve, run_name, runs_with_weights

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXAMPLES = TaskPaths("").examples.name


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


def log_params(client: "MlflowClient", run_id: str, provenance: Provenance) -> None:
    """Write the parameters that the run does not have yet; their names are those that all models share."""
    from mlflow.entities import Param

    params = {"recipe": provenance.recipe} | strip_prefixes(provenance.params)
    present = client.get_run(run_id).data.params
    missing = [Param(key, redact(str(value))) for key, value in params.items() if key not in present]
    client.log_batch(run_id, params=missing)


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


def log_history(client: "MlflowClient", run_id: str, rows: Iterable[Mapping[str, float]]) -> None:
    """Write the rows of history.csv that the run does not have yet."""
    present = {point.step for point in client.get_metric_history(run_id, curve("loss"))}
    for row in rows:
        if int(row["step"]) not in present:
            log_report(client, run_id, row)


def log_inputs(client: "MlflowClient", run_id: str, dataset: str, inputs: Mapping[str, str]) -> None:
    """Write the examples as MLflow's dataset, with their MD5, and an MD5 of the code's MD5s as a tag."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    for path in (path for path in inputs if Path(path).name == EXAMPLES):
        entity = Dataset(dataset, inputs[path], "dvc", json.dumps({"path": path, "md5": inputs[path]}))
        client.log_inputs(run_id, datasets=[DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])
    code = sorted((path, was) for path, was in inputs.items() if input_kind(path) == "code")
    client.set_tag(run_id, "code", md5_of(json.dumps(code).encode())[:7])


@contextmanager
def live_run(made_from: Provenance) -> Iterator[OnReport]:
    """A run of a training that goes on inside the `with`; yields what the training calls at each log."""
    attempt = connection.BestEffort(made_from.model)
    client = attempt("the training", connection.client)
    run_id = attempt("the training", lambda: _begin(client, made_from))

    def on_report(row: dict[str, float]) -> None:
        attempt(f"the training from step {row['step']:.0f} on", lambda: log_report(client, run_id, row))

    try:
        yield on_report
    except BaseException:
        attempt("the end of the training", lambda: _stop(client, run_id, made_from.model))
        raise
    attempt("the end of the training", lambda: _finish(client, run_id, made_from))


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


def _begin(client: "MlflowClient", made_from: Provenance) -> str:
    experiment = experiment_id(client, made_from.task)
    delete_killed_runs(client, experiment)  # their training is resumed in a new run
    tags = {LIVE: f"{socket.gethostname()} {os.getpid()}"} | schema.tags(made_from)
    run = client.create_run(experiment, tags=tags, run_name=f"{made_from.model}@training")
    log_params(client, run.info.run_id, made_from)
    return str(run.info.run_id)


def _stop(client: "MlflowClient", run_id: str, model: str) -> None:
    client.set_terminated(run_id, "FAILED")
    client.update_run(run_id, name=f"{model}@stopped")
    client.delete_tag(run_id, LIVE)


def _finish(client: "MlflowClient", run_id: str, made_from: Provenance) -> None:
    client.set_terminated(run_id, "FINISHED")
    model, weights = made_from.model, md5(ModelPaths(made_from.model).weights)
    client.set_tag(run_id, WEIGHTS, weights)
    client.update_run(run_id, name=run_name(model, weights, made_from.experiment))
    client.delete_tag(run_id, LIVE)
    # The same model may have been trained before, or by another process at the same time: the oldest run is kept.
    for run in runs_with_weights(client, experiment_id(client, made_from.task), model, weights)[1:]:
        client.delete_run(run.info.run_id)
