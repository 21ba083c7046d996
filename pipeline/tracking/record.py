"""Write runs: while a model trains, and from the files of a trained model, at any time.

Also the trials of a sweep: a run for each, with the sweep's name as a tag.
"""

import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Gate, ModelSetup
from pipeline.errors import PipelineError, redact
from pipeline.files import md5, md5_of, write_bytes
from pipeline.formats import write_json
from pipeline.lineage import provenance as lineage
from pipeline.lineage.artifacts import Artifacts, checked_out, numeric, trained_weights
from pipeline.lineage.provenance import Provenance, input_kind
from pipeline.paths import ModelPaths, TaskPaths
from pipeline.recipe import OnReport
from pipeline.tracking import connection, registry, schema, ui
from pipeline.tracking.gate import Verdict
from pipeline.tracking.schema import DATASET, LIVE, PROVENANCE, SWEEP, WEIGHTS, run_name, runs_with_weights

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, Run

EXAMPLES = TaskPaths("").examples.name
PAUSE = 2  # seconds between two records of a training
SAMPLING = 5  # seconds between two records of what the machine does
Sign = Callable[[ModelPaths], bytes]  # makes the content of a signature of a model's export
BATCH = 1000  # metrics that MLflow takes at once


@dataclass(frozen=True)
class Recorded:
    """What MLflow has of a model."""

    run: str  # its name
    run_id: str
    version: str  # in the registry
    verdict: Verdict | None  # of the gate; None if the version is the champion


@contextmanager
def live_run(provenance: Provenance) -> Iterator[OnReport]:
    """A run of a training that goes on inside the `with`; yields what the training calls at each log.

    MLflow never stops the training: its failure becomes one warning.
    """
    attempt = connection.BestEffort(provenance.model)
    client = attempt("the training", connection.client)
    run_id = attempt("the training", lambda: _begin(client, provenance))
    waiting: list[dict[str, float]] = []
    due = time.monotonic()

    def send() -> None:
        nonlocal due
        if waiting:
            what = f"the training from step {waiting[0]['step']:.0f} on"
            attempt(what, lambda: _log_rows(client, run_id, waiting))
        waiting.clear()
        due = time.monotonic() + PAUSE

    def on_report(row: dict[str, float]) -> None:
        waiting.append(row)
        if time.monotonic() >= due:
            send()

    try:
        with _monitored(attempt, run_id):
            yield on_report
    except BaseException:
        send()
        attempt("the end of the training", lambda: _end(client, run_id, "FAILED", f"{provenance.model}@stopped"))
        raise
    send()
    attempt("the end of the training", lambda: _finish(client, run_id, provenance))


@contextmanager
def _monitored(attempt: connection.BestEffort, run_id: str) -> Iterator[None]:
    """Record what the machine does while the `with` lasts: system/cpu_utilization_percentage and others."""

    def start() -> Any:
        from mlflow.system_metrics import system_metrics_monitor as module

        logging.getLogger(module.__name__).setLevel(logging.CRITICAL)  # a store that fails is one warning, of ours
        monitor: Any = module.SystemMetricsMonitor
        monitor = monitor(run_id, SAMPLING, tracking_uri=connection.tracking_uri())
        monitor.start()
        return monitor

    monitor = attempt("the machine", start)
    try:
        yield
    finally:
        if monitor:
            attempt("the machine", monitor.finish)


def delete_killed_runs(client: "MlflowClient", task: str) -> None:
    """Delete the live runs of this machine whose process has ended: it was killed and could not end them."""
    if not Path("/proc").is_dir():
        return
    for run in client.search_runs([experiment_id(client, task)], f"tags.{LIVE} LIKE '{socket.gethostname()} %'"):
        process = run.data.tags[LIVE].split()[-1]
        if not Path(f"/proc/{process}").exists():
            client.delete_run(run.info.run_id)


def record(client: "MlflowClient", artifacts: Artifacts, gate: Gate, sweep: str = "") -> Recorded:
    """Bring the run of a model, or of a trial of a sweep, and its version in the registry up to date.

    The files belong together: `Artifacts.check_consistent`. Writes only what run and version do not have, or have
    damaged: it completes what a call that failed left undone. Raises PipelineError if a file is damaged, and whatever
    MLflow raises.
    """
    metrics = artifacts.metrics()  # a damaged file is found before anything is written
    with connection.exclusive():  # two processes would each create a run
        run, provenance = _find_or_create(client, artifacts)
        run_id = run.info.run_id
        model_id = registry.log_model(client, run, artifacts)
        _log_history(client, run_id, artifacts.history())
        _log_results(client, run, model_id, metrics, provenance)
        _log_files(client, run, artifacts, provenance)
        version, verdict = registry.register(client, run_id, model_id, artifacts, provenance, gate)
        if verdict:
            write_json(asdict(verdict), artifacts.paths.verdict)
            _log_artifacts(client, run, [artifacts.paths.verdict])
        for tag, value in {SWEEP: sweep, DATASET: metrics[DATASET]}.items():
            if value and run.data.tags.get(tag) != value:
                client.set_tag(run_id, tag, value)
    return Recorded(str(run.info.run_name), run_id, version, verdict)


