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
    outputs.need_all()
    told, made_from = run.provenance(outputs, config)
    client = store.client()
    figures = json.loads((outputs.folder / "metrics.json").read_text(encoding="utf-8"))
    identity = hashlib.md5(json.dumps([told.inputs, told.outputs], sort_keys=True).encode()).hexdigest()
    found = content.of_weights(client, store.experiment(client, told.task), told.model, outputs.weights)
    run_id = found[0].info.run_id if found else _create(client, outputs, told)
    tags = client.get_run(run_id).data.tags
    if tags.get(content.OUTPUTS) != identity:
        known = {key: tags[key] for key in content.MACHINE if key in tags}
        told = replace(told, experiment=told.experiment or tags.get("experiment", ""), machine=told.machine or known)
        _describe(client, run_id, told, figures)
        content.log_inputs(client, run_id, told.inputs)
        _files(client, run_id, outputs, told, made_from.patch)
    floor = config.model(told.model).gate.floor
    verdict = registry.enter(client, run_id, told, figures, floor, lambda model: measure(model, outputs.split))
    if verdict:
        path = outputs.root / run.LOGS / told.model / "verdict.json"
        data.write_json(asdict(verdict), path)
        client.log_artifact(run_id, str(path))
    client.set_tag(run_id, content.OUTPUTS, identity)  # last: without it, the next record does all of this again
    return str(client.get_run(run_id).info.run_name)


def _create(client: Any, outputs: Outputs, told: run.Provenance) -> str:
    import pandas as pd

    tags = {content.WEIGHTS: outputs.weights} | content.subject(told.model, told.task, told.recipe)
    tags |= content.origin(told.commit, told.uncommitted, told.experiment)
    name = content.name(told.model, outputs.weights, told.experiment)
    made = client.create_run(store.experiment(client, told.task), tags=tags, run_name=name)
    run_id = str(made.info.run_id)
    content.log_params(client, run_id, told.recipe, told.params)
    for row in pd.read_csv(outputs.folder / "history.csv").to_dict("records"):
        content.log_report(client, run_id, row)
    client.update_run(run_id, "FINISHED")  # with no end: how long the training took is not known here
    return run_id


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
        registry.package(outputs, Path(draft) / "model")
        client.log_artifacts(run_id, draft)
    for path in sorted(outputs.folder.glob("*")):
        if path.suffix in (".json", ".csv", ".png", ".parquet"):
            client.log_artifact(run_id, str(path))
