"""Find runs of trained models in the store."""

from typing import TYPE_CHECKING

from pipeline.tracking.names import CONTENTS, WEIGHTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def recorded_runs(client: "MlflowClient", filter_string: str = "", deleted: bool = False) -> list["Run"]:
    """All recorded runs that match MLflow's filter, newest first; with `deleted`, also those that were deleted.

    Runs whose training has not been evaluated, and runs of other projects on the same server, are left out.
    """
    from mlflow.entities import ViewType

    view_type = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    experiments = [experiment.experiment_id for experiment in client.search_experiments(view_type=view_type)]
    runs: list[Run] = []
    page_token = None
    while experiments:
        page = client.search_runs(
            experiments, filter_string, view_type, order_by=["attributes.start_time DESC"], page_token=page_token
        )
        runs += [run for run in page if run.data.tags.get(CONTENTS) and {WEIGHTS, "model"} <= set(run.data.tags)]
        page_token = page.token
        if not page_token:
            break
    return runs


def runs_with_weights(client: "MlflowClient", experiment_id: str, model: str, weights_md5: str) -> list["Run"]:
    """The runs of one trained model, oldest first. The oldest is kept if there are several."""
    runs = client.search_runs([experiment_id], f"tags.{WEIGHTS} = '{weights_md5}' and tags.model = '{model}'")
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))
