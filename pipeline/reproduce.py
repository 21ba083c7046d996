"""Make a run's model again, from its commit, changes, parameters and data, in a work tree that is gone afterwards."""

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline import data, git, lock
from pipeline.config import PARAMS
from pipeline.errors import BadInput
from pipeline.run import Provenance

STAGES = ("train", "export", "evaluate")


@dataclass(frozen=True)
class Difference:
    """The first thing that differs from the run."""

    kind: str  # code, data, parameter, library version, weights or figure
    what: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what} was {self.was}, now {self.now}"


def run(told: Provenance, patch: bytes) -> tuple[Difference | None, list[Difference]]:
    """The first thing that differs, None if the model is the same to the byte; and the library versions that differ.

    BadInput if the commit or the data are gone, or if the patch does not apply. Other code, data or parameters than
    the run's are told before anything is trained. Where another library version is installed, the stages run, and it
    is named as the cause only if something else differs, too.
    """
    versions = differing_versions(told)
    with git.worktree(told.commit, patch) as folder:
        cache = lock.Cache()
        for path, md5 in told.inputs.items():
            if path.startswith(f"{data.SPLIT}/"):
                cache.place(md5, folder / path)
        if difference := _code(told, folder) or _parameter(told, folder):
            return difference, versions
        for stage in STAGES:
            _stage(stage, told.model, folder)
        difference = _outputs(told, folder)
    return (versions[0] if difference and versions else difference), versions


def differing_versions(told: Provenance) -> list[Difference]:
    """The library versions, Python's among them, that are not those of the run."""
    found = []
    for name in ("python", "tensorflow", "keras", "numpy"):
        if (was := told.machine.get(name)) is None:
            continue
        try:
            now = ".".join(map(str, sys.version_info[:3])) if name == "python" else version(name)
        except PackageNotFoundError:
            now = "not installed"
        if now != was:
            found.append(Difference("library version", name, was, now))
    return found


def _code(told: Provenance, folder: Path) -> Difference | None:
    for path, was in told.inputs.items():
        file = folder / path
        now = data.md5(file) if file.is_file() else "missing"
        if now != was:
            return Difference("data" if path.startswith("data/") else "code", path, was, now)
    return None


def _parameter(told: Provenance, folder: Path) -> Difference | None:
    there = lock.flat(lock.yaml((folder / PARAMS).read_bytes()))
    for key, was in {"recipe": told.recipe, **told.params}.items():
        if there.get(key) != was:
            return Difference("parameter", key, str(was), str(there.get(key, "missing")))
    return None


def _stage(stage: str, model: str, folder: Path) -> None:
    """Run one stage in the work tree, with a store of its own there: a reproduction is no new run."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "MLFLOW_", "PYTHON"))}
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "pipeline", stage, model]
    if subprocess.run(command, cwd=folder, env=outside | own, check=False).returncode:
        raise BadInput(
            f"stage {stage} of {model} does not run at the run's commit with what is installed here; what it said "
            "stands above: install the versions of that commit's requirements.lock, and try again."
        )


def _outputs(told: Provenance, folder: Path) -> Difference | None:
    weights = f"{data.MODELS}/{told.model}/model.weights.h5"
    for path, was in sorted(told.outputs.items(), key=lambda each: each[0] != weights):
        now = data.md5(folder / path) if (folder / path).is_file() else "missing"
        if now != was:
            return Difference("weights" if path == weights else "figure", path, was, now)
    return None
