"""Record a trained model from its files, at any time: a run that was not written live, or not completely.

Also the trials of a sweep: a run for each, with the sweep's name as a tag.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Gate, ModelSetup
from pipeline.files import md5, md5_of
from pipeline.formats import write_json
from pipeline.lineage import provenance as lineage
from pipeline.lineage.artifacts import Artifacts, checked_out, trained_weights, verified_workspace
from pipeline.lineage.provenance import Provenance
from pipeline.paths import ModelPaths
from pipeline.tracking import connection, package, registry, schema, ui, writer
from pipeline.tracking.gate import Verdict
from pipeline.tracking.schema import (
    CONTENTS,
    ENVIRONMENT,
    LIVE,
    PROVENANCE,
    PROVENANCE_MD5,
    SWEEP,
    WEIGHTS,
    run_name,
    runs_with_weights,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Recorded:
    """What MLflow has of a model."""

    run: str  # its name
    version: str  # in the registry
    verdict: Verdict | None  # of the gate; None if the version is the champion


def record(artifacts: Artifacts, gate: Gate) -> Recorded:
    """Bring the run of a model, and its version in the registry, up to date.

    Calling it again changes nothing, and completes what a call that failed left undone. Raises PipelineError if the
    files do not belong together, and whatever MLflow raises.
    """
    artifacts.check_consistent()
    provenance = lineage.of_artifacts(artifacts)
    client = connection.client()
    with connection.exclusive():  # two processes would each create a run
        return _record(client, artifacts, provenance, gate)


def promote(setup: ModelSetup) -> tuple[bool, str]:
    """Record the model of the workspace, and make it the champion of its dataset if the gate lets it pass.

    Returns whether it is the champion now, and a sentence. Raises PipelineError if its files are not those of dvc.lock,
    or if the store does not answer.
    """
    artifacts = verified_workspace(setup.name, setup.task.name)
    with connection.connected(create=True) as client:
        recorded = record(artifacts, setup.params.gate)
        return registry.promote(client, setup.name, artifacts.metrics()["dataset"], recorded.version, recorded.verdict)


def record_finished(setup: ModelSetup, entries: dict[str, Any], gate: Gate, sweep: str) -> str:
    """Record a trial from DVC's cache, and return the name of its run. Raises PipelineError if MLflow fails."""
    with connection.connected(create=True) as client:
        with checked_out(setup.name, entries) as artifacts:
            name = record(artifacts, gate).run
        experiment = writer.experiment_id(client, setup.task.name)
        for run in runs_with_weights(client, experiment, setup.name, trained_weights(entries, setup.name)):
            client.set_tag(run.info.run_id, SWEEP, sweep)
    return name


def record_stopped(setup: ModelSetup, trial: str, sweep: str, commit: str, rows: Sequence[dict[str, float]]) -> str:
    """Record a trial that was stopped early: parameters and curves, no model. Raises PipelineError if MLflow fails."""
    name = f"{setup.name}@{trial} (stopped)"
    with connection.connected(create=True) as client:
        experiment = writer.experiment_id(client, setup.task.name)
        for run in client.search_runs([experiment], f"tags.experiment = '{trial}'"):
            if run.info.run_name == name:
                return name
            if LIVE in run.data.tags:  # written by the training until it was ended
                client.delete_run(run.info.run_id)
        # The parameters of a trial are uncommitted changes of params.yaml.
        made_from = Provenance(
            model=setup.name,
            task=setup.task.name,
            recipe=setup.recipe_name,
            commit=commit,
            uncommitted=True,
            experiment=trial,
            params=setup.used_params(),
        )
        tags = schema.tags(made_from) | {SWEEP: sweep}
        run_id = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
        writer.log_params(client, run_id, made_from)
        writer.log_history(client, run_id, rows)
        client.set_terminated(run_id, "KILLED")
    return name


