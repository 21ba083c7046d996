"""Make a run's model again, from its commit, changes, parameters and data, in a temporary work tree."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.errors import PipelineError, shortened
from pipeline.files import md5
from pipeline.lineage import dvc, git
from pipeline.lineage.provenance import Provenance, input_kind, load_training
from pipeline.paths import MODEL_STAGES, PARAMS, ModelPaths, is_split_data

LIBRARIES = ("tensorflow", "keras", "numpy")  # whose versions decide the bytes of the weights, beside Python's


@dataclass(frozen=True)
class Difference:
    """One thing that differs from the run."""

    kind: str  # code, data, parameter, library version, weights or output
    what: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} was {self.was}, now {self.now}"


def run(provenance: Provenance) -> tuple[Difference | None, list[Difference]]:
    """Return the first difference, None if all files are the same to the byte; and the library versions that differ.

    Code, data and parameters are compared before anything is trained. Other library versions do not stop the stages;
    if a file differs afterwards, the first of them is the difference.
    Raises PipelineError if the commit or the data are gone, if the patch does not apply, or if a stage fails.
    """
    workers = provenance.environment.get("workers", 1)
    if workers != 1:
        raise PipelineError(
            f"the run was trained by {workers} workers, whose sums one process does not repeat to the byte; train it "
            f"with as many workers at commit {provenance.commit[:10]}, and compare the hash of its weights."
        )
    versions = differing_versions(provenance)
    with git.worktree(provenance.commit, provenance.changes) as folder:
        cache = dvc.Cache()
        for path in (*provenance.inputs, *provenance.outputs):
            dvc.inside(folder, path)
        for path, hash_name in provenance.inputs.items():
            if is_split_data(path):
                cache.checkout(hash_name, folder, path)
        if difference := next(_differing_inputs(provenance, folder), None):
            return difference, versions
        for verb in MODEL_STAGES:
            _run_stage(verb, provenance.model, folder)
        difference = next(_differing_outputs(provenance, folder), None)
    return (versions[0] if difference and versions else difference), versions


def foreign_code(provenance: Provenance) -> str:
    """What would be run for a run that was not trained here: commit, author, the files of the patch; "" if it was.

    Whoever can write to a shared MLflow store chooses both. Raises PipelineError if the patch touches other files than
    the sources of a model.
    """
    source = str(provenance.params.get(f"tasks.{provenance.task}.source", "data"))
    files = git.touched(provenance.changes, source) if provenance.patch else []
    training = load_training(provenance.model, provenance.task, provenance.weights_md5)
    if not git.commit(provenance.commit):
        return ""  # there is nothing to run
    if training and (training.commit, training.patch) == (provenance.commit, provenance.patch):
        return ""
    in_order = sorted(files, key=lambda path: (input_kind(path) == "data", path))
    changes = f", with changes of {', '.join(in_order)}" if files else ""
    return f"commit {provenance.commit[:10]} ({shortened(git.author(provenance.commit), 200)}){changes}"


def differing_versions(provenance: Provenance) -> list[Difference]:
    """The versions of Python and of the libraries that are not those of the run."""
    used = {name: provenance.environment[name] for name in ("python", *LIBRARIES) if name in provenance.environment}
    versions = [Difference("library version", name, was, _installed(name)) for name, was in used.items()]
    return [version for version in versions if version.was != version.now]


def _installed(name: str) -> str:
    try:
        return platform.python_version() if name == "python" else version(name)
    except PackageNotFoundError:
        return "not installed"


def _differing_inputs(provenance: Provenance, folder: Path) -> Iterator[Difference]:
    """The files of code and data, then the parameters, that the work tree has otherwise."""
    for path, was in provenance.inputs.items():
        if (now := _hash(folder / path)) != was:
            yield Difference(input_kind(path), path, was, now)
    present = dvc.params_of((folder / PARAMS).read_bytes(), "the run's commit")
    recipe = "recipe" if "recipe" in present else f"models.{provenance.model}.recipe"  # of all models, once
    for key, value in {recipe: provenance.recipe, **provenance.params}.items():
        if present.get(key) != value:
            yield Difference("parameter", key, str(value), str(present.get(key, "missing")))


def _differing_outputs(provenance: Provenance, folder: Path) -> Iterator[Difference]:
    """The files that the stages wrote otherwise, the weights first."""
    weights = str(ModelPaths(provenance.model).weights)
    for path, was in ({weights: provenance.weights_md5} | provenance.outputs).items():
        if (now := _hash(folder / path)) != was:
            yield Difference("weights" if path == weights else "output", path, was, now)


def _hash(path: Path) -> str:
    return md5(path) if path.is_file() else "missing"


def _run_stage(verb: str, model: str, folder: Path) -> None:
    """Run one stage in the work tree. It records nothing: a reproduction is not a new run."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_", "PYTHON"))}
    own = {
        "PIPELINE_RECORD": "off",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",  # for a commit whose code records anyway
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-m", "pipeline", verb, model]
    if subprocess.run(command, cwd=folder, env=inherited | own, check=False).returncode:
        raise PipelineError(
            f"stage {verb} of {model} fails at the run's commit with the libraries that are installed here (its output "
            "is above); install the versions of that commit's requirements.lock, and try again."
        )
