"""What is known of an exported model beside its files: its accuracy, its recipe, its commit, its run in MLflow."""

import os
from urllib.parse import urlsplit

from pipeline.demo.exports import Exports
from pipeline.errors import PipelineError
from pipeline.files import load_json, md5
from pipeline.paths import ModelPaths, repro
from pipeline.tracking import connection, schema, ui

UNKNOWN = "not known"
SERVER = "http://127.0.0.1:5000"  # where `mlflow ui` is found by default


def facts(exports: Exports, name: str) -> dict[str, str]:
    """The facts of one model by their names, for a person."""
    info = exports.open(name).info
    paths = ModelPaths(name, exports.root)
    known = {"dataset": info.dataset + (", which stands in for another dataset" if info.stand_in else "")}
    try:
        metrics = load_json(paths.metrics, repro("evaluate", name))
        known["accuracy"] = f"{metrics['accuracy']:.2%} of {metrics['examples']:,} examples"
    except (PipelineError, KeyError, TypeError, ValueError):
        known["accuracy"] = UNKNOWN
    return known | _run(name, paths)


def _run(name: str, paths: ModelPaths) -> dict[str, str]:
    """Recipe, commit and address of the run that made these weights."""
    try:
        weights = md5(paths.weights)
        with connection.connected() as client:
            runs = schema.recorded_runs(client, f"tags.{schema.WEIGHTS} = '{weights}' and tags.model = '{name}'")
    except (PipelineError, OSError) as error:
        return {"recipe": UNKNOWN, "commit": UNKNOWN, "run": f"{UNKNOWN} ({error})"}
    if not runs:
        return {"recipe": UNKNOWN, "commit": UNKNOWN, "run": "none; `pipeline track` records it"}
    run = runs[-1]
    return {
        "recipe": run.data.tags.get("recipe", UNKNOWN),
        "commit": run.data.tags.get("commit", "") or UNKNOWN,
        "run, in `mlflow ui`": f"{_server()}/{ui.run_page(run.info)}",
    }


def _server() -> str:
    """Where the pages of the runs are, without user, password and query."""
    address = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    if not address.scheme.startswith("http"):
        return SERVER
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"
