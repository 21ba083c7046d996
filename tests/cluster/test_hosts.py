"""Several machines that share nothing but a network: what comes out is what one machine makes, whatever fails."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from pipeline.files import md5
from pipeline.paths import ModelPaths
from tests.cluster.cluster import ADDRESS, LIMIT, NODE, WORKERS, Cluster
from tests.cluster.conftest import MODEL, runs, trained_here, trials, weights
from tests.harness import project
from tests.harness.process import until

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make test-cluster` installs it")
pytestmark = [pytest.mark.cluster, pytest.mark.hosts]

FOUR = ("-S", "seed=1,2", "-S", "learning_rate=0.01,0.02")
STAGES = "-m pipeline "  # in the command of a stage


def sweep(cluster: Cluster, folder: Path) -> tuple[str, ...]:
    return ("sweep", MODEL, *FOUR, "--name", "four", "--address", ADDRESS)


def ended(cluster: Cluster, folder: Path) -> bytes:
    """The table of a sweep that has ended. Each of its trials is recorded once."""
    records = trials(folder, "four")
    assert [record["outcome"] for record in records.values()] == ["finished"] * 4, records
    found = runs(folder, "four")
    assert sorted(run.data.tags["weights"] for run in found) == sorted(weights(record) for record in records.values())
    return (folder / "sweeps" / "four" / "results.csv").read_bytes()


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster) -> tuple[Path, str]:
    """A project on the driver in which a sweep has run on the other two, and what it printed."""
    folder = cluster.project()
    return folder, cluster.run(folder, "pipeline", *sweep(cluster, folder)).stdout


def test_a_sweep_on_two_hosts_is_one_of_this_machine(
    cluster: Cluster, undisturbed: tuple[Path, str], swept: Path
) -> None:
    folder, output = undisturbed
    ended(cluster, folder)
    places = {re.search(rf"\| four-{i} +\| TERMINATED \| ([\d.]+):\d+", output)[1] for i in range(1, 5)}  # type: ignore[index]
    assert places == {"10.77.0.2", "10.77.0.3"}, "the driver trains nothing"
    assert output.count(": finished, accuracy") == 4
    assert (folder / "sweeps" / "four" / "results.png").stat().st_size > 10_000
    records = trials(folder, "four")
    # The best trial's parameters: DVC runs nothing.
    table = pd.read_csv(folder / "sweeps" / "four" / "results.csv")
    best = table.sort_values("score", ascending=False).iloc[0]["trial"]
    for key, value in records[best]["overrides"].items():
        project.change(folder, key, value)
    done = cluster.run(folder, "dvc", "repro", f"evaluate@{MODEL}")
    assert not project.stages_run(done.stdout)
    assert f"'train@{MODEL}' is cached - skipping run" in done.stdout
    assert md5(folder / "models" / MODEL / "model.weights.h5") == weights(records[best])
    assert len(runs(folder, "four")) == 4
    compared = cluster.run(folder, "pipeline", "compare", "four-*").stdout
    assert all(name in compared for name in records)
    # The bytes are those of one machine.
    assert trained_here(swept, records["four-1"]) == weights(records["four-1"])


def test_the_hosts_share_nothing(cluster: Cluster) -> None:
    folder = cluster.project()
    for name in WORKERS:
        host = cluster.hosts[name]
        for path in (project.ROOT, folder, f"/srv/{folder.name}"):
            assert host.run("test", "-e", str(path), ok=False).returncode == 1, path
        assert host.run("hostname").stdout.strip() == name
        assert host.run("python", "-c", "import pipeline", ok=False).returncode == 1
    seen = {name: cluster.hosts[name].run("ls", "/proc").stdout.count("\n") for name in WORKERS}
    assert max(seen.values()) < len(psutil.pids()), "each sees its own processes"


def kill_a_worker(cluster: Cluster) -> None:
    killed = cluster.find(WORKERS, "Trainable.train")[0]
    below = killed.children(recursive=True)
    assert below
    killed.kill()
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive, "the stages of a killed worker end with it"


def kill_a_node(cluster: Cluster) -> None:
    for each in cluster.hosts["first"].processes():
        with suppress(psutil.NoSuchProcess):
            each.kill()
    cluster.join("first")


def pull_the_cable(cluster: Cluster, seconds: float) -> None:
    cluster.hosts.cable("second", "down")
    time.sleep(seconds)
    cluster.hosts.cable("second", "up")


def fill_the_disk(cluster: Cluster) -> None:
    host = cluster.hosts["first"]
    host.run("sh", "-c", "dd if=/dev/zero of=/tmp/full bs=1M 2>/dev/null; true")
    assert until(lambda: "the disk is full; joins again" in cluster.log("first").read_text(), 60)
    time.sleep(30)  # the others go on
    host.run("rm", "/tmp/full")  # noqa: S108


def slow_down(cluster: Cluster) -> None:
    """Stop the stages of a worker for most of each second, half a minute long."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        slowed = cluster.find(("second",), STAGES)
        for seconds, act in ((0.8, psutil.Process.suspend), (0.2, psutil.Process.resume)):
            for each in slowed:
                with suppress(psutil.NoSuchProcess):
                    act(each)
            time.sleep(seconds)


