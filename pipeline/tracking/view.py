"""What a person finds in `mlflow ui`: a saved view of an experiment's runs, its columns and charts chosen."""

import json
import time
from typing import Any

KEY = "runs"
TAG = f"mlflow.sharedViewState.{KEY}"  # where MLflow's own "Save view" would put it
COLUMNS = {  # with their widths
    "metrics.`accuracy`": 100,
    "metrics.`wrong`": 75,
    "metrics.`training_seconds`": 125,
    "params.`recipe`": 85,
    "params.`network.lstm`": 105,
    "params.`steps`": 70,
    "params.`batch`": 70,
    "params.`rate`": 70,
    "tags.`dataset`": 110,
    "attributes.`Models`": 170,
    "tags.`commit`": 100,
    "tags.`device`": 190,
    "tags.`experiment`": 110,
}
CURVES = ("train/accuracy", "train/monitor_accuracy", "train/loss")
RESULTS = ("wrong", "training_seconds")
SECTIONS = {"Learning curves": True, "Results": True, "train": False, "Model metrics": False}  # name: unfolded


def tags(task: str, experiment: str) -> dict[str, str]:
    """The tags of an experiment that lead to the view: its description, and the view itself."""
    address = f"#/experiments/{experiment}/runs?viewStateShareKey={KEY}&workflowType=machine_learning"
    note = (
        f"One run for each trained model of the task `{task}`: "
        f"[figures and parameters]({address}) or [learning curves]({address}&compareRunsMode=CHART)."
    )
    now = int(time.time() * 1000)
    saved = {"name": "Figures and curves", "createdAt": now, "updatedAt": now, "state": json.dumps(_state())}
    return {
        "mlflow.experimentKind": "custom_model_development",  # or the browser may show it as a chat application
        "mlflow.note.content": note,
        TAG: json.dumps(saved),
    }


def note(experiment: str, run_id: str, name: str, figures: dict[str, Any]) -> str:
    """What stands at the head of a run's page: what came of it, where to look, and how to have it again."""
    page = f"#/experiments/{experiment}/runs/{run_id}"
    return (
        f"**{figures['wrong']:,} of {figures['examples']:,} wrong** on {figures['dataset']}: {figures['accuracy']:.3%} "
        f"right. Its [learning curves]({page}/model-metrics) and [what it gets wrong]({page}/artifacts/errors.png). "
        f"The same again: `pipeline reproduce {name}`"
    )


def _state() -> dict[str, Any]:
    """The state of MLflow's page: what is left out is as MLflow has it."""
    lines = {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""}  # left out, it smooths by 70 %
    charts = [_chart("LINE", "Learning curves", key) | lines for key in CURVES]
    charts += [_chart("BAR", "Results", key) for key in RESULTS]
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


def _chart(kind: str, section: str, key: str) -> dict[str, Any]:
    return {
        "uuid": f"{section} {key}",
        "type": kind,
        "metricSectionId": section,
        "metricKey": key,
        "runsCountToCompare": 10,
        "deleted": False,
        "isGenerated": False,
    }
