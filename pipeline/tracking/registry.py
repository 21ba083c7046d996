"""MLflow's registry: each exported model is a version; of each dataset, one that passed the gate is the champion.

The title is an alias of the registered model: champion-mnist. Only `promote` gives it.
"""

import re
import tempfile
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import tasks
from pipeline.config import Gate
from pipeline.dataset import load_examples
from pipeline.files import load_json
from pipeline.inference import predict_split
from pipeline.lineage.artifacts import Artifacts
from pipeline.lineage.provenance import Provenance
from pipeline.paths import ModelPaths, TaskPaths, repro
from pipeline.tracking.gate import Champion, Verdict, judge

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion-"  # an alias begins with it
ONNX_FILE = "model.onnx"  # MLflow's name for it, in the folder of a packaged model
REQUIREMENTS = ("mlflow", "numpy", "onnx", "onnxruntime")  # what a packaged model needs to answer


def package_name(provenance: Provenance) -> str:
    """The artifact's folder. It has the ONNX file's hash in its name, so that no version ever changes."""
    return _package_name(_onnx_md5(provenance))


def package(artifacts: Artifacts, folder: Path) -> None:
    """Write an exported model in MLflow's format: the ONNX file with its signature and an input example."""
    import mlflow.onnx
    import numpy as np
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    examples = load_examples(artifacts.task)
    info = examples.info
    encoded, _ = examples.eval_split()
    float32 = np.dtype(np.float32)
    mlflow.onnx.save_model(
        onnx.load(artifacts.paths.onnx),
        folder,
        signature=ModelSignature(
            Schema([TensorSpec(float32, (-1, *info.shape), "sequence")]),
            Schema([TensorSpec(float32, (-1, len(info.class_names)), "probabilities")]),
        ),
        input_example={"sequence": tasks.load(artifacts.task.name).features(encoded[:1], info)},
        pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        metadata=load_json(artifacts.paths.info, repro("export", artifacts.model)),
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )


def register_version(client: "MlflowClient", run_id: str, artifacts: Artifacts, provenance: Provenance) -> str:
    """Make the packaged model of a run a version, unless it is one already, and tag it with what the gate compares.

    Returns the version.
    """
    from mlflow.exceptions import MlflowException

    model, onnx_md5, metrics = provenance.model, _onnx_md5(provenance), artifacts.metrics()
    try:
        client.create_registered_model(model, description=f"Task {provenance.task}; pass float32 `sequence`.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    same = f"name = '{model}' and tags.model = '{onnx_md5}' and run_id = '{run_id}'"
    if versions := client.search_model_versions(same):
        version = str(versions[0].version)
    else:
        source = f"runs:/{run_id}/{package_name(provenance)}"
        version = str(client.create_model_version(model, source, run_id).version)
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


def promote(client: "MlflowClient", model: str, version: str, dataset: str) -> None:
    """Make a version the champion of a dataset."""
    client.set_registered_model_alias(model, alias(dataset), version)


def alias(dataset: str) -> str:
    """The alias of the champion: MLflow takes letters, digits, _ and -."""
    return CHAMPION + re.sub(r"[^A-Za-z0-9_-]+", "-", dataset)


def is_champion(alias: str) -> bool:
    """Whether a version with this alias is the champion of a dataset."""
    return alias.startswith(CHAMPION)


def champion_version(client: "MlflowClient", model: str, dataset: str) -> str:
    """The version that is the champion of a dataset; "" if there is none."""
    return str(client.get_registered_model(model).aliases.get(alias(dataset), ""))  # MLflow gives a number or a text


def _champion(client: "MlflowClient", model: str, version: str, examples_md5: str, task: TaskPaths) -> Champion:
    """The champion with its accuracy on these examples: as recorded, if they are the same, else measured now."""
    champion = client.get_model_version(model, version)
    name = f"version {version}"
    if examples_md5 and champion.tags.get("examples") == examples_md5:
        return Champion(name, float(champion.tags["accuracy"]))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{_package_name(champion.tags['model'])}/{ONNX_FILE}"
        onnx = Path(client.download_artifacts(str(champion.run_id), path, folder))
        try:
            return Champion(name, predict_split.accuracy(onnx, task))
        except ValueError:  # other shapes or classes
            return Champion(name, None)


def _package_name(onnx_md5: str) -> str:
    return f"model-{onnx_md5[:7]}"


def _onnx_md5(provenance: Provenance) -> str:
    return provenance.outputs[str(ModelPaths(provenance.model).onnx)]


def _examples_md5(provenance: Provenance) -> str:
    return provenance.inputs.get(str(TaskPaths(provenance.task).examples), "")
