"""Write parameters, metrics and inputs to a run."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import redact
from pipeline.files import md5_of
from pipeline.lineage.provenance import input_kind
from pipeline.paths import TaskPaths
from pipeline.tracking.names import curve

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXAMPLES = TaskPaths("").examples.name


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any]) -> None:
    """Write parameters; their names are those that all models share."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, redact(str(value))) for key, value in params.items()])


def log_metrics(
    client: "MlflowClient", run_id: str, step: int, metrics: Mapping[str, float], model_id: str | None = None
) -> None:
    """Write the metrics of one step, of the run and, with `model_id`, of its model."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    rows = [Metric(key, float(value), now, step, model_id=model_id) for key, value in metrics.items()]
    client.log_batch(run_id, metrics=rows)


def log_report(client: "MlflowClient", run_id: str, row: Mapping[str, float]) -> None:
    """Write a row of history.csv as points of the curves."""
    points = {curve(column): value for column, value in row.items() if column != "step"}
    log_metrics(client, run_id, int(row["step"]), points)


def log_inputs(client: "MlflowClient", run_id: str, dataset: str, inputs: Mapping[str, str]) -> None:
    """Write the examples as MLflow's dataset, with their MD5, and an MD5 of the code's MD5s as a tag."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    data = {path: md5 for path, md5 in inputs.items() if Path(path).name == EXAMPLES}
    for path, md5 in data.items():
        entity = Dataset(dataset, md5, "dvc", json.dumps({"path": path, "md5": md5}))
        client.log_inputs(run_id, datasets=[DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])
    code = sorted((path, md5) for path, md5 in inputs.items() if input_kind(path) == "code")
    client.set_tag(run_id, "code", md5_of(json.dumps(code).encode())[:7])
