"""MLflow's registry: each exported model is a version, and the best one that passed the gate is the champion."""

import tempfile
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import tasks
from pipeline.dataset import load_examples
from pipeline.files import load_json
from pipeline.inference import predict_split
from pipeline.lineage.artifacts import Artifacts
from pipeline.lineage.provenance import Provenance
from pipeline.paths import ModelPaths, TaskPaths, repro
from pipeline.tracking.gate import Champion, Verdict, judge

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
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
    if version != _champion_version(client, model):  # the champion keeps what it was judged by
        tags = {
            "model": onnx_md5,
            "examples": _examples_md5(provenance),
            "dataset": metrics["dataset"],
            "accuracy": repr(metrics["accuracy"]),
        }
        for key, value in tags.items():
            client.set_model_version_tag(model, version, key, value)
    return version


def promote(
    client: "MlflowClient", version: str, artifacts: Artifacts, provenance: Provenance, floor: float
) -> Verdict | None:
    """Judge a version against the champion on the artifacts' test data, and make it the champion if it passes.

    Returns the verdict; None if it is the champion already.
    """
    model, metrics = provenance.model, artifacts.metrics()
    present = _champion_version(client, model)
    if present == version:
        return None
    champion = _champion(client, model, present, _examples_md5(provenance), artifacts.task) if present else None
    verdict = judge(model, metrics["dataset"], metrics["stand_in"], metrics["accuracy"], floor, champion)
    outcome = "passed" if verdict.passed else "did not pass"
    client.set_model_version_tag(model, version, "verdict", outcome)
    client.update_model_version(model, version, f"{outcome}: {'; '.join(verdict.reasons)}.")
    if verdict.passed:
        client.set_registered_model_alias(model, ALIAS, version)
    return verdict


def _champion_version(client: "MlflowClient", model: str) -> str:
    return str(client.get_registered_model(model).aliases.get(ALIAS, ""))  # MLflow gives a number or a text


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
