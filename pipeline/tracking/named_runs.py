"""Read runs: find them by what a user types, and load what comparing or reproducing them takes."""

import tempfile
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Union

from pipeline.config import Config
from pipeline.errors import PipelineError, printable, quoted, redact
from pipeline.files import md5
from pipeline.lineage import dvc, git
from pipeline.lineage import provenance as lineage
from pipeline.lineage.artifacts import trained_weights
from pipeline.lineage.provenance import Provenance, strip_prefixes
from pipeline.lineage.run_summary import RunSummary
from pipeline.lineage.snapshot import Snapshot
from pipeline.paths import ModelPaths, repro
from pipeline.predictions import load_parquet
from pipeline.tracking import connection
from pipeline.tracking.registry import is_champion
from pipeline.tracking.schema import PATCH, PROVENANCE, WEIGHTS, history_column, is_curve, recorded_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Found = Union["Run", RunSummary]  # a run of MLflow, or what git holds of a model
WORKSPACE = "workspace"
GROUPS = (WORKSPACE, "champion")  # names of a run for each model
SHORTEST_ID = 6  # characters of a run's id that are accepted for it


def find_run(text: str, config: Config) -> tuple[str, Provenance, bytes]:
    """The name, provenance and patch of the run that matches `text`.

    Raises PipelineError if none or several do, or if the run cannot be reproduced.
    """
    with connection.connected() as client:
        found = _matching(client, text, config)
        runs = [run for run in found if not isinstance(run, RunSummary)]
        if not runs:
            raise PipelineError(f"no run at {quoted(text)} is recorded; run `pipeline track {text}`, then try again.")
        if len(runs) > 1:
            names = ", ".join(f"{run.info.run_name} ({run.info.run_id[:8]})" for run in runs[:8])
            raise PipelineError(f"{quoted(text)} matches {len(runs)} runs: {names}; name one of them, or give its id.")
        name = str(runs[0].info.run_name)
        with tempfile.TemporaryDirectory() as folder:
            provenance = _load_provenance(client, runs[0], Path(folder))
            patch = _load_patch(client, runs[0], Path(folder)) if provenance.uncommitted else b""
        if not provenance.inputs:
            raise PipelineError(
                f"the run {name} was trained without DVC, so the hashes of its data are not known; run `dvc repro`, "
                "then choose the run that it records."
            )
        return name, provenance, patch


def find_groups(texts: list[str], config: Config) -> list[list[RunSummary]]:
    """The runs to compare with each other, in groups.

    Without a text, for each model its newest run and the one before. With one text that matches one run, that run and
    the one before. With several texts that match one run each, those runs. Otherwise, a group for each model. Of a
    revision that MLflow does not have, a run is what git holds.
    """
    with connection.connected() as client:
        return [[_summary(client, run) for run in _unique(group)] for group in _groups(client, texts, config)]


def _groups(client: "MlflowClient", texts: list[str], config: Config) -> Sequence[Sequence["Found"]]:
    if not texts:
        newest = [runs[0] for model in config.models if (runs := _runs_of_model(client, model))]
        pairs = [[before, run] for run in newest if (before := _previous(client, run))]
        if not pairs:
            raise PipelineError("no model has two runs yet; change a parameter, run `dvc repro`, and compare again.")
        return pairs
    matches = [_matching(client, text, config) for text in texts]
    if all(len(runs) == 1 for runs in matches):
        if len(matches) == 1:
            return [_with_previous(client, matches[0][0])]
        return [[runs[0] for runs in matches]]
    return _by_model([run for runs in matches for run in runs])


def by_id(run: "Run", text: str) -> bool:
    """Whether `text` is the beginning of the run's id."""
    return len(text) >= SHORTEST_ID and run.info.run_id.startswith(text)


def by_name(run: "Run", text: str) -> bool:
    """Whether `text` is the run's name."""
    return bool(run.info.run_name == text)


def by_experiment(run: "Run", text: str) -> bool:
    """Whether `text` is DVC's name of the run's experiment."""
    return bool(run.data.tags.get("experiment") == text)


def by_pattern(run: "Run", text: str) -> bool:
    """Whether `text` is a pattern of the run's name or of its experiment's, such as `sweep-*`."""
    names = (run.info.run_name, run.data.tags.get("experiment"))
    return any(fnmatchcase(name, text) for name in names if name)


MATCHERS: tuple[Callable[["Run", str], bool], ...] = (by_id, by_name, by_experiment, by_pattern)


def _matching(client: "MlflowClient", text: str, config: Config) -> Sequence["Found"]:
    """The runs that `text` names: a model (its newest run), one of GROUPS, what MATCHERS find, or a revision of git.

    Raises PipelineError if there are none.
    """
    if text in config.models:
        if newest := _runs_of_model(client, text)[:1]:
            return newest
        raise PipelineError(f"no run of {text} is recorded yet; `{repro('evaluate', text)}` records one.")
    runs = recorded_runs(client)
    if text in GROUPS:
        return _group(client, runs, text, config)
    for matches in MATCHERS:
        if matching := [run for run in runs if matches(run, text)]:
            return matching[::-1]  # the oldest first
    if commit := git.commit(text):
        return _at_revision(runs, text, commit, config)
    raise PipelineError(
        f"there is no run, experiment, revision or model {quoted(text)} in "
        f"{redact(connection.tracking_uri())}; name one of the models ({', '.join(config.models)}), or a "
        "run that `mlflow ui` lists."
    )


