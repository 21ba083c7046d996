"""MLflow's experiments: one for each task."""

from typing import TYPE_CHECKING

from pipeline.tracking import ui
from pipeline.tracking.connection import ARTIFACTS, database_file

if TYPE_CHECKING:
    from mlflow import MlflowClient


def experiment_id(client: "MlflowClient", task: str) -> str:
    """The id of a task's experiment, which is created, restored and given its view in the user interface if need be."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(task)
    if experiment is None:
        try:
            experiment = client.get_experiment(client.create_experiment(task, artifact_location=_artifacts(task)))
        except MlflowException:
            experiment = client.get_experiment_by_name(task)
            if experiment is None:
                raise
            # Another process created it in between.
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    if ui.TAG not in experiment.tags:
        for key, value in ui.experiment_tags(task, experiment.experiment_id).items():
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def _artifacts(task: str) -> str | None:
    """Where the artifacts of an experiment go: beside a SQLite file; None if a server chooses.

    MLflow stores it for good, so it has to be absolute.
    """
    file = database_file()
    return (file.parent / ARTIFACTS / task).as_uri() if file else None
