"""MLflow's registry: each exported model, in a package, is a version; of each dataset, one is the champion.

The title is an alias of the registered model: champion-mnist. Only `promote` gives it, and the gate must pass.
"""

import base64
import io
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import pipeline
from pipeline import tasks
from pipeline.config import Gate
from pipeline.dataset import DatasetInfo, load_examples
from pipeline.errors import PipelineError
from pipeline.files import load_json, md5
from pipeline.inference import evaluation
from pipeline.inference.onnx_session import Session
from pipeline.inference.predict import DEFAULT
from pipeline.lineage.artifacts import Artifacts
from pipeline.lineage.provenance import Provenance
from pipeline.paths import MANIFEST, ModelPaths, TaskPaths, repro
from pipeline.tasks.inputs import Inputs
from pipeline.tracking import connection
from pipeline.tracking.gate import Champion, Verdict, judge
from pipeline.tracking.schema import CHAMPION

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

TAKES = "It takes texts, pictures in base64, or, in a column `sequence`, features."
REQUIREMENTS = (  # what a packaged model needs to predict
    *("mlflow", "numpy", "onnxruntime", "opencv-python-headless", "pandas", "pillow", "pyarrow", "pydantic", "regex"),
    "ruamel.yaml",
)
SERVED_MODEL = "pipeline.tracking.served_model"  # the module that predicts
ANSWER = [{"label": "", "probability": 0.0, "top": [{"label": "", "probability": 0.0}]}]  # the types of an answer
ONNX = "onnx"  # the tag that holds the MD5 of the ONNX file


def log_model(client: "MlflowClient", run: "Run", artifacts: Artifacts) -> str:
    """Make the exported model a model of its run, with the package as its files, unless it is one. Returns its id."""
    from mlflow.entities import LoggedModelOutput

    experiment, run_id, onnx_md5 = run.info.experiment_id, run.info.run_id, md5(artifacts.paths.onnx)
    same = f"source_run_id = '{run_id}' AND tags.{ONNX} = '{onnx_md5}'"
    model = next(iter(client.search_logged_models([experiment], same)), None)
    if model is None:
        model = client.create_logged_model(experiment, artifacts.model, run_id, {ONNX: onnx_md5})
    if model.model_id not in {each.model_id for each in (run.outputs.model_outputs if run.outputs else [])}:
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    if model.status != "READY" or not client.list_logged_model_artifacts(model.model_id):  # its folder may be lost
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "package"
            write_package(artifacts, package, run_id=run_id, model_id=model.model_id)
            client.log_model_artifacts(model.model_id, str(package))
        client.finalize_logged_model(model.model_id, "READY")
    return str(model.model_id)


def write_package(artifacts: Artifacts, folder: Path, run_id: str = "", model_id: str = "") -> None:
    """Write the package: the ONNX file, the facts of its dataset, and the code that predicts; no pickle."""
    import mlflow.pyfunc
    from mlflow.models import Model, infer_signature
    from mlflow.types.schema import ColSpec, DataType, Schema

    paths, examples = artifacts.paths, load_examples(artifacts.task)
    encoded, _ = examples.split("train")
    data = folder.parent / artifacts.model
    data.mkdir()
    for path in (paths.onnx, paths.info, paths.export / MANIFEST):
        shutil.copy(path, data)
    signature = infer_signature(model_output=ANSWER, params=asdict(DEFAULT))
    signature.inputs = Schema([ColSpec(DataType.string)])  # a text; a table of features passes, too
    mlflow.pyfunc.save_model(
        folder,
        loader_module=SERVED_MODEL,
        data_path=data,
        code_paths=[str(Path(pipeline.__file__).parent)],
        pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        signature=signature,
        input_example=[_example(tasks.load(artifacts.task.name).inputs, encoded[0], examples.info)],
        metadata=load_json(paths.info, repro("export", artifacts.model), dict[str, Any]),
        mlflow_model=Model(run_id=run_id, model_id=model_id),
    )


def _example(inputs: Inputs, code: np.ndarray, info: DatasetInfo) -> str:
    """An encoded example (code,) as the text that a served model takes."""
    if inputs.reads_files:
        with io.BytesIO() as file:
            Image.fromarray(inputs.image(code, info)).save(file, "PNG")
            return base64.b64encode(file.getvalue()).decode()
    return inputs.decode(code, info) or ",".join(map(str, code.tolist()))


