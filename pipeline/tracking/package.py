"""An exported model in MLflow's format, and as a model of a run: what a version of the registry points to."""

import shutil
import tempfile
from dataclasses import fields
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import pipeline
from pipeline import tasks
from pipeline.dataset import load_examples
from pipeline.files import load_json, md5
from pipeline.inference.predict import Options
from pipeline.lineage.artifacts import Artifacts
from pipeline.paths import MANIFEST, repro

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.models import ModelSignature

REQUIREMENTS = (  # what a packaged model needs to predict
    *("mlflow", "numpy", "onnxruntime", "opencv-python-headless", "pandas", "pillow", "pyarrow", "pydantic", "regex"),
    "ruamel.yaml",
)
SERVED_MODEL = "pipeline.tracking.served_model"  # the module that predicts
ONNX = "onnx"  # the tag that holds the MD5 of the ONNX file


def log(client: "MlflowClient", run: "Run", artifacts: Artifacts) -> str:
    """Make the exported model a model of its run, with the package as its files, unless it is one. Returns its id."""
    from mlflow.entities import LoggedModelOutput

    experiment, run_id, onnx_md5 = run.info.experiment_id, run.info.run_id, md5(artifacts.paths.onnx)
    same = f"source_run_id = '{run_id}' AND tags.{ONNX} = '{onnx_md5}'"
    if found := client.search_logged_models([experiment], same):
        model = found[0]
        if model.status == "READY" and client.list_logged_model_artifacts(model.model_id):  # its folder may be lost
            return str(model.model_id)
    else:
        model = client.create_logged_model(experiment, artifacts.model, run_id, {ONNX: onnx_md5})
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "package"
        write(artifacts, package, run_id=run_id, model_id=model.model_id)
        client.log_model_artifacts(model.model_id, str(package))
    if model.status != "READY":
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def write(artifacts: Artifacts, folder: Path, run_id: str = "", model_id: str = "") -> None:
    """Write the package: the ONNX file, the facts of its dataset, and the code that predicts; no pickle."""
    import mlflow.pyfunc
    from mlflow.models import Model

    paths, examples = artifacts.paths, load_examples(artifacts.task)
    encoded, _ = examples.split("train")
    features = tasks.load(artifacts.task.name).features
    data = folder.parent / artifacts.model
    data.mkdir()
    for path in (paths.onnx, paths.info, paths.export / MANIFEST):
        shutil.copy(path, data)
    mlflow.pyfunc.save_model(
        folder,
        loader_module=SERVED_MODEL,
        data_path=data,
        code_paths=[str(Path(pipeline.__file__).parent)],
        pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        signature=_signature(),
        input_example={"sequence": features(encoded[:1], examples.info)},
        metadata=load_json(paths.info, repro("export", artifacts.model)),
        mlflow_model=Model(run_id=run_id, model_id=model_id),
    )


def _signature() -> "ModelSignature":
    """The options of a prediction as parameters, and the columns of its result. The input may be texts or an array."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, Object, Property

    types = {int: DataType.long, float: DataType.double, bool: DataType.boolean}
    params = [ParamSpec(field.name, types[type(field.default)], field.default) for field in fields(Options)]
    label, probability = ("label", DataType.string), ("probability", DataType.double)
    top = Array(Object([Property(*label), Property(*probability)]))
    result = Schema([ColSpec(dtype, name) for name, dtype in (label, probability, ("top", top))])
    return ModelSignature(outputs=result, params=ParamSchema(params))
