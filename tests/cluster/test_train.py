"""One model trained by two workers on two nodes."""

import json
import subprocess
import sys
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import psutil
import pytest

from pipeline import config
from pipeline.files import md5, md5_of
from pipeline.paths import ModelPaths
from tests.cluster.conftest import MODEL, Cluster, end, start
from tests.harness import project
from tests.harness.process import until

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make test-cluster` installs it")
pytestmark = pytest.mark.cluster


def train(folder: Path, cluster: Cluster) -> AbstractContextManager[subprocess.Popen[str]]:
    return start(folder, "train", MODEL, "--workers", "2", "--address", cluster.address, **cluster.environment)


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
    project.change(swept, f"models.{MODEL}.recipes.fast.steps", 300)
    project.change(swept, f"models.{MODEL}.recipes.fast.log_every", 20)
    with train(swept, cluster) as process:
        end(process, swept)
    weights = ModelPaths(MODEL, swept).weights
    expected = md5(weights)
    note = json.loads((swept / ModelPaths(MODEL).provenance(expected)).read_text())
    assert note["environment"]["workers"] == 2
    done = project.run(swept, "dvc", "repro", f"evaluate@{MODEL}", PIPELINE_RECORD="off")
    assert f"train@{MODEL}" not in project.stages_run(done.stdout), "DVC knows the training"
    # A worker is killed.
    weights.unlink()
    with train(swept, cluster) as process:
        assert until(lambda: bool(list((swept / "checkpoints").glob(f"{MODEL}-*.npz"))), 200)
        killed = processes(cluster)
        assert len(killed) == 2
        killed[-1].kill()
        _, error = end(process, swept, 2)
    assert f"error: {MODEL}: a worker failed or was lost" in error
    assert "give the same command again: the training resumes from its last log." in error
    assert "Traceback" not in error
    assert not weights.exists()
    assert list((swept / "checkpoints").glob(f"{MODEL}-*.npz"))
    with train(swept, cluster) as process:
        end(process, swept)
    assert md5(weights) == expected
    assert not list((swept / "checkpoints").glob("*"))


def test_a_worker_writes_no_file_but_those_that_the_driver_expects(untrained_project: Path, tmp_path: Path) -> None:
    from pipeline.cluster import train as driver

    outside, good = tmp_path / "authorized_keys", f"{MODEL}-{'0' * 32}.npz"
    setup = config.load().model(MODEL)
    names = [str(outside), "../outside.npz", f"../{good}", f"another-{'0' * 32}.npz", f"{good}\n", good]
    driver._write_checkpoints(setup, dict.fromkeys(names, b"sent"))
    assert [path.name for path in Path("checkpoints").iterdir()] == [good]
    paths, content = ModelPaths(MODEL), b"weights"
    note = md5_of(content)
    provenances = dict.fromkeys([f"{note}.json", f"../{note}.json", f"{outside}.json", f"{'0' * 32}.json"], b"{}")
    sent = {"files": {paths.weights.name: content, "../evil": b""}, "provenances": provenances}
    before = set(untrained_project.rglob("*"))
    driver._write(setup, sent, [paths.weights.name])
    written = {path for path in set(untrained_project.rglob("*")) - before if path.is_file()}
    assert written == {untrained_project / path for path in (paths.weights, paths.provenance(note))}
    assert list(tmp_path.rglob("authorized_keys*")) == []


def test_more_workers_than_the_nodes_have_room_for_are_refused(swept: Path, cluster: Cluster) -> None:
    with start(swept, "train", MODEL, "--workers", "3", "--address", cluster.address, **cluster.environment) as process:
        _, error = end(process, swept, 2)
    assert error.startswith(
        "error: 3 workers, each with a CPU and 0 GPUs, are more than the 2 that the nodes have room"
    )


RECEIVE = """
from pipeline.cluster import nodes
nodes.prepare(nodes.Cluster())
from pipeline.cluster.outbox import Outbox
from pipeline.errors import PipelineError

def refuse(name, content):
    raise PipelineError(f"{name} could not be written")

with nodes.connected(nodes.Cluster()):
    outbox = Outbox(refuse)
    try:
        with outbox.drained():
            outbox.queue.put(("a checkpoint", {}))
    except PipelineError as error:
        print(error)
"""


def test_an_error_while_a_file_is_received_reaches_the_driver(tmp_path: Path) -> None:
    done = project.run(tmp_path, sys.executable, "-c", RECEIVE, PYTHONPATH=str(project.ROOT))
    assert done.stdout.splitlines()[-1] == "a checkpoint could not be written"
