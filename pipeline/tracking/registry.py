"""MLflow's registry: each exported model is a version; of each dataset, one that passed the gate is the champion.

The title is an alias of the registered model: champion-mnist. Only `promote` gives it.
"""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Gate
from pipeline.inference import evaluation
from pipeline.lineage.artifacts import Artifacts
from pipeline.lineage.provenance import Provenance
from pipeline.paths import ModelPaths, TaskPaths
from pipeline.tracking.connection import tracking_uri
from pipeline.tracking.gate import Champion, Verdict, judge
from pipeline.tracking.schema import CHAMPION

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAKES = "It takes texts, pictures in base64, or features, float32 `sequence`."


def register_version(
    client: "MlflowClient", run_id: str, model_id: str, artifacts: Artifacts, provenance: Provenance
) -> str:
    """Make the model of a run a version, unless it is one already, and tag it with what the gate compares.

    Returns the version.
    """
    from mlflow.exceptions import MlflowException

    model, onnx_md5, metrics = provenance.model, _onnx_md5(provenance), artifacts.metrics()
    try:
        client.create_registered_model(model, description=f"Task {provenance.task}. {TAKES}")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    same = f"name = '{model}' and tags.model = '{onnx_md5}' and run_id = '{run_id}'"
    if versions := client.search_model_versions(same):
        version = str(versions[0].version)
    else:
        # Not models:/ID, which MLflow looks up in the store of the working folder.
        source = client.get_logged_model(model_id).artifact_location
        version = str(client.create_model_version(model, source, run_id, model_id=model_id).version)
    if version != champion_version(client, model, metrics["dataset"]):  # the champion keeps what it was judged by
        tags = {
            "model": onnx_md5,
            "examples": _examples_md5(provenance),
            "dataset": metrics["dataset"],
            "accuracy": repr(metrics["accuracy"]),
        }
        for key, value in tags.items():
            client.set_model_version_tag(model, version, key, value)
    return version


def assess(
    client: "MlflowClient", version: str, artifacts: Artifacts, provenance: Provenance, gate: Gate
) -> Verdict | None:
    """Judge a version against the champion on the artifacts' test data, and describe it by the verdict.

    Returns the verdict; None if it is the champion already.
    """
    model, metrics = provenance.model, artifacts.metrics()
    present = champion_version(client, model, metrics["dataset"])
    if present == version:
        return None
    champion = _champion(client, model, present, _examples_md5(provenance), artifacts.task) if present else None
    verdict = judge(model, metrics, gate, champion)
    outcome = "passed" if verdict.passed else "did not pass"
    client.set_model_version_tag(model, version, "verdict", outcome)
    client.update_model_version(model, version, f"{outcome}: {'; '.join(verdict.reasons)}.")
    return verdict


def promote(
    client: "MlflowClient", model: str, dataset: str, version: str, verdict: Verdict | None
) -> tuple[bool, str]:
    """Make a version the champion of a dataset if its verdict lets it pass; None: it is the champion already.

    Returns whether it is the champion now, and a sentence.
    """
    name = f"{model} version {version}"
    if verdict is None:
        return True, f"{name} is the champion of {dataset} already"
    reasons = "; ".join(verdict.reasons)
    if not verdict.passed:
        return False, f"{name} is not promoted: {reasons}"
    client.set_registered_model_alias(model, alias(dataset), version)
    return True, f"{name} is the champion of {dataset} now: {reasons}"


def alias(dataset: str) -> str:
    """The alias of the champion: MLflow takes letters, digits, _ and -."""
    return CHAMPION + re.sub(r"[^A-Za-z0-9_-]+", "-", dataset)


def champion_version(client: "MlflowClient", model: str, dataset: str) -> str:
    """The version that is the champion of a dataset; "" if there is none."""
    return str(client.get_registered_model(model).aliases.get(alias(dataset), ""))  # MLflow gives a number or a text


def _champion(client: "MlflowClient", model: str, version: str, examples_md5: str, task: TaskPaths) -> Champion:
    """The champion with its accuracy on these examples: as recorded, if they are the same, else measured now."""
    from mlflow.artifacts import download_artifacts

    champion = client.get_model_version(model, version)
    name = f"version {version}"
    if examples_md5 and champion.tags.get("examples") == examples_md5:
        return Champion(name, float(champion.tags["accuracy"]))
    with tempfile.TemporaryDirectory() as folder:
        package = download_artifacts(
            str(champion.source), dst_path=folder, tracking_uri=tracking_uri(), registry_uri=tracking_uri()
        )
        (onnx,) = Path(package).rglob(ModelPaths(model).onnx.name)
        try:
            return Champion(name, evaluation.accuracy(onnx, task))
        except ValueError:  # other shapes or classes
            return Champion(name, None)


def _onnx_md5(provenance: Provenance) -> str:
    return provenance.outputs[str(ModelPaths(provenance.model).onnx)]


def _examples_md5(provenance: Provenance) -> str:
    return provenance.inputs.get(str(TaskPaths(provenance.task).examples), "")