def disturbed(cluster: Cluster, faults: list[Callable[[Cluster], Any]]) -> tuple[Path, subprocess.Popen[bytes]]:
    """A sweep that goes on after these faults, and its project."""
    cluster.wait_for_workers()
    folder = cluster.project()
    process = cluster.begin(folder, *sweep(cluster, folder))
    both = until(lambda: all(cluster.find((name,), STAGES) for name in WORKERS), 120)
    assert both, cluster.said(folder).read_text()
    for fault in faults:
        assert process.poll() is None, "the sweep had ended before it was disturbed"
        fault(cluster)
    return folder, process


def test_a_sweep_ends_with_the_same_table_whatever_fails(cluster: Cluster, undisturbed: tuple[Path, str]) -> None:
    offline = [lambda cluster: pull_the_cable(cluster, 5), lambda cluster: pull_the_cable(cluster, 60)]
    folder, process = disturbed(cluster, [kill_a_worker, *offline])
    assert process.wait(LIMIT) == 0, cluster.said(folder).read_text()
    assert cluster.said(folder).read_text().count(": finished, accuracy") == 4, "no trial is counted twice"
    assert ended(cluster, folder) == ended(cluster, undisturbed[0])


def test_a_driver_that_was_killed_goes_on_where_it_was(cluster: Cluster, undisturbed: tuple[Path, str]) -> None:
    """Though nodes fail before."""
    folder, _ = disturbed(cluster, [kill_a_node, slow_down, fill_the_disk])
    assert until(lambda: bool(trials(folder, "four")), 240), cluster.said(folder).read_text()
    assert {record["outcome"] for record in trials(folder, "four").values()} == {"finished"}
    for each in cluster.find(("driver",), "-m pipeline sweep"):
        each.kill()
    before = {path: path.stat().st_mtime_ns for path in (folder / "sweeps" / "four").glob("four-*.json")}
    assert 1 <= len(before) < 4
    output = cluster.run(folder, "pipeline", *sweep(cluster, folder)).stdout
    assert output.count(": finished, accuracy") == 4 - len(before)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert ended(cluster, folder) == ended(cluster, undisturbed[0])


# Keeps what is PUT below a folder, as a WebDAV server or a bucket does.
STORE = """
import http.server, pathlib, sys
class Store(http.server.SimpleHTTPRequestHandler):
    def do_PUT(self):
        path = pathlib.Path(self.translate_path(self.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = self.headers.get("Transfer-Encoding") == "chunked"
        size = (lambda: int(self.rfile.readline(), 16)) if encoded else (lambda: int(self.headers["Content-Length"]))
        content, left = b"", size()
        while left:
            content += self.rfile.read(left)
            left = size() if encoded and self.rfile.readline() else 0
        path.write_bytes(content)
        self.send_response(201)
        self.end_headers()
http.server.ThreadingHTTPServer((sys.argv[1], 8000), lambda *a: Store(*a, directory="/srv/store")).serve_forever()
"""


@pytest.fixture
def no_servers_left(cluster: Cluster) -> Iterator[None]:
    """Ends the servers that a test has started on the driver."""
    yield
    for each in cluster.find(("driver",), "mlflow") + cluster.find(("driver",), "http.server"):
        with suppress(psutil.NoSuchProcess):
            each.kill()


