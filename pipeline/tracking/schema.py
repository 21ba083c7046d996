"""What a run holds, by the names of its tags, curves, artifacts and aliases, and how runs are found and read."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.errors import PipelineError
from pipeline.lineage import provenance as lineage
from pipeline.lineage.provenance import Provenance
from pipeline.paths import stage

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

WEIGHTS = "weights"  # the tag that identifies a run: the MD5 of the weights, as dvc.lock has it
DATASET = "dataset"  # the tag that a run gets last: it is recorded
SWEEP = "sweep"  # the tag of a trial: the name of its sweep
LIVE = "live"  # the tag of a run whose training has not ended: host and process
# Tags, and keys of the environment.
ENVIRONMENT = ("device", "cudnn", "workers", "python", "tensorflow", "keras", "numpy")
CURVES = ("train/", "validation/", "test/")  # prefixes of curves; a metric without one is final
CHAMPION = "champion-"  # the alias of a version that is the champion of a dataset begins with it
PROVENANCE = "provenance.json"  # an artifact
PATCH = "changes.patch"  # an artifact of version 0.3, if there were uncommitted changes
MOST = 50_000  # runs that MLflow returns at once


def run_name(model: str, weights_md5: str, experiment: str) -> str:
    """The name of a run: the model, and DVC's name of the experiment or the first digits of the weights' MD5."""
    return f"{model}@{experiment or weights_md5[:7]}"


def tags(provenance: Provenance) -> dict[str, str]:
    """The tags that say what was trained, and from which code and parameters."""
    address, commit = stage("train", provenance.model), provenance.commit
    named = {"model": provenance.model, "task": provenance.task, "recipe": provenance.recipe, "stage": address}
    # MLflow would look for both beside sys.argv[0], which is not in the repository for a console script.
    named |= {"mlflow.source.name": address, "mlflow.source.git.commit": commit}
    named |= {"commit": commit, "uncommitted": str(provenance.uncommitted).lower()}
    named |= {key: str(provenance.environment[key]) for key in ENVIRONMENT if key in provenance.environment}
    return named | ({"experiment": provenance.experiment} if provenance.experiment else {})


def curve(column: str) -> str:
    """The curve of a column of history.csv: `accuracy` is train/accuracy, `test_accuracy` is test/accuracy."""
    split, _, metric = column.partition("_")
    return f"{split}/{metric}" if f"{split}/" in CURVES[1:] else CURVES[0] + column


def recorded_runs(client: "MlflowClient", filter_string: str = "", deleted: bool = False) -> list["Run"]:
    """All recorded runs that match MLflow's filter, newest first; with `deleted`, also those that were deleted.

    Runs whose training has not been evaluated, and runs of other projects on the same server, are left out.
    """
    from mlflow.entities import ViewType

    view_type = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    experiments = [experiment.experiment_id for experiment in client.search_experiments(view_type=view_type)]
    if not experiments:
        return []
    runs = client.search_runs(experiments, filter_string, view_type, MOST, ["attributes.start_time DESC"])
    return [run for run in runs if {WEIGHTS, "model", DATASET} <= set(run.data.tags)]


def runs_with_weights(client: "MlflowClient", experiment_id: str, model: str, weights_md5: str) -> list["Run"]:
    """The runs of one trained model, oldest first. The oldest is kept if there are several."""
    runs = client.search_runs([experiment_id], f"tags.{WEIGHTS} = '{weights_md5}' and tags.model = '{model}'")
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def download(client: "MlflowClient", run: "Run", path: Path, folder: Path) -> Path | None:
    """The artifact of a run that has the name of `path`: itself, if it is on this machine, else a copy in `folder`.

    It is only to be read. None if the run does not have it.
    """
    location = urlsplit(run.info.artifact_uri)
    if location.scheme == "file":  # MLflow takes 50 ms to find and to copy a file
        here = Path(url2pathname(location.path)) / path.name
        return here if here.is_file() else None
    if path.name not in {file.path for file in client.list_artifacts(run.info.run_id)}:
        return None
    return Path(client.download_artifacts(run.info.run_id, path.name, str(folder)))


def load_provenance(client: "MlflowClient", run: "Run") -> Provenance:
    """The provenance of a run. Raises PipelineError if it is missing or damaged."""
    with tempfile.TemporaryDirectory() as folder:
        path = download(client, run, Path(PROVENANCE), Path(folder))
        if path is None:
            raise PipelineError(
                f"the run {run.info.run_name} has no {PROVENANCE}: its training did not end, or its artifacts are "
                "gone; run `dvc repro`, then `pipeline track`, or choose another run."
            )
        provenance = lineage.load(path)
        patch = None if provenance.patch else download(client, run, Path(PATCH), Path(folder))
        return replace(provenance, patch=patch.read_bytes().decode("latin-1")) if patch else provenance
