"""One model trained by two workers on two nodes."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.files import md5
from pipeline.paths import ModelPaths
from tests.cluster.conftest import MODEL, Cluster
from tests.harness import project
from tests.harness.process import until, with_path, without

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make test-cluster` installs it")
pytestmark = pytest.mark.cluster


def train(folder: Path, cluster: Cluster) -> "subprocess.Popen[str]":
    words = ("train", MODEL, "--workers", "2", "--address", cluster.address)
    with (folder.parent / "out").open("w") as out, (folder.parent / "err").open("w") as error:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words],
            cwd=folder,
            env=with_path(without("DVC_", "MLFLOW_", "GIT_", "RAY_", "COV_"), project.BIN) | cluster.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            text=True,
        )


def end(process: "subprocess.Popen[str]", folder: Path) -> tuple[int, str, str]:
    """The status, the output and the errors of a training."""
    try:
        status = process.wait(400)
    finally:
        process.kill()
        process.wait()
    return status, (folder.parent / "out").read_text(), (folder.parent / "err").read_text()


def processes(cluster: Cluster) -> list[psutil.Process]:
    """The trainings on the cluster's nodes."""
    found = []
    for each in psutil.Process(cluster.process.pid).children(recursive=True):
        with suppress(psutil.Error):
            if each.cmdline()[1:4] == ["-m", "pipeline", "train"]:
                found.append(each)
    return found


def test_a_training_on_two_nodes_whose_worker_was_killed_ends_with_the_same_bytes(
    swept: Path, cluster: Cluster
) -> None:
    project.change(swept, f"models.{MODEL}.recipes.fast.steps", 600)
    project.change(swept, f"models.{MODEL}.recipes.fast.log_every", 20)
    status, _, error = end(train(swept, cluster), swept)
    assert status == 0, error
    weights = ModelPaths(MODEL, swept).weights
    expected = md5(weights)
    note = json.loads((swept / ModelPaths(MODEL).training_note(expected)).read_text())
    assert note["environment"]["workers"] == 2
    done = project.run(swept, "dvc", "repro", f"evaluate@{MODEL}", PIPELINE_RECORD="off")
    assert f"train@{MODEL}" not in project.stages_run(done.stdout), "DVC knows the training"
    # A worker is killed.
    weights.unlink()
    process = train(swept, cluster)
    assert until(lambda: bool(list((swept / "checkpoints").glob(f"{MODEL}-*.npz"))), 200)
    killed = processes(cluster)
    assert len(killed) == 2
    killed[-1].kill()
    status, _, error = end(process, swept)
    assert status == 2
    assert f"error: {MODEL}: a worker failed or was lost" in error
    assert "give the same command again: the training resumes from its last log." in error
    assert "Traceback" not in error
    assert not weights.exists()
    assert list((swept / "checkpoints").glob(f"{MODEL}-*.npz"))
    status, _, error = end(train(swept, cluster), swept)
    assert status == 0, error
    assert md5(weights) == expected
    assert not list((swept / "checkpoints").glob("*"))