def register(
    client: "MlflowClient", run_id: str, model_id: str, artifacts: Artifacts, provenance: Provenance, gate: Gate
) -> tuple[str, Verdict | None]:
    """Make the model of a run a version, unless it is one already, and judge it on the artifacts' test data.

    Returns the version, and the verdict, which describes it; None if it is the champion of its dataset already, which
    keeps what it was judged by.
    """
    model, dataset = artifacts.model, artifacts.metrics()["dataset"]
    onnx_md5 = provenance.outputs[str(ModelPaths(model).onnx)]
    examples_md5 = provenance.inputs.get(str(TaskPaths(provenance.task).examples), "")
    aliases = _aliases(client, model, f"Task {provenance.task}. {TAKES}")
    same = f"name = '{model}' and tags.model = '{onnx_md5}' and run_id = '{run_id}'"
    versions = list(client.search_model_versions(same))
    if not versions:
        # Not models:/ID, which MLflow looks up in the store of the working folder.
        source = client.get_logged_model(model_id).artifact_location
        versions = [client.create_model_version(model, source, run_id, {"model": onnx_md5}, model_id=model_id)]
    version = str(versions[0].version)
    present = str(aliases.get(alias(dataset), ""))  # MLflow gives a number or a text
    if present == version:
        return version, None
    champion = _champion(client, model, present, examples_md5, artifacts.task) if present else None
    verdict = judge(model, artifacts.metrics(), gate, champion)
    outcome = "passed" if verdict.passed else "did not pass"
    tags = {"model": onnx_md5, "examples": examples_md5, "dataset": dataset, "accuracy": repr(verdict.accuracy)}
    for key, value in (tags | {"verdict": outcome}).items():
        if versions[0].tags.get(key) != value:
            client.set_model_version_tag(model, version, key, value)
    description = f"{outcome}: {'; '.join(verdict.reasons)}."
    if versions[0].description != description:
        client.update_model_version(model, version, description)
    return version, verdict


def _aliases(client: "MlflowClient", model: str, description: str) -> dict[str, Any]:
    """The versions of a registered model by their aliases. Creates the model if need be."""
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_registered_model(model).aliases)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    with connection.may_exist():  # by now
        client.create_registered_model(model, description=description)
    return {}


def promote(
    client: "MlflowClient", model: str, dataset: str, version: str, verdict: Verdict | None, card: str
) -> tuple[bool, str]:
    """Make a version the champion of a dataset if its verdict lets it pass; None: it is the champion already.

    Its description has why it passed, and its card.

    Returns whether it is the champion now, and a sentence.
    """
    name = f"{model} version {version}"
    if verdict is None:
        return True, f"{name} is the champion of {dataset} already"
    reasons = "; ".join(verdict.reasons)
    if not verdict.passed:
        return False, f"{name} is not promoted: {reasons}"
    # First, since the description of a champion is left as it is.
    client.update_model_version(model, version, f"passed: {reasons}.\n\n{card}")
    client.set_registered_model_alias(model, alias(dataset), version)
    return True, f"{name} is the champion of {dataset} now: {reasons}"


def alias(dataset: str) -> str:
    """The alias of the champion: MLflow takes letters and digits of any language, _ and -."""
    return CHAMPION + re.sub(r"[^\w-]+", "-", dataset)


def _champion(client: "MlflowClient", model: str, version: str, examples_md5: str, task: TaskPaths) -> Champion:
    """The champion with its accuracy on these examples: as recorded, if they are the same, else measured now.

    Raises PipelineError if it has to be measured, and its files are incomplete or damaged.
    """
    from mlflow.artifacts import download_artifacts

    champion, name, uri = client.get_model_version(model, version), f"version {version}", connection.tracking_uri()
    if examples_md5 and champion.tags.get("examples") == examples_md5:
        with suppress(KeyError, ValueError):  # somebody removed or changed the tag: it is measured again
            return Champion(name, float(champion.tags["accuracy"]))
    with tempfile.TemporaryDirectory() as folder:
        package = download_artifacts(str(champion.source), dst_path=folder, tracking_uri=uri, registry_uri=uri)
        onnx = ModelPaths(model).onnx.name
        try:
            session = Session(next(Path(package).rglob(onnx), Path(package, onnx)), "pipeline track", threads=1)
        except PipelineError:
            raise PipelineError(
                f"the files of the champion, {model} {name}, are incomplete or damaged; restore MLflow's artifacts, or "
                "remove its alias in MLflow."
            ) from None
        try:
            return Champion(name, evaluation.accuracy(session, task))
        except ValueError:  # other shapes or classes
            return Champion(name, None)
