"""Write runs from the outputs alone, as often as one likes: they hold all of a run but the seconds."""

import hashlib
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline import data, run
from pipeline.config import Config
from pipeline.outputs import Outputs
from pipeline.tracking import content, registry, store, view


def record(outputs: Outputs, config: Config, measure: registry.Measure) -> str:
    """Bring the run of a model and its version in the registry up to date; the run's name.

    `measure(onnx_file, split)` is the accuracy of another model on the same test data. Raises what MLflow raises; said
    again, it goes on.
    """
    outputs.need_chain()
    told, made_from = run.provenance(outputs)
    client = store.client()
    with store.alone():  # or two at once would each make a run
        return _record(client, outputs, told, made_from.patch, config, measure)


def _record(
    client: Any, outputs: Outputs, told: run.Provenance, patch: bytes, config: Config, measure: registry.Measure
) -> str:
    figures, floor = outputs.metrics(), config.model(told.model).gate.floor
    identity = hashlib.md5(json.dumps([told.inputs, told.outputs], sort_keys=True).encode()).hexdigest()
    found = content.of_weights(client, store.experiment(client, told.task), told.model, outputs.weights)
    run_id = found[0].info.run_id if found else _create(client, outputs, told)
    tags = client.get_run(run_id).data.tags
    if tags.get(content.OUTPUTS) != identity or not _whole(client, run_id, told):
        client.set_tag(run_id, content.OUTPUTS, "")  # whatever stops this, the next record does all of it again
        known = {key: tags[key] for key in content.MACHINE if key in tags}
        told = replace(told, experiment=told.experiment or tags.get("experiment", ""), machine=told.machine or known)
        _fill(client, run_id, outputs, told)
        _describe(client, run_id, told, figures)
        content.log_inputs(client, run_id, told.inputs)
        _files(client, run_id, outputs, told, patch)
    verdict = registry.enter(client, run_id, told, figures, floor, lambda model: measure(model, outputs.split))
    if verdict:
        path = outputs.root / run.LOGS / told.model / "verdict.json"
        data.write_json(asdict(verdict), path)
        client.log_artifact(run_id, str(path))
    client.set_tag(run_id, content.OUTPUTS, identity)
    return str(client.get_run(run_id).info.run_name)


def _whole(client: Any, run_id: str, told: run.Provenance) -> bool:
    """Whether the artifacts are there that other commands read: a person may have lost them."""
    there = {file.path for file in client.list_artifacts(run_id)}
    return {"provenance.json", "answers.parquet", registry.package_name(told)} <= there


def _create(client: Any, outputs: Outputs, told: run.Provenance) -> str:
    tags = {content.WEIGHTS: outputs.weights} | content.subject(told.model, told.task, told.recipe)
    tags |= content.origin(told.commit, told.uncommitted, told.experiment)
    name = content.name(told.model, outputs.weights, told.experiment)
    return str(client.create_run(store.experiment(client, told.task), tags=tags, run_name=name).info.run_id)


def _fill(client: Any, run_id: str, outputs: Outputs, told: run.Provenance) -> None:
    """Write what a live run would have: parameters and curves, as far as they are missing."""
    import pandas as pd

    known = client.get_run(run_id)
    missing = {key: value for key, value in run.short(told.params).items() if key not in known.data.params}
    content.log_params(client, run_id, {"recipe": told.recipe} | missing if missing else {})
    steps = {point.step for point in client.get_metric_history(run_id, f"{content.CURVES}loss")}
    for row in pd.read_csv(outputs.folder / "history.csv").to_dict("records"):
        if int(row["step"]) not in steps:
            content.log_report(client, run_id, row)
    if known.info.status != "FINISHED":
        client.update_run(run_id, "FINISHED")  # with no end: how long the training took is not known here


def _describe(client: Any, run_id: str, told: run.Provenance, figures: dict[str, Any]) -> None:
    from mlflow.entities import RunTag

    seen = {key: value for key, value in figures.items() if not isinstance(value, str)}
    measured = {"training_seconds": "seconds", "peak_memory_mib": "peak_memory_mib"}
    seen |= {key: told.machine[fact] for key, fact in measured.items() if fact in told.machine}
    content.log_figures(client, run_id, 0, seen)
    about = client.get_run(run_id).info
    note = view.note(about.experiment_id, run_id, about.run_name, figures)
    tags = {"dataset": figures["dataset"], "mlflow.note.content": note}
    tags |= {key: str(told.machine[key]) for key in content.MACHINE if key in told.machine}
    tags |= content.origin(told.commit, told.uncommitted, told.experiment)
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _files(client: Any, run_id: str, outputs: Outputs, told: run.Provenance, patch: bytes) -> None:
    with tempfile.TemporaryDirectory() as draft:
        run.save(told, Path(draft) / "provenance.json")
        if patch:
            (Path(draft) / "changes.patch").write_bytes(patch)
        registry.package(outputs, Path(draft) / registry.package_name(told))
        client.log_artifacts(run_id, draft)
    for path in sorted(outputs.folder.glob("*")):
        if path.suffix in (".json", ".csv", ".png", ".parquet"):
            client.log_artifact(run_id, str(path))
