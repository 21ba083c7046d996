"""A run while its model trains. MLflow is never in the way: what it cannot take down becomes one warning."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import run
from pipeline.config import Config
from pipeline.outputs import workspace
from pipeline.tracking import content, store

Tell = Callable[[int, dict[str, float]], None]


@contextmanager
def live(name: str, config: Config, made_from: run.Source) -> Iterator[Tell]:
    """A run that the training of model `name` tells its reports to, while it goes on."""
    attempt = store.Attempt(name)
    client = attempt("the training", store.client)
    run_id = attempt("the training", lambda: _begin(client, name, config, made_from))

    def tell(step: int, figures: dict[str, float]) -> None:
        attempt(f"the training from step {step} on", lambda: content.log_report(client, run_id, figures))

    try:
        yield tell
    except BaseException:
        attempt("the training's end", lambda: _stopped(client, run_id, name))
        raise
    attempt("the training's end", lambda: _end(client, run_id, name, config.model(name).task))


def _begin(client: Any, name: str, config: Config, made_from: run.Source) -> str:
    experiment = store.experiment(client, config.model(name).task)
    forget_killed(client, experiment)  # their training goes on in a new run
    tags = {content.LIVE: f"{_host()} {os.getpid()}"}
    tags |= content.subject(name, config.model(name).task, config.recipe)
    tags |= content.origin(made_from.commit, bool(made_from.patch), os.environ.get("DVC_EXP_NAME", ""))
    made = client.create_run(experiment, tags=tags, run_name=f"{name}@training")
    content.log_params(client, made.info.run_id, {"recipe": config.recipe} | run.short(run.params(config, name)))
    return str(made.info.run_id)


def forget_killed(client: Any, experiment: str) -> None:
    """Delete the runs of trainings that this machine began and that ended without a word."""
    for left in client.search_runs([experiment], f"tags.{content.LIVE} LIKE '{_host()} %'"):
        process = left.data.tags[content.LIVE].split()[-1]
        if not Path(f"/proc/{process}").exists() and Path("/proc").is_dir():
            client.delete_run(left.info.run_id)


def _stopped(client: Any, run_id: str, name: str) -> None:
    client.set_terminated(run_id, "FAILED")
    client.update_run(run_id, name=f"{name}@stopped")
    client.delete_tag(run_id, content.LIVE)


def _end(client: Any, run_id: str, name: str, task: str) -> None:
    client.set_terminated(run_id, "FINISHED")
    weights = workspace(name, task).weights
    client.set_tag(run_id, content.WEIGHTS, weights)
    client.update_run(run_id, name=content.name(name, weights, os.environ.get("DVC_EXP_NAME", "")))
    client.delete_tag(run_id, content.LIVE)
    # The same model may have been trained before, or by another process just now: the oldest run stays.
    for more in content.of_weights(client, store.experiment(client, task), name, weights)[1:]:
        client.delete_run(more.info.run_id)


def _host() -> str:
    return socket.gethostname()
