"""Bring MLflow up to date with all trained models of this repository, wherever and whenever they were trained."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.errors import PipelineError, quoted
from pipeline.lineage import dvc, git
from pipeline.lineage.artifacts import (
    Artifacts,
    checked_out,
    from_run_cache,
    trained_models,
    trained_weights,
    verified_workspace,
)
from pipeline.tracking import connection
from pipeline.tracking.live import delete_killed_runs
from pipeline.tracking.record import record
from pipeline.tracking.schema import WEIGHTS, recorded_runs, run_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    Recorded = dict[tuple[str, str, str], Run]  # by task, model and MD5 of the weights


def track(revisions: list[str], config: Config) -> Iterator[str]:
    """Record the models of these revisions; without any, all that the repository has. Yields a line for each model."""
    with connection.connected(create=True) as client:
        runs = recorded_runs(client, deleted=True)
        ever = {_trained(run)[1:] for run in runs}
        # The oldest run of each trained model, as in `schema.runs_with_weights`: the newest come first.
        recorded = {_trained(run): run for run in runs if run.info.lifecycle_stage == "active"}
        if not revisions:
            yield from _track_all(client, config, recorded, ever)
        for revision in revisions:
            yield from _track_revision(client, revision, config, recorded)


def _track_all(
    client: "MlflowClient", config: Config, recorded: "Recorded", ever: set[tuple[str, str]]
) -> Iterator[str]:
    """Record the models of DVC's run cache that MLflow never had, oldest first, then those of the workspace.

    `ever` are the model and the weights of all runs, also of deleted ones: a run that a user deleted in MLflow stays
    deleted, unless its model is in the workspace.
    """
    for task in config.tasks:
        delete_killed_runs(client, task)
    for model, entries in from_run_cache(lambda *trained: trained[0] in config.models and trained not in ever):
        weights = trained_weights(entries, model)
        if (model, weights) in ever:  # by now
            continue
        try:
            with checked_out(model, entries) as artifacts:
                yield _record(client, artifacts, config, recorded)
            ever.add((model, weights))
        except PipelineError as error:
            yield f"note: {run_name(model, weights, '')} is not recorded: {error}"
    here = dvc.lock_entries()
    for setup in config.all_models():
        try:
            yield _record(client, verified_workspace(setup.name, setup.task.name, here), config, recorded)
        except PipelineError as error:
            yield f"note: {setup.name} is skipped: {error}"


def _track_revision(client: "MlflowClient", revision: str, config: Config, recorded: "Recorded") -> Iterator[str]:
    """Record the models of a commit, branch, tag or DVC experiment, with their files from git and DVC's cache."""
    if not (commit := git.commit(revision)):
        raise PipelineError(
            f"there is no revision {quoted(revision)}; `git log` and `dvc exp list` show those that are here, "
            "`git fetch` and `dvc exp pull` fetch others."
        )
    entries, failures = dvc.lock_entries(commit), 0
    models = trained_models(entries, config.models, revision)
    for model in models:
        try:
            with checked_out(model, entries, commit) as artifacts:
                yield _record(client, artifacts, config, recorded)
        except PipelineError as error:
            failures += 1
            yield f"note: {model} at {revision} is not recorded: {error}"
    if failures == len(models):
        raise PipelineError(
            f"no model of {revision} could be recorded; `pipeline compare {revision} workspace` shows what git holds."
        )


def _record(client: "MlflowClient", artifacts: Artifacts, config: Config, recorded: "Recorded") -> str:
    """Record one model, add its run to `recorded`, and return the line for it."""
    trained = artifacts.task.name, artifacts.model, artifacts.weights_md5
    known = recorded.get(trained)
    run = record(client, artifacts, config.model(artifacts.model).params.gate, known=known).run
    if known is None:
        recorded[trained] = client.get_run(run.info.run_id)  # with all that was written
    return f"{'recorded' if known is None else 'up to date:'} {run.info.run_name}"


def _trained(run: "Run") -> tuple[str, str, str]:
    """What a run is of: the task, the model, and the MD5 of the weights."""
    tags = run.data.tags
    return tags.get("task", ""), tags["model"], tags[WEIGHTS]
