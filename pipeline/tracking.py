"""The only module that knows MLflow: one run a trained model, found by the hash of its weights.

MLflow is never in the way: whatever it cannot take down becomes one warning, and `pipeline track` fills it in later
from the outputs, which hold all of it but the seconds.
"""

import hashlib
import json
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import data, results
from pipeline.config import Config

Tell = Callable[[int, dict[str, float]], None]
WEIGHTS = "weights"  # the tag that identifies a run: the MD5 of model.weights.h5, as dvc.lock holds it
FIGURES = "figures"  # the tag that says which metrics.json was recorded, by its MD5
LIVE = "live"  # the tag of a run whose training has not ended
LATER = "the training goes on; run `pipeline track` when it can be reached again."


def store() -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or mlflow.db at the root of the repository."""
    # Under `dvc exp run --temp`, DVC_ROOT is the repository and not its temporary copy.
    root = Path(os.environ.get("DVC_ROOT", Path.cwd())).resolve()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


@contextmanager
def live(name: str, config: Config) -> Iterator[Tell]:
    """A run that the training of model `name` tells its reports to, while it goes on."""
    run: Any = None
    client: Any = None
    try:
        client = _client()
        run = _start(client, name, config, {LIVE: "true"})
    except Exception as error:  # the store is locked, full, gone: none of the training's business
        _warn(name, error)

    def tell(step: int, figures: dict[str, float]) -> None:
        nonlocal run
        if run is None:
            return
        try:
            _log(client, run, step, _curves(figures))
        except Exception as error:
            _warn(name, error)
            run = None

    try:
        yield tell
    except BaseException:
        if run is not None:
            client.set_terminated(run, "FAILED")
        raise
    if run is not None:
        try:
            weights = _md5(data.MODELS / name / "model.weights.h5")
            client.set_terminated(run, "FINISHED")
            if _find(client, name, config, weights) is not None:
                client.delete_run(run)  # the same model was trained again: its run is there
            else:
                client.set_tag(run, WEIGHTS, weights)
                client.delete_tag(run, LIVE)
        except Exception as error:
            _warn(name, error)


def record(name: str, config: Config) -> None:
    """Bring MLflow up to date with the outputs of model `name`: as often as one likes, without a second copy."""
    folder = data.MODELS / name
    data.need(folder / "metrics.json", f"dvc repro evaluate@{name}")
    data.need(folder / "model.weights.h5", f"dvc repro train@{name}")
    try:
        client = _client()
        weights, figures = _md5(folder / "model.weights.h5"), _md5(folder / "metrics.json")
        run = _find(client, name, config, weights)
        if run is None:
            run = _start(client, name, config, {WEIGHTS: weights})
            _curve(client, run, folder)
            client.set_terminated(run, "FINISHED")
        elif client.get_run(run).data.tags.get(FIGURES) == figures:
            return
        content = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        _log(client, run, 0, {key: value for key, value in content.items() if not isinstance(value, str)})
        for key, value in results.last_run(name).items():
            client.set_tag(run, f"training.{key}", str(value))
        client.set_tag(run, "dataset", content["dataset"])
        for file in ("errors.png", "metrics.json", "history.csv", "confusion.csv", "by_class.csv"):
            client.log_artifact(run, str(folder / file))
        client.log_artifacts(run, str(folder / "export"), "export")
        client.set_tag(run, FIGURES, figures)  # last: without it, the next record does all of this again
    except Exception as error:
        _warn(name, error)


def _client() -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import logging

    from mlflow import MlflowClient

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient(store())


def _experiment(client: Any, task: str) -> str:
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(task)) is not None:
        return str(found.experiment_id)
    # MLflow keeps this place as an absolute address; a server chooses its own.
    uri = store()
    place = (
        (Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts" / task).as_uri() if uri[:6] == "sqlite" else None
    )
    try:
        return str(client.create_experiment(task, artifact_location=place))
    except MlflowException:  # another process made it in between
        return str(client.get_experiment_by_name(task).experiment_id)


def _find(client: Any, name: str, config: Config, weights: str) -> str | None:
    experiment = _experiment(client, config.model(name).task)
    runs = client.search_runs([experiment], f"tags.{WEIGHTS} = '{weights}' and tags.model = '{name}'", max_results=1)
    return str(runs[0].info.run_id) if runs else None


def _start(client: Any, name: str, config: Config, tags: dict[str, str]) -> str:
    from mlflow.entities import Param

    model = config.model(name)
    tags = tags | {"model": name, "recipe": config.recipe, **_commit()}
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = experiment
    run = client.create_run(_experiment(client, model.task), tags=tags, run_name=f"{name} {config.recipe}")
    params = {
        "seed": config.seed,
        "recipe": config.recipe,
        "network": model.network.model_dump(),
        **config.lesson(name).model_dump(),
        **config.task(model.task).model_dump(),
    }
    client.log_batch(run.info.run_id, params=[Param(key, str(value)) for key, value in _flat(params).items()])
    return str(run.info.run_id)


def _log(client: Any, run: str, step: int, figures: dict[str, float]) -> None:
    import time

    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run, metrics=[Metric(key, float(value), now, step) for key, value in figures.items()])


def _curve(client: Any, run: str, folder: Path) -> None:
    import pandas as pd

    for row in pd.read_csv(folder / "history.csv").to_dict("records"):
        _log(client, run, int(row["step"]), _curves(row))


def _curves(row: dict[Any, float]) -> dict[str, float]:
    """A report's figures under names of their own, so that `accuracy` is the final one alone."""
    return {f"train/{key}": value for key, value in row.items() if key != "step"}


def _flat(params: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(params, dict):
        return {at: params}
    return {
        key: value for name, part in params.items() for key, value in _flat(part, f"{at}.{name}".lstrip(".")).items()
    }


def _commit() -> dict[str, str]:
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    # MLflow looks beside sys.argv[0], where a console script has no repository.
    return {
        "mlflow.source.git.commit": git("rev-parse", "HEAD"),
        "uncommitted": str(
            bool(git("status", "--porcelain", "--", "pipeline", "params.yaml", "dvc.yaml", "data"))
        ).lower(),
    }


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def _warn(name: str, error: Exception) -> None:
    reason = " ".join(str(error).split())[:200]
    warnings.warn(f"MLflow did not take down all of {name} ({reason}); {LATER}", stacklevel=3)
