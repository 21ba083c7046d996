"""Write runs: live while a model trains, and from the outputs alone whenever they are there.

MLflow is never in the way: whatever it cannot take down becomes one warning, and `pipeline track` fills it in later
from the outputs, which hold all of it but the seconds.
"""

import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipeline import data, run
from pipeline.config import Config
from pipeline.tracking import registry, store

Tell = Callable[[int, dict[str, float]], None]
WEIGHTS = "weights"  # the tag that identifies a run: the MD5 of model.weights.h5, as dvc.lock holds it
OUTPUTS = "outputs"  # the tag that says which inputs and outputs were recorded: an MD5 of their MD5s
LIVE = "live"  # the tag of a run whose training has not ended: host and process
MACHINE = ("device", "cudnn", "python", "tensorflow", "keras", "numpy")
CURVES = "train/"  # what comes before the names of a report's figures, so that `accuracy` is the final one alone


@contextmanager
def live(name: str, config: Config) -> Iterator[Tell]:
    """A run that the training of model `name` tells its reports to, while it goes on."""
    made_from = run.source(config, name)
    attempt = _Attempt(name)
    client = attempt("the training", store.client)
    run_id = attempt("the training", lambda: _begin(client, name, config, made_from))

    def tell(step: int, figures: dict[str, float]) -> None:
        attempt(f"the training from step {step} on", lambda: _log(client, run_id, step, _curves(figures)))

    try:
        yield tell
    except BaseException:
        attempt("the training's end", lambda: _stopped(client, run_id, name))
        raise
    run.keep_source(name, made_from)
    attempt("the training's end", lambda: _end(client, run_id, name, config.model(name).task))


class _Attempt:
    """Does what it is told until something fails, which becomes one warning: none of the training's business."""

    def __init__(self, name: str):
        self.name, self.failed = name, False

    def __call__(self, what: str, action: Callable[[], Any]) -> Any:
        if not self.failed:
            try:
                return action()
            except Exception as error:
                self.failed = True
                store.warn(self.name, what, error)
        return None


def record(name: str, config: Config, measure: registry.Measure) -> None:
    """Bring MLflow and its registry up to date with the outputs of model `name`, as often as one likes.

    `measure(onnx_file)` is the accuracy of another model on the same test data.
    """
    folder = data.MODELS / name
    for file, stage in (("metrics.json", "evaluate"), ("export/model.onnx", "export"), ("history.csv", "train")):
        data.need(folder / file, f"dvc repro {stage}@{name}")
    told, made_from = run.provenance(config, name)
    attempt = _Attempt(name)
    attempt("the figures", lambda: _record(name, config, told, made_from, measure))


def _record(name: str, config: Config, told: run.Provenance, made_from: run.Source, measure: registry.Measure) -> None:
    client = store.client()
    folder = data.MODELS / name
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    identity = hashlib.md5(json.dumps([told.inputs, told.outputs], sort_keys=True).encode()).hexdigest()
    experiment = store.experiment(client, told.task)
    weights = run.weights(name)
    found = _of_weights(client, experiment, name, weights)
    run_id = found[0].info.run_id if found else _from_outputs(client, experiment, told, weights)
    tags = client.get_run(run_id).data.tags
    if tags.get(OUTPUTS) != identity:
        known = {key: tags[key] for key in MACHINE if key in tags}
        told = replace(told, experiment=told.experiment or tags.get("experiment", ""), machine=told.machine or known)
        _describe(client, run_id, told, figures)
        _inputs(client, run_id, told.inputs)
        with tempfile.TemporaryDirectory() as draft:
            run.save(told, Path(draft) / "provenance.json")
            if made_from.patch:
                (Path(draft) / "changes.patch").write_bytes(made_from.patch)
            registry.package(folder / "export", told.task, Path(draft) / "model")
            client.log_artifacts(run_id, draft)
        for path in sorted(folder.glob("*")):
            if path.suffix in (".json", ".csv", ".png", ".parquet"):
                client.log_artifact(run_id, str(path))
    verdict = registry.enter(client, run_id, told, figures, config.model(name).gate.floor, measure)
    if verdict:
        data.write_json(asdict(verdict), run.LOGS / name / "verdict.json")
        client.log_artifact(run_id, str(run.LOGS / name / "verdict.json"))
    client.set_tag(run_id, OUTPUTS, identity)  # last: without it, the next record does all of this again


