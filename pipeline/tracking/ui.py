"""What `mlflow ui` shows: descriptions, and a saved view of an experiment's runs with its columns and charts."""

import colorsys
import json
import time
from typing import TYPE_CHECKING, Any

from pipeline.tracking.names import CURVES

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

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