def promote(
    artifacts: Artifacts, gate: Gate, card: str, page: Path | None = None, sign: Sign | None = None
) -> tuple[bool, str]:
    """Record a model, and make it the champion of its dataset if the gate lets it pass.

    A champion's description is its card. The run gets the files of `page`, a folder, as its artifacts `page`, and the
    signature of a champion's export, which is also written. Returns whether the model is the champion now, and a
    sentence. Raises PipelineError if the store does not answer.
    """
    model, dataset = artifacts.model, artifacts.metrics()["dataset"]
    signature = sign(artifacts.paths) if sign else b""  # what cannot be signed is found before anything changes
    with connection.connected(create=True) as client:
        recorded = record(client, artifacts, gate)
        if page:
            client.log_artifacts(recorded.run_id, str(page), "page")
        passed, line = registry.promote(client, model, dataset, recorded.version, recorded.verdict, card)
        if passed and signature:
            write_bytes(signature, artifacts.paths.signature)
            client.log_artifact(recorded.run_id, str(artifacts.paths.signature))
    return passed, line


def record_finished(setup: ModelSetup, entries: dict[str, Any], gate: Gate, sweep: str) -> str:
    """Record a trial from DVC's cache, and return the name of its run. Raises PipelineError if MLflow fails.

    One that its worker has recorded stays as it is, and none of its files is fetched.
    """
    with connection.connected(create=True) as client:
        experiment, weights = experiment_id(client, setup.task.name), trained_weights(entries, setup.name)
        for run in runs_with_weights(client, experiment, setup.name, weights):
            if run.data.tags.get(SWEEP) == sweep and DATASET in run.data.tags:  # which is written last
                return str(run.info.run_name)
        with checked_out(setup.name, entries) as artifacts:
            return record(client, artifacts, gate, sweep).run


def record_stopped(setup: ModelSetup, trial: str, sweep: str, commit: str, rows: Sequence[dict[str, float]]) -> str:
    """Record a trial that was stopped early: parameters and curves, no model. Raises PipelineError if MLflow fails."""
    name = f"{setup.name}@{trial} (stopped)"
    with connection.connected(create=True) as client:
        experiment = experiment_id(client, setup.task.name)
        for run in client.search_runs([experiment], f"tags.experiment = '{trial}'"):
            if run.info.run_name == name:
                return name
            if LIVE in run.data.tags:  # written by the training until it was ended
                client.delete_run(run.info.run_id)
        # The parameters of a trial are uncommitted changes of params.yaml.
        provenance = replace(lineage.of_setup(setup), commit=commit, uncommitted=True, experiment=trial)
        run_id = _create(client, provenance, name, {SWEEP: sweep}).info.run_id
        _log_history(client, run_id, rows)
        client.set_terminated(run_id, "KILLED")
    return name


def experiment_id(client: "MlflowClient", task: str) -> str:
    """The id of a task's experiment, which is created, restored and given its view in the user interface if need be."""
    while (experiment := client.get_experiment_by_name(task)) is None:
        with connection.may_exist():
            client.create_experiment(task, artifact_location=_artifacts(task))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if ui.TAG not in experiment.tags:
        for key, value in ui.experiment_tags(task, experiment.experiment_id).items():
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def _params(provenance: Provenance, present: Collection[str] = ()) -> "list[Param]":
    """The parameters for MLflow, without those that are present."""
    from mlflow.entities import Param

    params = provenance.shared_params.items()
    return [Param(key, redact(str(value))) for key, value in params if key not in present]


