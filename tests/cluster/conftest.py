"""A tiny project to sweep in, on this machine and on a cluster of hosts."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from pipeline.files import md5
from tests.cluster.cluster import Cluster
from tests.cluster.hosts import hosts, reason_against
from tests.harness import project
from tests.harness.process import with_path, without

MODEL = "bits-lstm24"


@contextmanager
def start(folder: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`pipeline WORDS` in a process group of its own, which ends with the `with`."""
    with (folder.parent / "out").open("w") as out, (folder.parent / "err").open("w") as error:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words],
            cwd=folder,
            env=with_path(without("DVC_", "MLFLOW_", "GIT_", "RAY_", "COV_"), project.BIN) | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end(process: subprocess.Popen[str], folder: Path, status: int = 0) -> tuple[str, str]:
    """Wait for the end of a command; return what it printed, and its errors."""
    process.wait(600)
    out, error = ((folder.parent / name).read_text() for name in ("out", "err"))
    assert process.returncode == status, out + error
    return out, error


def trials(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """The trials of a sweep that have ended, by name."""
    files = sorted((folder / "sweeps" / name).glob(f"{name}-*.json"))
    return {path.stem: json.loads(path.read_text()) for path in files}


def weights(record: dict[str, Any]) -> str:
    (found,) = (out["md5"] for out in record["entries"][f"train@{MODEL}"]["outs"] if out["path"].endswith(".h5"))
    return str(found)


def runs(folder: Path, sweep: str, store: str = "mlflow.db") -> list[Run]:
    client = MlflowClient(f"sqlite:///{folder / store}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    return list(client.search_runs(experiments, f"tags.sweep = '{sweep}'", ViewType.ACTIVE_ONLY))


def trained_here(folder: Path, record: dict[str, Any]) -> str:
    """The MD5 of the weights that `dvc repro` makes of a trial's parameters on this machine, without any cache."""
    for key, value in record["overrides"].items():
        project.change(folder, key, value)
    project.run(folder, "dvc", "repro", "--force", "--no-run-cache", f"train@{MODEL}", PIPELINE_RECORD="off")
    return md5(folder / "models" / MODEL / "model.weights.h5")


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all projects of this machine."""
    return tmp_path_factory.mktemp("projects")


@pytest.fixture(scope="session")
def prepared(projects: Path) -> Path:
    """A tiny project with one model, whose data are made and committed, but which has not been trained."""
    folder = project.make(projects / "prepared", models=[MODEL])
    project.run(folder, "dvc", "repro", "split@bits")
    project.commit(folder, "data")
    return folder


@pytest.fixture
def swept(projects: Path, prepared: Path) -> Path:
    """A copy of the prepared project; what commands print lies beside it."""
    folder = projects / f"test{len(list(projects.iterdir()))}" / "project"
    shutil.copytree(prepared, folder, symlinks=True)
    return folder


@pytest.fixture(scope="session")
def cluster(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Hosts that share nothing but a network, joined to a Ray cluster: a driver, and two that each run one trial."""
    if reason := reason_against():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("hosts")
    with hosts(folder) as them:
        cluster = Cluster(them, folder, prepared)
        cluster.start()
        yield cluster
