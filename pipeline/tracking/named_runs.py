"""Read runs: find them by what a user types, and load what comparing or reproducing them takes."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.errors import PipelineError, printable, quoted, redact
from pipeline.files import md5
from pipeline.lineage import dvc, git
from pipeline.lineage import provenance as lineage
from pipeline.lineage.artifacts import trained_weights
from pipeline.lineage.provenance import Provenance
from pipeline.lineage.snapshot import RunSummary, Snapshot
from pipeline.paths import ModelPaths, repro
from pipeline.predictions import load_parquet
from pipeline.tracking import connection, schema
from pipeline.tracking.schema import PATCH, PROVENANCE, WEIGHTS, history_column, is_curve, recorded_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

WORKSPACE, CHAMPIONS = "workspace", "champion"  # names of a run for each model
SHORTEST_ID = 6  # characters of a run's id that are accepted for it
# How a text may name runs; the first kind of name that fits any run counts.
MATCHERS: dict[str, Callable[["Run", str], bool]] = {
    "id": lambda run, text: len(text) >= SHORTEST_ID and run.info.run_id.startswith(text),
    "name": lambda run, text: run.info.run_name == text,
    "experiment": lambda run, text: run.data.tags.get("experiment") == text,
    "pattern": lambda run, text: any(
        fnmatchcase(name, text) for name in (run.info.run_name, run.data.tags.get("experiment", "")) if name
    ),
}


def find_run(text: str, config: Config) -> tuple[str, Provenance]:
    """The name and the provenance of the run that matches `text`.

    Raises PipelineError if none or several do, or if the run cannot be reproduced.
    """
    with connection.connected() as client:
        runs = _Store(client, config).runs(text)
        if not runs:
            raise PipelineError(f"no run at {quoted(text)} is recorded; run `pipeline track {text}`, then try again.")
        if len(runs) > 1:
            names = ", ".join(f"{run.info.run_name} ({run.info.run_id[:8]})" for run in runs[:8])
            raise PipelineError(f"{quoted(text)} matches {len(runs)} runs: {names}; name one of them, or give its id.")
        name = str(runs[0].info.run_name)
        with tempfile.TemporaryDirectory() as folder:
            provenance = _load_provenance(client, runs[0], folder)
            if provenance.uncommitted and not provenance.patch:
                provenance = replace(provenance, patch=_load_patch(client, runs[0], folder))
        if not provenance.inputs:
            raise PipelineError(
                f"the run {name} was trained without DVC, so the hashes of its data are not known; run `dvc repro`, "
                "then choose the run that it records."
            )
        return name, provenance


def find_groups(texts: list[str], config: Config) -> list[list[RunSummary]]:
    """The runs to compare with each other, in groups.

    Without a text, for each model its newest run and the one before. With one text that matches one run, that run and
    the one before. With several texts that match one run each, those runs. Otherwise, a group for each model. Of a
    revision that MLflow does not have, a run is what git holds.
    """
    with connection.connected() as client:
        store = _Store(client, config)
        if not texts:
            return store.newest_with_previous()
        matches = [store.summaries(text) for text in texts]
        if not all(len(runs) == 1 for runs in matches):
            return _by_model([run for runs in matches for run in runs])
        if len(matches) == 1:
            return [store.with_previous(matches[0][0])]
        return [_unique([runs[0] for runs in matches])]


class _Store:
    """The recorded runs of a store, and what a text names among them."""

    def __init__(self, client: "MlflowClient", config: Config):
        self._client, self._config = client, config
        self._all = recorded_runs(client)  # the newest first

    def runs(self, text: str) -> list["Run"]:
        """The runs that `text` names, of a revision those recorded. Raises PipelineError if it names nothing."""
        if named := self._named(text):
            return named
        _, trained = self._at_revision(text)
        return [run for weights in trained.values() for run in self._with_weights({weights})[:1]]

    def summaries(self, text: str) -> list[RunSummary]:
        """The same to be compared; of a model of a revision that has no run, what git holds of it."""
        if named := self._named(text):
            return [self._summary(run) for run in named]
        commit, trained = self._at_revision(text)
        snapshot, found = Snapshot(text, commit), []
        for model, weights in trained.items():
            recorded = self._with_weights({weights})
            task = self._config.model(model).task.name
            found.append(self._summary(recorded[0]) if recorded else snapshot.summary(model, task))
        return found

    def newest_with_previous(self) -> list[list[RunSummary]]:
        """For each model that has two runs, the newest and the one before."""
        newest = [runs[0] for model in self._config.models if (runs := self._of_model(model))]
        pairs = [[before, run] for run in newest if (before := self._previous(run))]
        if not pairs:
            raise PipelineError("no model has two runs yet; change a parameter, run `dvc repro`, and compare again.")
        return [[self._summary(run) for run in pair] for pair in pairs]

    def with_previous(self, run: RunSummary) -> list[RunSummary]:
        """A run, and before it the one before. Raises PipelineError if there is none."""
        if not run.id:
            raise PipelineError(f"{run.name} is one run; name another to compare it with, such as workspace.")
        (recorded,) = (each for each in self._all if each.info.run_id == run.id)
        if before := self._previous(recorded):
            return [self._summary(before), run]
        raise PipelineError(f"{run.name} is the first run of its model; name another to compare it with.")

    def _named(self, text: str) -> list["Run"]:
        """The runs that a model (its newest), WORKSPACE, CHAMPIONS or one of MATCHERS names; empty if none does."""
        if text in self._config.models:
            if newest := self._of_model(text)[:1]:
                return newest
            raise PipelineError(f"no run of {text} is recorded yet; `{repro('evaluate', text)}` records one.")
        if text == WORKSPACE:
            return self._in_workspace()
        if text == CHAMPIONS:
            return self._champions()
        matches = ([run for run in self._all if fits(run, text)] for fits in MATCHERS.values())
        return next(filter(None, matches), [])[::-1]  # the oldest first

    def _in_workspace(self) -> list["Run"]:
        files = [ModelPaths(model).weights for model in self._config.models]
        if found := self._with_weights({md5(file) for file in files if file.is_file()}):
            return found
        raise PipelineError("workspace has no recorded run; run `dvc repro`, then `pipeline track` first.")

    def _champions(self) -> list["Run"]:
        ids = {
            self._client.get_model_version(model.name, str(version)).run_id
            for model in self._client.search_registered_models()
            if model.name in self._config.models
            for alias, version in model.aliases.items()
            if alias.startswith(schema.CHAMPION)
        }
        if found := [run for run in self._all if run.info.run_id in ids]:
            return found
        raise PipelineError("champion has no recorded run; run `pipeline promote` first.")

    def _at_revision(self, revision: str) -> tuple[str, dict[str, str]]:
        """The commit of a revision, and the MD5 of the weights of each model that it has."""
        if not (commit := git.commit(revision)):
            raise PipelineError(
                f"there is no run, experiment, revision or model {quoted(revision)} in "
                f"{redact(connection.tracking_uri())}; name one of the models ({', '.join(self._config.models)}), or a "
                "run that `mlflow ui` lists."
            )
        entries = dvc.lock_entries(commit)
        trained = {model: weights for model in self._config.models if (weights := trained_weights(entries, model))}
        if not trained:
            raise PipelineError(
                f"revision {revision} has no trained model of params.yaml in its dvc.lock; choose another revision."
            )
        return commit, trained

    def _of_model(self, model: str) -> list["Run"]:
        return [run for run in self._all if run.data.tags["model"] == model]

    def _with_weights(self, weights: set[str]) -> list["Run"]:
        return [run for run in self._all if run.data.tags[WEIGHTS] in weights]

    def _previous(self, run: "Run") -> "Run | None":
        """The newest earlier run of the same model; one with the same seed and of no sweep, if there is one."""
        runs = self._of_model(run.data.tags["model"])
        earlier = [other for other in runs if other.info.start_time < run.info.start_time]
        alike = [other for other in earlier if other.data.params.get("seed") == run.data.params.get("seed")]
        single = [other for other in alike if not other.data.tags.get("experiment")]
        return next(iter(single or alike or earlier), None)

    def _summary(self, run: "Run") -> RunSummary:
        import pandas as pd

        run_id, metrics = run.info.run_id, run.data.metrics
        curves = {}
        for metric in filter(is_curve, metrics):
            points = self._client.get_metric_history(run_id, metric)
            curves[history_column(metric)] = pd.Series({point.step: point.value for point in points})
        with tempfile.TemporaryDirectory() as folder:
            provenance = _load_provenance(self._client, run, folder)
            path = _download(self._client, run, ModelPaths(provenance.model).predictions.name, folder)
            predictions = load_parquet(path, "pipeline track") if path else None
        return RunSummary(
            id=run_id,
            name=printable(str(run.info.run_name)),
            provenance=provenance,
            metrics={key: value for key, value in metrics.items() if not is_curve(key)},
            history=pd.DataFrame(curves).rename_axis("step").sort_index(),
            predictions=predictions,
        )


def _by_model(runs: Sequence[RunSummary]) -> list[list[RunSummary]]:
    groups: dict[str, list[RunSummary]] = {}
    for run in _unique(runs):
        groups.setdefault(run.model, []).append(run)
    comparable = [group for group in groups.values() if len(group) > 1]
    if not comparable:
        alone = ", ".join(groups)
        raise PipelineError(
            f"there is only one run of each model among these ({alone}), and none to compare it "
            "with; name other runs, or two models. `pipeline report` shows what the workspace adds."
        )
    return comparable


def _unique(runs: Sequence[RunSummary]) -> list[RunSummary]:
    return list({run.id or run.name: run for run in runs}.values())


def _download(client: "MlflowClient", run: "Run", name: str, folder: str) -> Path | None:
    """An artifact of a run, in `folder`; None if the run does not have it."""
    if name not in {file.path for file in client.list_artifacts(run.info.run_id)}:
        return None
    return Path(client.download_artifacts(run.info.run_id, name, folder))


def _load_provenance(client: "MlflowClient", run: "Run", folder: str) -> Provenance:
    path = _download(client, run, PROVENANCE, folder)
    if path is None:
        raise PipelineError(
            f"the run {run.info.run_name} has no {PROVENANCE}: its training did not end, or its artifacts are gone; "
            "run `dvc repro`, then `pipeline track`, or choose another run."
        )
    return lineage.load(path)


def _load_patch(client: "MlflowClient", run: "Run", folder: str) -> str:
    """The uncommitted changes as version 0.3 recorded them: in a file of their own."""
    path = _download(client, run, PATCH, folder)
    if path is None:
        raise PipelineError(
            f"the run {run.info.run_name} was made from uncommitted changes, and its {PATCH} is gone; restore MLflow's "
            "artifacts, or choose another run."
        )
    return path.read_bytes().decode("latin-1")
