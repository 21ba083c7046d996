"""Write parameters, metrics and inputs to a run."""

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.lineage.provenance import input_kind
from pipeline.tracking.connection import redact
from pipeline.tracking.names import curve

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any]) -> None:
    """Write parameters; their names are those that all models share."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, redact(str(value))) for key, value in params.items()])


def log_metrics(client: "MlflowClient", run_id: str, step: int, metrics: Mapping[str, float]) -> None:
    """Write the metrics of one step."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(key, float(value), now, step) for key, value in metrics.items()])


def log_report(client: "MlflowClient", run_id: str, row: Mapping[str, float]) -> None:
    """Write a row of history.csv as points of the curves."""
    points = {curve(column): value for column, value in row.items() if column != "step"}
    log_metrics(client, run_id, int(row["step"]), points)


def log_inputs(client: "MlflowClient", run_id: str, inputs: Mapping[str, str]) -> None:
    """Write every input (path: MD5) as one of MLflow's datasets."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    datasets = []
    for path, md5 in sorted(inputs.items()):
        dataset = Dataset(path, md5, "dvc", json.dumps({"path": path, "md5": md5}))
        datasets.append(DatasetInput(dataset, [InputTag("mlflow.data.context", input_kind(path))]))
    if datasets:
        client.log_inputs(run_id, datasets=datasets)