def _group(client: "MlflowClient", runs: list["Run"], text: str, config: Config) -> list["Run"]:
    """The run of each model in the workspace, or of each champion."""
    if text == WORKSPACE:
        files = [ModelPaths(model).weights for model in config.models]
        weights = {md5(file) for file in files if file.is_file()}
        found = [run for run in runs if run.data.tags.get(WEIGHTS) in weights]
        hint = "run `dvc repro`, then `pipeline track`"
    else:
        models = [model for model in client.search_registered_models() if model.name in config.models]
        versions = [
            (model.name, str(version))
            for model in models
            for alias, version in model.aliases.items()
            if is_champion(alias)
        ]
        ids = {client.get_model_version(*version).run_id for version in versions}
        found = [run for run in runs if run.info.run_id in ids]
        hint = "run `pipeline promote`"
    if not found:
        raise PipelineError(f"{text} has no recorded run; {hint} first.")
    return found


def _at_revision(runs: list["Run"], revision: str, commit: str, config: Config) -> list["Found"]:
    """For each model that the revision's dvc.lock has, its newest run, or else what git holds of it."""
    entries, snapshot = dvc.lock_entries(commit), Snapshot(revision, commit)
    trained = {model: weights for model in config.models if (weights := trained_weights(entries, model))}
    if not trained:
        raise PipelineError(
            f"revision {revision} has no trained model of params.yaml in its dvc.lock; choose another revision."
        )
    found: list[Found] = []
    for model, weights in trained.items():
        recorded = [run for run in runs if run.data.tags.get(WEIGHTS) == weights]
        found.append(recorded[0] if recorded else snapshot.summary(model, config.model(model).task.name))
    return found


def _runs_of_model(client: "MlflowClient", model: str) -> list["Run"]:
    return recorded_runs(client, f"tags.model = '{model}'")


def _with_previous(client: "MlflowClient", run: "Found") -> list["Found"]:
    if isinstance(run, RunSummary):
        raise PipelineError(f"{run.name} is one run; name another to compare it with, such as workspace.")
    if before := _previous(client, run):
        return [before, run]
    raise PipelineError(f"{run.info.run_name} is the first run of its model; name another to compare it with.")


def _previous(client: "MlflowClient", run: "Run") -> "Run | None":
    """The newest earlier run of the same model; one with the same seed and of no sweep, if there is one."""
    runs = _runs_of_model(client, run.data.tags["model"])
    earlier = [other for other in runs if other.info.start_time < run.info.start_time]
    alike = [other for other in earlier if other.data.params.get("seed") == run.data.params.get("seed")]
    single = [other for other in alike if not other.data.tags.get("experiment")]
    return next(iter(single or alike or earlier), None)


def _by_model(runs: Sequence["Found"]) -> list[list["Found"]]:
    groups: dict[str, list[Found]] = {}
    for run in _unique(runs):
        groups.setdefault(run.model if isinstance(run, RunSummary) else run.data.tags["model"], []).append(run)
    comparable = [group for group in groups.values() if len(group) > 1]
    if not comparable:
        alone = ", ".join(groups)
        raise PipelineError(
            f"there is only one run of each model among these ({alone}), and none to compare it "
            "with; name other runs, or two models. `pipeline report` shows what the workspace adds."
        )
    return comparable


def _unique(runs: Sequence["Found"]) -> list["Found"]:
    return list({run.name if isinstance(run, RunSummary) else run.info.run_id: run for run in runs}.values())


def _artifact_names(client: "MlflowClient", run: "Run") -> set[str]:
    return {file.path for file in client.list_artifacts(run.info.run_id)}


def _load_provenance(client: "MlflowClient", run: "Run", folder: Path) -> Provenance:
    if PROVENANCE not in _artifact_names(client, run):
        raise PipelineError(
            f"the run {run.info.run_name} has no {PROVENANCE}: its training did not end, or its artifacts are gone; "
            "run `dvc repro`, then `pipeline track`, or choose another run."
        )
    return lineage.load(Path(client.download_artifacts(run.info.run_id, PROVENANCE, str(folder))))


def _load_patch(client: "MlflowClient", run: "Run", folder: Path) -> bytes:
    if PATCH not in _artifact_names(client, run):
        raise PipelineError(
            f"the run {run.info.run_name} was made from uncommitted changes, and its {PATCH} is gone; restore MLflow's "
            "artifacts, or choose another run."
        )
    return Path(client.download_artifacts(run.info.run_id, PATCH, str(folder))).read_bytes()


def _summary(client: "MlflowClient", run: "Found") -> RunSummary:
    import pandas as pd

    if isinstance(run, RunSummary):
        return run

    run_id, metrics = run.info.run_id, run.data.metrics
    curves = {}
    for metric in filter(is_curve, metrics):
        points = client.get_metric_history(run_id, metric)
        curves[history_column(metric)] = pd.Series({point.step: point.value for point in points})
    with tempfile.TemporaryDirectory() as folder:
        provenance, predictions = _load_provenance(client, run, Path(folder)), None
        name = ModelPaths(provenance.model).predictions.name
        if name in _artifact_names(client, run):
            path = Path(client.download_artifacts(run_id, name, folder))
            predictions = load_parquet(path, "pipeline track")
    params = {key: str(value) for key, value in strip_prefixes(provenance.params).items()}
    return RunSummary(
        id=run_id,
        name=printable(str(run.info.run_name)),
        model=provenance.model,
        task=provenance.task,
        params={"recipe": provenance.recipe} | {key: printable(value) for key, value in params.items()},
        inputs=provenance.inputs,
        metrics={key: value for key, value in metrics.items() if not is_curve(key)},
        history=pd.DataFrame(curves).rename_axis("step").sort_index(),
        predictions=predictions,
    )
