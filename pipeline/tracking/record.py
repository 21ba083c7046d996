"""Write runs from the files of a trained model, at any time.

Also the trials of a sweep: a run for each, with the sweep's name as a tag.
"""

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
from pipeline.tracking import connection, registry, schema, ui
from pipeline.tracking.gate import Verdict
from pipeline.tracking.schema import DATASET, LIVE, PROVENANCE, SWEEP, WEIGHTS, run_name, runs_with_weights

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Param, Run

EXAMPLES = TaskPaths("").examples.name
Sign = Callable[[ModelPaths], bytes]  # makes the content of a signature of a model's export
BATCH = 1000  # metrics that MLflow takes at once


@dataclass(frozen=True)
class Recorded:
    """What MLflow has of a model."""

    run: "Run"
    version: str  # in the registry
    verdict: Verdict | None  # of the gate; None if the version is the champion


def record(
    client: "MlflowClient", artifacts: Artifacts, gate: Gate, sweep: str = "", known: "Run | None" = None
) -> Recorded:
    """Bring the run of a model, or of a trial of a sweep, and its version in the registry up to date.

    Who has asked for all runs gives the one that is known of this model, which is not looked for again.
    The files belong together: `Artifacts.check_consistent`. Writes only what run and version do not have, or have
    damaged: it completes what a call that failed left undone. Raises PipelineError if a file is damaged, and whatever
    MLflow raises.
    """
    metrics = artifacts.metrics()  # a damaged file is found before anything is written
    with connection.exclusive():  # two processes would each create a run
        run, provenance = _find_or_create(client, artifacts, known)
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
    return Recorded(run, version, verdict)


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
            client.log_artifacts(recorded.run.info.run_id, str(page), "page")
        passed, line = registry.promote(client, model, dataset, recorded.version, recorded.verdict, card)
        if passed and signature:
            write_bytes(signature, artifacts.paths.signature)
            client.log_artifact(recorded.run.info.run_id, str(artifacts.paths.signature))
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
            return str(record(client, artifacts, gate, sweep).run.info.run_name)


def record_stopped(setup: ModelSetup, trial: str, sweep: str, commit: str, rows: Sequence[dict[str, float]]) -> str:
    """Record a trial that was stopped early: parameters and curves, no model. Raises PipelineError if MLflow fails."""
    name = f"{setup.name}@{trial} (stopped)"
    with connection.connected(create=True) as client:
        experiment = experiment_id(client, setup.task.name)
        for run in client.search_runs([experiment], f"tags.experiment = '{trial}'"):
            ours = run.info.run_name == name
            if ours and run.info.status == "KILLED":  # which is written last
                return name
            if ours or LIVE in run.data.tags:  # a record that failed; what the training wrote until it was ended
                client.delete_run(run.info.run_id)
        # The parameters of a trial are uncommitted changes of params.yaml.
        provenance = replace(lineage.of_setup(setup), commit=commit, uncommitted=True, experiment=trial)
        run_id = create(client, provenance, name, {SWEEP: sweep}).info.run_id
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


def log_rows(client: "MlflowClient", run_id: str, rows: Iterable[tuple[int, Mapping[str, float]]]) -> None:
    """Write rows of history.csv as points of the curves, each with its time in milliseconds."""
    from mlflow.entities import Metric

    points = [
        Metric(schema.curve(column), float(value), at, int(row["step"]))
        for at, row in rows
        for column, value in row.items()
        if column != "step"
    ]
    for first in range(0, len(points), BATCH):
        client.log_batch(run_id, points[first : first + BATCH])


def _log_history(client: "MlflowClient", run_id: str, rows: Iterable[Mapping[str, float]]) -> None:
    """Write the rows of history.csv that the run does not have yet."""
    present = {point.step for point in client.get_metric_history(run_id, schema.curve("loss"))}
    log_rows(client, run_id, [(_now(), row) for row in rows if int(row["step"]) not in present])


def _now() -> int:
    return round(1000 * time.time())


def _artifacts(task: str) -> str | None:
    """Where the artifacts of an experiment go: beside a SQLite file; None if a server chooses.

    MLflow stores it for good, so it has to be absolute.
    """
    file = connection.database_file()
    return (file.parent / connection.ARTIFACTS / task).as_uri() if file else None


def _find_or_create(client: "MlflowClient", artifacts: Artifacts, known: "Run | None") -> "tuple[Run, Provenance]":
    """The run of a trained model, and its provenance: what the logs do not have of the training, the run may have."""
    model, task, weights = artifacts.model, artifacts.task.name, artifacts.weights_md5
    found = [known] if known else runs_with_weights(client, experiment_id(client, task), model, weights)
    for run in found[:1]:
        try:
            return run, lineage.of_artifacts(artifacts, recorded=schema.load_provenance(client, run))
        except PipelineError:  # it was not recorded completely, or is damaged
            return run, lineage.of_artifacts(artifacts)
    provenance = lineage.of_artifacts(artifacts)
    name = run_name(model, weights, provenance.experiment)
    return create(client, provenance, name, {WEIGHTS: weights}), provenance


def create(
    client: "MlflowClient", provenance: Provenance, name: str, tags: dict[str, str], at: int | None = None
) -> "Run":
    """A new run, with these and the tags and parameters that say what was trained; `at`: its start, else now."""
    experiment = experiment_id(client, provenance.task)
    run = client.create_run(experiment, at, tags | schema.tags(provenance), name)
    client.log_batch(run.info.run_id, params=_params(provenance))
    return run


def _log_results(
    client: "MlflowClient", run: "Run", model_id: str, metrics: dict[str, Any], provenance: Provenance
) -> None:
    """Write parameters, final metrics, tags, the run's description, and its examples as MLflow's dataset."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, RunTag

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
        [Metric(key, float(value), _now(), 0, model_id=model_id) for key, value in final.items()],
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