@pytest.mark.usefixtures("no_servers_left")
def test_workers_record_and_push_by_themselves_where_there_are_servers(cluster: Cluster) -> None:
    cluster.wait_for_workers()
    driver, folder = cluster.driver, cluster.project()
    stored = cluster.folder / "driver" / "srv" / "store"
    stored.mkdir()
    driver.start("python", "-c", STORE, driver.address, log=cluster.folder / "store.log")
    uri = f"http://{driver.address}:5000"
    listen = ("--host", driver.address, "--port", "5000", "--workers", "1")
    where = ("--backend-store-uri", "sqlite:////srv/server.db", "--artifacts-destination", "/srv/artifacts")
    driver.start("python", "-m", "mlflow", "server", *listen, *where, log=cluster.folder / "mlflow.log")
    cluster.run(folder, "dvc", "remote", "add", "--default", "store", f"http://{driver.address}:8000")
    cluster.run(folder, "dvc", "remote", "modify", "store", "method", "PUT")
    project.commit(folder, "a remote")
    ready = f"import urllib.request as r; r.urlopen('{uri}/health', timeout=5)"
    assert until(lambda: driver.run("python", "-c", ready, ok=False).returncode == 0, 120)
    words = ("sweep", MODEL, "-S", "seed=1,2", "--name", "two", "--address", ADDRESS)
    cluster.run(folder, "pipeline", *words, MLFLOW_TRACKING_URI=uri)
    records = trials(folder, "two")
    found = runs(cluster.folder / "driver" / "srv", "two", "server.db")
    assert sorted(run.data.tags["weights"] for run in found) == sorted(map(weights, records.values()))
    assert not (folder / "mlflow.db").exists()
    cached = folder / ".dvc" / "cache" / "files" / "md5"
    for record in records.values():
        name = f"{weights(record)[:2]}/{weights(record)[2:]}"
        assert (stored / "files" / "md5" / name).is_file()
        assert not (cached / name).exists(), "the driver got hashes"
    for key, value in records["two-2"]["overrides"].items():
        project.change(folder, key, value)
    done = cluster.run(folder, "dvc", "repro", "--pull", f"evaluate@{MODEL}", PIPELINE_RECORD="off")
    assert not project.stages_run(done.stdout), done.stdout
    assert md5(folder / "models" / MODEL / "model.weights.h5") == weights(records["two-2"])


def await_checkpoint(cluster: Cluster, folder: Path) -> None:
    found = until(lambda: bool(list((folder / "checkpoints").glob(f"{MODEL}-*.npz"))), 200)
    assert found, cluster.said(folder).read_text()


def test_a_training_on_two_hosts_ends_with_the_same_bytes_though_it_is_disturbed(cluster: Cluster) -> None:
    cluster.wait_for_workers()
    folder = cluster.project()
    project.change(folder, f"models.{MODEL}.recipes.fast.steps", 600)
    project.change(folder, f"models.{MODEL}.recipes.fast.log_every", 20)
    words = ("train", MODEL, "--workers", "2", "--address", ADDRESS)
    cluster.run(folder, "pipeline", *words)
    trained = ModelPaths(MODEL, folder).weights
    expected = md5(trained)
    provenance = json.loads((folder / ModelPaths(MODEL).provenance(expected)).read_text())
    assert provenance["environment"]["workers"] == 2
    done = cluster.run(folder, "dvc", "repro", f"evaluate@{MODEL}", PIPELINE_RECORD="off")
    assert f"train@{MODEL}" not in project.stages_run(done.stdout), "DVC knows the training"
    # A worker stands still, the network is down for five seconds; then a worker is killed.
    trained.unlink()
    process = cluster.begin(folder, *words)
    await_checkpoint(cluster, folder)
    for name in WORKERS:
        listening = cluster.hosts[name].run("ss", "--listening", "--tcp", "--processes").stdout
        assert "ray" in listening
        assert '"python' not in listening, "a training listens nowhere once its workers are there"
    slow, other = cluster.find(WORKERS, "-m pipeline train")
    slow.suspend()
    pull_the_cable(cluster, 5)
    slow.resume()
    (checkpoint,) = (folder / "checkpoints").glob(f"{MODEL}-*.npz")
    before = checkpoint.stat().st_mtime_ns
    assert until(lambda: checkpoint.stat().st_mtime_ns > before, 60), "it goes on"
    other.kill()
    assert process.wait(LIMIT) == 2
    said = cluster.said(folder).read_text()
    assert f"error: {MODEL}: a worker failed or was lost" in said
    assert "give the same command again: the training resumes from its last checkpoint." in said
    assert "Traceback" not in said
    assert not trained.exists()
    assert list((folder / "checkpoints").glob(f"{MODEL}-*.npz"))
    cluster.run(folder, "pipeline", *words)
    assert md5(trained) == expected
    assert not list((folder / "checkpoints").glob("*"))


