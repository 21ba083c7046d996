"""MLflow's registry: each exported model is a version, and the best that passed the gate is the champion."""

import json
import tempfile
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from pipeline import data, tasks
from pipeline.gate import Champion, Verdict, judge
from pipeline.outputs import Outputs
from pipeline.run import Provenance

Measure = Callable[[Path, Path], float]  # an ONNX file, data/split/TASK: its accuracy on the test data
ALIAS = "champion"


def package_name(told: Provenance) -> str:
    """The artifact's folder: it holds the ONNX file's hash, so that no version ever changes."""
    return f"model-{_model(told)[:7]}"


def package(outputs: Outputs, folder: Path) -> None:
    """Write an exported model as MLflow keeps one: the ONNX file behind pyfunc, signature and example with it."""
    import mlflow.onnx
    import numpy as np
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    task, examples, export = tasks.load(outputs.task), data.load_examples(outputs.split), outputs.folder / "export"
    card = examples.card
    example = task.features(examples.part(task.EVALUATED)[0][:1], card.shape)
    kind = np.dtype(np.float32)
    mlflow.onnx.save_model(
        onnx.load(export / "model.onnx"),
        folder,
        signature=ModelSignature(
            Schema([TensorSpec(kind, (-1, *card.shape), "sequence")]),
            Schema([TensorSpec(kind, (-1, len(card.labels)), "probabilities")]),
        ),
        input_example={"sequence": example},
        pip_requirements=[f"{name}=={installed(name)}" for name in ("mlflow", "numpy", "onnx", "onnxruntime")],
        metadata=json.loads((export / "card.json").read_text(encoding="utf-8")),
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )


def enter(
    client: Any,
    run_id: str,
    told: Provenance,
    figures: dict[str, Any],
    floor: float,
    measure: Callable[[Path], float],
) -> Verdict | None:
    """Make the run's model a version, judge it, and crown it if it passes; None if it is the champion already."""
    from mlflow.exceptions import MlflowException

    name = told.model
    model = _model(told)
    examples = told.inputs.get(str(data.SPLIT / told.task / "examples.parquet"), "")
    try:
        client.create_registered_model(name, description=f"Task {told.task}; pass float32 `sequence`.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    versions = client.search_model_versions(f"name = '{name}' and tags.model = '{model}' and run_id = '{run_id}'")
    source = f"runs:/{run_id}/{package_name(told)}"
    made = versions[0] if versions else client.create_model_version(name, source, run_id)
    version = str(made.version)  # a number or a text, as the store has it
    holder = str(client.get_registered_model(name).aliases.get(ALIAS, ""))
    if holder == version:
        return None
    champion = _champion(client, name, holder, examples, measure) if holder else None
    verdict = judge(name, figures["dataset"], figures["accuracy"], floor, champion)
    tags = {
        "model": model,
        "examples": examples,
        "dataset": figures["dataset"],
        "accuracy": repr(figures["accuracy"]),
        "verdict": "passed" if verdict.passed else "did not pass",
    }
    for key, value in tags.items():
        client.set_model_version_tag(name, version, key, value)
    client.update_model_version(name, version, f"{tags['verdict']}: {'; '.join(verdict.reasons)}.")
    if verdict.passed:
        client.set_registered_model_alias(name, ALIAS, version)
    return verdict


def _champion(client: Any, name: str, version: str, examples: str, measure: Callable[[Path], float]) -> Champion:
    """Today's champion with its accuracy on these test data: as recorded, or else as measured now."""
    holder = client.get_model_version(name, version)
    if examples and holder.tags.get("examples") == examples:
        return Champion(f"version {version}", float(holder.tags["accuracy"]))
    with tempfile.TemporaryDirectory() as folder:
        model = client.download_artifacts(holder.run_id, f"model-{holder.tags['model'][:7]}/model.onnx", folder)
        try:
            return Champion(f"version {version}", measure(Path(model)))
        except ValueError:  # other shapes or classes
            return Champion(f"version {version}", None)


def _model(told: Provenance) -> str:
    return told.outputs[str(data.MODELS / told.model / "export" / "model.onnx")]
