"""Bring MLflow up to date with all that is known of trained models, whoever made them, whenever that was."""

from collections.abc import Iterator
from typing import Any

from pipeline import git, lock
from pipeline.config import Config
from pipeline.errors import BadInput, quoted
from pipeline.outputs import Outputs, remembered, settled, trained, unpacked
from pipeline.tracking import content, live, registry, store
from pipeline.tracking.record import record


def run(revisions: list[str], config: Config, measure: registry.Measure) -> Iterator[str]:
    """Record the models of these revisions; without any, all that is known here. A line for each model."""
    if not revisions:
        yield from everything(config, measure)
    for text in revisions:
        yield from revision(text, config, measure)


def everything(config: Config, measure: registry.Measure) -> Iterator[str]:
    """Record what DVC's cache remembers and MLflow does not know, oldest first, then the workspace.

    A run that a person deleted in MLflow is known, and stays deleted; one of the workspace comes back.
    """
    with store.needed(make=True) as client:
        for task in config.tasks:
            live.forget_killed(client, store.experiment(client, task))
        known = _known(client)
        for model, entries in remembered():
            if model in config.models and trained(entries, model) not in known:
                try:
                    with unpacked(model, entries) as outputs:
                        yield _line(outputs, config, measure, known)
                except BadInput as gone:
                    yield f"note: {content.name(model, trained(entries, model), '')} is not recorded: {gone}"
        for model, spec in config.models.items():
            try:
                yield _line(settled(model, spec.task), config, measure, known)
            except BadInput as reason:
                yield f"note: {model} is left out: {reason}"


def revision(text: str, config: Config, measure: registry.Measure) -> Iterator[str]:
    """Record the models of a commit, branch, tag or DVC experiment, their files taken from git and DVC's cache."""
    if not (commit := git.commit(text)):
        raise BadInput(
            f"there is no revision {quoted(text)}; `git log` and `dvc exp list` show those that are here, `git fetch` "
            "and `dvc exp pull` bring others."
        )
    entries = lock.stages(commit)
    models = [model for model in config.models if trained(entries, model)]
    if not models:
        raise BadInput(f"revision {text} holds no trained model: its dvc.lock names none of params.yaml's.")
    with store.needed(make=True) as client:
        known = _known(client)
        for model in models:
            with unpacked(model, entries, commit) as outputs:
                yield _line(outputs, config, measure, known)


def _line(outputs: Outputs, config: Config, measure: registry.Measure, known: set[str]) -> str:
    name, done = record(outputs, config, measure), "up to date:" if outputs.weights in known else "recorded"
    known.add(outputs.weights)
    return f"{done} {name}"


def _known(client: Any) -> set[str]:
    from mlflow.entities import ViewType

    return {run.data.tags[content.WEIGHTS] for run in content.runs(client, "", ViewType.ALL)}