def results(folder: Path) -> dict[str, str]:
    """The hash of each file that evaluate writes."""
    paths = ModelPaths(MODEL, folder)
    files = (paths.metrics, paths.predictions, paths.confusion, paths.by_class, paths.errors, paths.reliability)
    return {path.name: md5(path) for path in files}


def test_two_hosts_count_what_one_process_counts_though_a_worker_is_killed(cluster: Cluster) -> None:
    cluster.wait_for_workers()
    folder = cluster.project()
    project.change(folder, "tasks.bits.generate.length", 22)
    cluster.run(folder, "dvc", "repro", f"evaluate@{MODEL}", PIPELINE_RECORD="off")
    expected = results(folder)
    for name in expected:
        (ModelPaths(MODEL, folder).folder / name).unlink()
    words = ("evaluate", MODEL, "--workers", "2", "--address", ADDRESS)
    process = cluster.begin(folder, *words, PIPELINE_RECORD="off")
    assert until(lambda: len(cluster.find(WORKERS, "_predict")) == 2, 120), cluster.said(folder).read_text()
    cluster.find(WORKERS, "_predict")[0].kill()
    assert process.wait(LIMIT) == 0, cluster.said(folder).read_text()
    assert results(folder) == expected
    assert not list((folder / "checkpoints").glob("*"))
    done = cluster.run(folder, "dvc", "repro", f"evaluate@{MODEL}", PIPELINE_RECORD="off")
    assert not project.stages_run(done.stdout), "DVC knows the evaluation"


def test_more_workers_than_the_nodes_have_room_for_are_refused(cluster: Cluster) -> None:
    cluster.wait_for_workers()
    done = cluster.run(cluster.project(), "pipeline", "train", MODEL, "--workers", "3", "--address", ADDRESS, ok=False)
    assert done.returncode == 2
    assert "error: 3 workers, each with a CPU and 0 GPUs, are more than the 2 that the nodes have room" in done.stderr


def test_a_node_with_another_version_of_a_package_is_refused_by_its_name(cluster: Cluster) -> None:
    folder = cluster.project()
    fake = folder.parent / "other" / "keras-0.0.1.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 0.0.1\n")
    words = ("pipeline", "sweep", MODEL, "-S", "seed=1", "--address", ADDRESS)
    done = cluster.run(folder, *words, ok=False, PYTHONPATH="/srv/other")
    assert done.returncode == 2
    assert re.search(r"error: the node 10\.77\.0\.\d has keras 3\.", done.stderr)
    assert "this machine has 0.0.1; install the same lock file on both." in done.stderr


def test_a_machine_with_another_python_is_refused_by_its_version(cluster: Cluster) -> None:
    folder = cluster.project()
    fake = folder.parent / "python"
    fake.mkdir()
    (fake / "sitecustomize.py").write_text(
        "import sys\nfrom collections import namedtuple\n"
        "names = ('major', 'minor', 'micro', 'releaselevel', 'serial')\n"
        "sys.version_info = namedtuple('version_info', names)(*sys.version_info[:2], 99, *sys.version_info[3:])\n"
    )
    words = ("sweep", MODEL, "-S", "seed=1", "--address", ADDRESS)
    for done in (
        cluster.run(folder, "pipeline", *words, ok=False, PYTHONPATH="/srv/python"),
        cluster.driver.run("python", NODE, ADDRESS, ok=False, PYTHONPATH="/srv/python"),
    ):
        assert done.returncode == 2
        assert re.search(rf"error: .* {ADDRESS} has Python [\d.]+, this machine has [\d.]+\.99; ", done.stderr)
        assert "Traceback" not in done.stderr
