"""What a run holds and how it is found: the names of tags, parameters and figures, and how they are written."""

import json
import time
from typing import Any

from pipeline.tracking import store

WEIGHTS = "weights"  # the tag that identifies a run: the MD5 of model.weights.h5, as dvc.lock holds it
OUTPUTS = "outputs"  # the tag that says which inputs and outputs were recorded: an MD5 of their MD5s
LIVE = "live"  # the tag of a run whose training has not ended: host and process
MACHINE = ("device", "cudnn", "python", "tensorflow", "keras", "numpy")
CURVES = "train/"  # what comes before the names of a report's figures, so that `accuracy` is the final one alone


def runs(client: Any, wanted: str, view: int | None = None) -> list[Any]:
    """All recorded runs of trained models that fit MLflow's filter, newest first; `view` may add deleted ones."""
    from mlflow.entities import ViewType

    view = ViewType.ACTIVE_ONLY if view is None else view
    experiments = [each.experiment_id for each in client.search_experiments(view_type=view)]
    kept: list[Any] = []
    page = None
    while experiments:
        got = client.search_runs(experiments, wanted, view, order_by=["attributes.start_time DESC"], page_token=page)
        # Not those of a training alone, or of other projects on the same server.
        kept += [each for each in got if each.data.tags.get(OUTPUTS) and {WEIGHTS, "model"} <= set(each.data.tags)]
        if not (page := got.token):
            break
    return kept


def of_weights(client: Any, experiment: str, model: str, weights: str) -> list[Any]:
    """The runs of a trained model, the oldest first: the one that stays."""
    wanted = f"tags.{WEIGHTS} = '{weights}' and tags.model = '{model}'"
    return sorted(client.search_runs([experiment], wanted), key=lambda each: (each.info.start_time, each.info.run_id))


def name(model: str, weights: str, experiment: str) -> str:
    """What a person calls a run: the model, and DVC's experiment or the first of the weights' hash."""
    return f"{model}@{experiment or weights[:7]}"


def subject(model: str, task: str, recipe: str) -> dict[str, str]:
    """The tags that say what was trained."""
    stage = f"train@{model}"
    return {"model": model, "task": task, "recipe": recipe, "stage": stage, "mlflow.source.name": stage}


def origin(commit: str, uncommitted: bool, experiment: str) -> dict[str, str]:
    """The tags that say from what."""
    # MLflow looks for the commit beside sys.argv[0], where a console script has no repository.
    tags = {"commit": commit, "mlflow.source.git.commit": commit, "uncommitted": str(uncommitted).lower()}
    return tags | ({"experiment": experiment} if experiment else {})


def log_params(client: Any, run_id: str, values: dict[str, Any]) -> None:
    """Write parameters by the short names that models share."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, store.masked(str(value))) for key, value in values.items()])


def log_figures(client: Any, run_id: str, step: int, figures: dict[str, float]) -> None:
    """Write figures of one step."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(key, float(value), now, step) for key, value in figures.items()])


def log_report(client: Any, run_id: str, row: dict[Any, float]) -> None:
    """Write a row of a training's history."""
    figures = {f"{CURVES}{key}": value for key, value in row.items() if key != "step"}
    log_figures(client, run_id, int(row["step"]), figures)


def log_inputs(client: Any, run_id: str, inputs: dict[str, str]) -> None:
    """Write every input as a data set with the hash that DVC has of it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    logged = []
    for path, md5 in sorted(inputs.items()):
        context = "data" if path.startswith("data/") else "code"
        dataset = Dataset(path, md5, "dvc", json.dumps({"path": path, "md5": md5}))
        logged.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    if logged:
        client.log_inputs(run_id, logged)
