"""`mlflow ui` on this machine, and what it shows: descriptions, and a saved view of the runs with its charts."""

import colorsys
import json
import os
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pipeline.config import Config
from pipeline.errors import PipelineError, redact
from pipeline.tracking import connection
from pipeline.tracking.schema import CURVES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

HOST = "127.0.0.1"
SECONDS = 120  # until the server must answer
VIEW = "runs"  # the key of the saved view
TAG = f"mlflow.sharedViewState.{VIEW}"  # the tag in which MLflow's own "Save view" puts it
COLOUR = "mlflow.runColor"  # the tag of a run's colour in charts
DESCRIPTION = "mlflow.note.content"  # the tag of the description of a run or an experiment
COLUMNS = {  # with their widths
    "metrics.`accuracy`": 100,
    "metrics.`wrong`": 75,
    "metrics.`training_seconds`": 125,
    "params.`recipe`": 85,
    "params.`seed`": 60,
    "params.`network.cell`": 105,
    "params.`network.units`": 105,
    "params.`steps`": 70,
    "params.`batch_size`": 85,
    "params.`learning_rate`": 105,
    "tags.`dataset`": 110,
    "attributes.`Models`": 170,
    "tags.`commit`": 100,
    "tags.`device`": 190,
    "tags.`experiment`": 110,
}
# MLflow hides the charts of curves that no run has.
CHARTS = ("train/accuracy", "validation/accuracy", "test/accuracy", "train/loss")
RESULTS = ("wrong", "training_seconds")
# MLflow's own sections, one for each prefix of metrics, are folded: they would repeat the charts above.
SECTIONS = {"Learning curves": True, "Results": True}
SECTIONS |= dict.fromkeys([*(prefix.rstrip("/") for prefix in CURVES), "Model metrics"], False)


def serve(config: Config, port: int, browser: bool, report: Callable[[str], None]) -> None:
    """Start the user interface on this machine, say its address, open it, and wait for Ctrl-C.

    Raises PipelineError if the store is a server, which has a user interface already, or if the port is taken.
    """
    _require_free(port)  # another server there would answer in the place of ours
    uri = connection.tracking_uri()
    if uri.startswith(("http://", "https://")):
        raise PipelineError(f"the MLflow store is a server; open {redact(uri)} in a browser.")
    with connection.connected() as client:
        experiment = client.get_experiment_by_name(next(iter(config.tasks)))
    start = page(experiment.experiment_id) if experiment else ""
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": uri,  # not an argument: a list of processes would show a password
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # more processes, for what this project does not use
    }
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(server, port)
            report(f"{address}/{start} (Ctrl-C ends it)")
            if browser:
                webbrowser.open(f"{address}/{start}")
            server.wait()
        except KeyboardInterrupt:
            report("")
        finally:
            server.terminate()


def page(experiment_id: str) -> str:
    """The page that shows the runs of an experiment in the saved view."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}&workflowType=machine_learning"


def experiment_tags(task: str, experiment_id: str) -> dict[str, str]:
    """The tags of an experiment: its description, which links to the saved view, and the view itself."""
    address = page(experiment_id)
    description = (
        f"One run for each trained model of the task `{task}`: "
        f"[metrics and parameters]({address}) or [learning curves]({address}&compareRunsMode=CHART)."
    )
    now = int(time.time() * 1000)
    view = {"name": "Metrics and curves", "createdAt": now, "updatedAt": now, "state": json.dumps(_view_state())}
    return {
        # Without it, the browser may show the experiment as a chat application.
        "mlflow.experimentKind": "custom_model_development",
        DESCRIPTION: description,
        TAG: json.dumps(view),
    }


def run_page(run: "RunInfo") -> str:
    """The page of one run."""
    return f"#/experiments/{run.experiment_id}/runs/{run.run_id}"


def run_description(run: "RunInfo", metrics: dict[str, Any]) -> str:
    """The description of a run: its result, links to its curves and errors, and how to reproduce it."""
    page = run_page(run)
    return (
        f"**{metrics['wrong']:,} of {metrics['examples']:,} wrong** on {metrics['dataset']}: accuracy "
        f"{metrics['accuracy']:.3%}. See its [learning curves]({page}/model-metrics) and "
        f"[what it gets wrong]({page}/artifacts/errors.png). Reproduce it with `pipeline reproduce {run.run_name}`."
    )


def next_colour(client: "MlflowClient", experiment_id: str) -> str:
    """A colour that differs from those of the runs before."""
    return colour(len(client.search_runs([experiment_id], f"tags.`{COLOUR}` LIKE '#%'", max_results=1000)))


def colour(number: int) -> str:
    """The colour of a run by its number, #rrggbb: each hue is the golden angle away from the last."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.381966 % 1, 0.75, 0.8)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _view_state() -> dict[str, Any]:
    """The state of MLflow's page; what is left out keeps MLflow's default."""
    lines = {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""}  # MLflow's default smooths by 70 %
    scales = {metric: {"scaleType": "log"} if metric.endswith("loss") else {} for metric in CHARTS}
    charts = [_chart("LINE", "Learning curves", metric) | lines | scales[metric] for metric in CHARTS]
    charts += [_chart("BAR", "Results", metric) for metric in RESULTS]
    return {
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(COLUMNS),
        "columnOrder": list(COLUMNS),
        "columnWidths": COLUMNS,
        "compareRunSections": [
            {"uuid": name, "name": name, "display": unfolded, "isReordered": True}
            for name, unfolded in SECTIONS.items()
        ],
        "compareRunCharts": charts,
        "isAccordionReordered": True,
        "globalLineChartConfig": lines,
    }


def _chart(kind: str, section: str, metric: str) -> dict[str, Any]:
    return {
        "uuid": f"{section} {metric}",
        "type": kind,
        "metricSectionId": section,
        "metricKey": metric,
        "runsCountToCompare": 10,
        "deleted": False,
        "isGenerated": False,
    }


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PipelineError(f"port {port} cannot be used ({error.strerror}); choose another with --port.") from None


def _wait(server: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(SECONDS * 5):
        if server.poll() is not None:
            break
        with suppress(OSError), socket.create_connection((HOST, port), timeout=5):
            return
        time.sleep(0.2)
    raise PipelineError(f"`mlflow ui` did not start at http://{HOST}:{port}; start it yourself to see why.")