def _metrics(values: Mapping[str, float], step: int = 0, model_id: str | None = None) -> "list[Metric]":
    """The metrics of a step for MLflow; with `model_id`, also those of the run's model."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(key, float(value), now, step, model_id=model_id) for key, value in values.items()]


def _log_rows(client: "MlflowClient", run_id: str, rows: Iterable[Mapping[str, float]]) -> None:
    """Write rows of history.csv as points of the curves."""
    points: list[Metric] = []
    for row in rows:
        values = {schema.curve(column): value for column, value in row.items() if column != "step"}
        points += _metrics(values, int(row["step"]))
    for first in range(0, len(points), BATCH):
        client.log_batch(run_id, points[first : first + BATCH])


def _log_history(client: "MlflowClient", run_id: str, rows: Iterable[Mapping[str, float]]) -> None:
    """Write the rows of history.csv that the run does not have yet."""
    present = {point.step for point in client.get_metric_history(run_id, schema.curve("loss"))}
    _log_rows(client, run_id, [row for row in rows if int(row["step"]) not in present])


def _artifacts(task: str) -> str | None:
    """Where the artifacts of an experiment go: beside a SQLite file; None if a server chooses.

    MLflow stores it for good, so it has to be absolute.
    """
    file = connection.database_file()
    return (file.parent / connection.ARTIFACTS / task).as_uri() if file else None


def _begin(client: "MlflowClient", provenance: Provenance) -> str:
    delete_killed_runs(client, provenance.task)  # their training is resumed in a new run
    process = f"{socket.gethostname()} {os.getpid()}"
    return str(_create(client, provenance, f"{provenance.model}@training", {LIVE: process}).info.run_id)


def _finish(client: "MlflowClient", run_id: str, provenance: Provenance) -> None:
    model, weights = provenance.model, md5(ModelPaths(provenance.model).weights)
    client.set_tag(run_id, WEIGHTS, weights)
    _end(client, run_id, "FINISHED", run_name(model, weights, provenance.experiment))
    # The same model may have been trained before, or by another process at the same time: the oldest run is kept.
    for run in runs_with_weights(client, experiment_id(client, provenance.task), model, weights)[1:]:
        client.delete_run(run.info.run_id)


def _end(client: "MlflowClient", run_id: str, status: str, name: str) -> None:
    client.set_terminated(run_id, status)
    client.update_run(run_id, name=name)
    client.delete_tag(run_id, LIVE)


def _find_or_create(client: "MlflowClient", artifacts: Artifacts) -> "tuple[Run, Provenance]":
    """The run of a trained model, and its provenance: what the logs do not have of the training, the run may have."""
    model, task, weights = artifacts.model, artifacts.task.name, artifacts.weights_md5
    if runs := runs_with_weights(client, experiment_id(client, task), model, weights):
        try:
            return runs[0], lineage.of_artifacts(artifacts, recorded=schema.load_provenance(client, runs[0]))
        except PipelineError:  # it was not recorded completely, or is damaged
            return runs[0], lineage.of_artifacts(artifacts)
    provenance = lineage.of_artifacts(artifacts)
    name = run_name(model, weights, provenance.experiment)
    return _create(client, provenance, name, {WEIGHTS: weights}), provenance


def _create(client: "MlflowClient", provenance: Provenance, name: str, tags: dict[str, str]) -> "Run":
    """A new run, with these and the tags and parameters that say what was trained."""
    experiment = experiment_id(client, provenance.task)
    run = client.create_run(experiment, tags=tags | schema.tags(provenance), run_name=name)
    client.log_batch(run.info.run_id, params=_params(provenance))
    return run


def _log_results(
    client: "MlflowClient", run: "Run", model_id: str, metrics: dict[str, Any], provenance: Provenance
) -> None:
    """Write parameters, final metrics, tags, the run's description, and its examples as MLflow's dataset."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, RunTag

    run_id, inputs = run.info.run_id, provenance.inputs
    present = {metric.key: metric.value for metric in client.get_logged_model(model_id).metrics or []}
    final = {key: value for key, value in (numeric(metrics) | provenance.costs).items() if present.get(key) != value}
    code = sorted((path, was) for path, was in inputs.items() if input_kind(path) == "code")
    tags = schema.tags(provenance) | {
        ui.DESCRIPTION: ui.run_description(run.info, metrics),
        ui.COLOUR: run.data.tags.get(ui.COLOUR) or ui.next_colour(client, run.info.experiment_id),
        "code": md5_of(json.dumps(code).encode())[:7],
    }
    new = (
        _metrics(final, model_id=model_id),
        _params(provenance, run.data.params),
        [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value],
    )
    if any(new):
        client.log_batch(run_id, *new)
    logged = {each.dataset.digest for each in run.inputs.dataset_inputs} if run.inputs else set()
    for path in (path for path, was in inputs.items() if Path(path).name == EXAMPLES and was not in logged):
        entity = Dataset(metrics[DATASET], inputs[path], "dvc", json.dumps({"path": path, "md5": inputs[path]}))
        client.log_inputs(run_id, datasets=[DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])
    if run.info.status != "FINISHED":  # it was not recorded while it trained: it takes as long as the training did
        seconds = provenance.costs.get("training_seconds", 0.0)
        client.set_terminated(run_id, "FINISHED", run.info.start_time + round(1000 * seconds))


def _log_files(client: "MlflowClient", run: "Run", artifacts: Artifacts, provenance: Provenance) -> None:
    """Write the provenance and the model's tables and pictures."""
    kinds = (".json", ".csv", ".png", ".parquet")
    with tempfile.TemporaryDirectory() as folder:
        lineage.save(provenance, Path(folder) / PROVENANCE)
        files = [path for path in sorted(artifacts.paths.folder.glob("*")) if path.suffix in kinds]
        _log_artifacts(client, run, [Path(folder) / PROVENANCE, *files])


def _log_artifacts(client: "MlflowClient", run: "Run", files: Iterable[Path]) -> None:
    """Write files as artifacts, but for those that the run has undamaged."""
    with tempfile.TemporaryDirectory() as present:
        for path in files:
            copy = schema.download(client, run, path, Path(present))
            if copy is None or md5(copy) != md5(path):
                client.log_artifact(run.info.run_id, str(path))