def _begin(client: Any, name: str, config: Config, made_from: run.Source) -> str:
    experiment = store.experiment(client, config.model(name).task)
    for left in client.search_runs([experiment], f"tags.model = '{name}' and tags.{LIVE} LIKE '{_host()} %'"):
        if not Path(f"/proc/{left.data.tags[LIVE].split()[-1]}").exists() and Path("/proc").is_dir():
            client.delete_run(left.info.run_id)  # it was killed; its training goes on in the new run
    tags = {LIVE: f"{_host()} {os.getpid()}"} | _subject(name, config.model(name).task, config.recipe)
    tags |= _origin(made_from.commit, bool(made_from.patch), os.environ.get("DVC_EXP_NAME", ""))
    made = client.create_run(experiment, tags=tags, run_name=f"{name}@training")
    _params(client, made.info.run_id, config.recipe, run.params(config, name))
    return str(made.info.run_id)


def _stopped(client: Any, run_id: str, name: str) -> None:
    client.set_terminated(run_id, "FAILED")
    client.update_run(run_id, name=f"{name}@stopped")
    client.delete_tag(run_id, LIVE)


def _end(client: Any, run_id: str, name: str, task: str) -> None:
    client.set_terminated(run_id, "FINISHED")
    weights = run.weights(name)
    client.set_tag(run_id, WEIGHTS, weights)
    client.update_run(run_id, name=_name(name, weights, os.environ.get("DVC_EXP_NAME", "")))
    client.delete_tag(run_id, LIVE)
    # The same model may have been trained before, or by another process just now: the oldest run stays.
    for more in _of_weights(client, store.experiment(client, task), name, weights)[1:]:
        client.delete_run(more.info.run_id)


def _from_outputs(client: Any, experiment: str, told: run.Provenance, weights: str) -> str:
    import pandas as pd

    tags = {WEIGHTS: weights} | _subject(told.model, told.task, told.recipe)
    tags |= _origin(told.commit, told.uncommitted, told.experiment)
    made = client.create_run(experiment, tags=tags, run_name=_name(told.model, weights, told.experiment))
    run_id = str(made.info.run_id)
    _params(client, run_id, told.recipe, told.params)
    for row in pd.read_csv(data.MODELS / told.model / "history.csv").to_dict("records"):
        _log(client, run_id, int(row["step"]), _curves(row))
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _of_weights(client: Any, experiment: str, name: str, weights: str) -> list[Any]:
    wanted = f"tags.{WEIGHTS} = '{weights}' and tags.model = '{name}'"
    return sorted(client.search_runs([experiment], wanted), key=lambda each: (each.info.start_time, each.info.run_id))


def _name(model: str, weights: str, experiment: str) -> str:
    return f"{model}@{experiment or weights[:7]}"


def _subject(model: str, task: str, recipe: str) -> dict[str, str]:
    return {"model": model, "task": task, "recipe": recipe, "stage": f"train@{model}"}


def _origin(commit: str, uncommitted: bool, experiment: str) -> dict[str, str]:
    # MLflow looks for the commit beside sys.argv[0], where a console script has no repository.
    tags = {"commit": commit, "mlflow.source.git.commit": commit, "uncommitted": str(uncommitted).lower()}
    return tags | ({"experiment": experiment} if experiment else {})


def _params(client: Any, run_id: str, recipe: str, dotted: dict[str, Any]) -> None:
    from mlflow.entities import Param

    values = {"recipe": recipe} | run.short(dotted)
    client.log_batch(run_id, params=[Param(key, store.masked(str(value))) for key, value in values.items()])


def _describe(client: Any, run_id: str, told: run.Provenance, figures: dict[str, Any]) -> None:
    from mlflow.entities import RunTag

    seen = {key: value for key, value in figures.items() if not isinstance(value, str)}
    measured = {"training_seconds": "seconds", "peak_memory_mib": "peak_memory_mib"}
    seen |= {key: told.machine[fact] for key, fact in measured.items() if fact in told.machine}
    _log(client, run_id, 0, seen)
    name = client.get_run(run_id).info.run_name
    note = (
        f"{figures['wrong']:,} of {figures['examples']:,} wrong on {figures['dataset']}. The same again: "
        f"`pipeline reproduce {name}`"
    )
    tags = {"dataset": figures["dataset"], "mlflow.note.content": note}
    tags |= {key: str(told.machine[key]) for key in MACHINE if key in told.machine}
    tags |= _origin(told.commit, told.uncommitted, told.experiment)
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _inputs(client: Any, run_id: str, inputs: dict[str, str]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    logged = []
    for path, md5 in sorted(inputs.items()):
        context = "data" if path.startswith("data/") else "code"
        dataset = Dataset(path, md5, "dvc", json.dumps({"path": path, "md5": md5}))
        logged.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    if logged:
        client.log_inputs(run_id, logged)


def _log(client: Any, run_id: str, step: int, figures: dict[str, float]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(key, float(value), now, step) for key, value in figures.items()])


def _curves(row: dict[Any, float]) -> dict[str, float]:
    return {f"{CURVES}{key}": value for key, value in row.items() if key != "step"}


def _host() -> str:
    return socket.gethostname()