def _record(client: "MlflowClient", artifacts: Artifacts, provenance: Provenance, gate: Gate) -> Recorded:
    artifacts.metrics()  # a damaged file is found before anything is written
    run_id = _find_or_create(client, artifacts, provenance)
    model_id = package.log(client, client.get_run(run_id), artifacts)
    tags = client.get_run(run_id).data.tags
    contents = _identity(provenance)
    if tags.get(CONTENTS) != contents or not _is_intact(client, run_id, tags, provenance):
        client.set_tag(run_id, CONTENTS, "")  # whatever stops this, the next call writes all of it again
        provenance = _with_recorded(provenance, tags)
        writer.log_params(client, run_id, provenance)
        writer.log_history(client, run_id, artifacts.history())
        _write_results(client, run_id, model_id, artifacts, provenance)
        writer.log_inputs(client, run_id, artifacts.metrics()["dataset"], provenance.inputs)
        _write_artifacts(client, run_id, artifacts, provenance)
    version = registry.register_version(client, run_id, model_id, artifacts, provenance)
    verdict = registry.assess(client, version, artifacts, provenance, gate)
    if verdict:
        write_json(asdict(verdict), artifacts.paths.verdict)
        client.log_artifact(run_id, str(artifacts.paths.verdict))
    client.set_tag(run_id, CONTENTS, contents)
    return Recorded(str(client.get_run(run_id).info.run_name), version, verdict)


def _find_or_create(client: "MlflowClient", artifacts: Artifacts, provenance: Provenance) -> str:
    model, task, weights = provenance.model, provenance.task, artifacts.weights_md5
    experiment = writer.experiment_id(client, task)
    if runs := runs_with_weights(client, experiment, model, weights):
        return str(runs[0].info.run_id)
    tags, name = {WEIGHTS: weights} | schema.tags(provenance), run_name(model, weights, provenance.experiment)
    return str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)


def _identity(provenance: Provenance) -> str:
    """An MD5 of the MD5s of all inputs and outputs: whether a run holds what the files hold now."""
    return md5_of(json.dumps([provenance.inputs, provenance.outputs], sort_keys=True).encode())


def _is_intact(client: "MlflowClient", run_id: str, tags: dict[str, str], provenance: Provenance) -> bool:
    """Whether the run has, undamaged, the artifacts that other commands read; its folder may have been lost."""
    present = {file.path for file in client.list_artifacts(run_id)}
    predictions = ModelPaths(provenance.model).predictions
    written = {PROVENANCE: tags.get(PROVENANCE_MD5), predictions.name: provenance.outputs[str(predictions)]}
    with tempfile.TemporaryDirectory() as folder:
        return all(
            name in present and md5(Path(client.download_artifacts(run_id, name, folder))) == was
            for name, was in written.items()
        )


def _with_recorded(provenance: Provenance, tags: dict[str, str]) -> Provenance:
    """The provenance, completed by what the run's tags say of the training, where the logs do not have it."""
    environment = {key: tags[key] for key in ENVIRONMENT if key in tags}
    return replace(
        provenance,
        experiment=provenance.experiment or tags.get("experiment", ""),
        environment=provenance.environment or environment,
    )


def _write_results(
    client: "MlflowClient", run_id: str, model_id: str, artifacts: Artifacts, provenance: Provenance
) -> None:
    """Write the final metrics, also as those of the run's model, the tags and the run's description."""
    from mlflow.entities import RunTag

    metrics, environment = artifacts.metrics(), provenance.environment
    final = {key: value for key, value in metrics.items() if not isinstance(value, str | bool)}
    measured = {"training_seconds": "seconds", "peak_memory_mib": "peak_memory_mib"}
    final |= {name: environment[key] for name, key in measured.items() if key in environment}
    writer.log_metrics(client, run_id, 0, final, model_id)
    run = client.get_run(run_id)
    if run.info.status != "FINISHED":
        client.update_run(run_id, "FINISHED")  # without an end time: when the training ended is not known here
    tags = {"dataset": metrics["dataset"], ui.DESCRIPTION: ui.run_description(run.info, metrics)}
    tags |= schema.tags(provenance)
    if ui.COLOUR not in run.data.tags:
        tags[ui.COLOUR] = ui.next_colour(client, run.info.experiment_id)
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _write_artifacts(client: "MlflowClient", run_id: str, artifacts: Artifacts, provenance: Provenance) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PROVENANCE
        lineage.save(provenance, path)
        client.set_tag(run_id, PROVENANCE_MD5, md5(path))
        client.log_artifact(run_id, str(path))
    for path in sorted(artifacts.paths.folder.glob("*")):
        if path.suffix in (".json", ".csv", ".png", ".parquet"):
            client.log_artifact(run_id, str(path))
