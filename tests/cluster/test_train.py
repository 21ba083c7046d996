"""What the driver of a training takes from its workers; test_hosts.py has the training itself."""

import sys
from pathlib import Path

import pytest

from pipeline import config
from pipeline.files import md5_of
from pipeline.paths import ModelPaths
from tests.cluster.conftest import MODEL
from tests.harness import project

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make test-cluster` installs it")
pytestmark = pytest.mark.cluster


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
