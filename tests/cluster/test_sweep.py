"""Sweeps on Ray: on this machine, and on a cluster whose workers, nodes and driver are lost."""

import json
import re
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from pipeline.files import md5
from tests.cluster.conftest import MODEL, Cluster, end, start
from tests.harness import project
from tests.harness.process import free_port, responds, running, until, with_path, without

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make test-cluster` installs it")
pytestmark = pytest.mark.cluster

RATE = f"models.{MODEL}.recipes.fast.learning_rate"
SIX = ("-S", "seed=1,2,3", "-S", "learning_rate=0.01,0.02")


def sweep(folder: Path, *words: str, **environment: str) -> str:
    """Run a sweep to its end; return what it printed."""
    with start(folder, "sweep", MODEL, *words, **environment) as process:
        return end(process, folder)[0]


def trials(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """The trials of a sweep that have ended, by name."""
    files = sorted((folder / "sweeps" / name).glob(f"{name}-*.json"))
    return {path.stem: json.loads(path.read_text()) for path in files}


def weights(record: dict[str, Any]) -> str:
    (found,) = (out["md5"] for out in record["entries"][f"train@{MODEL}"]["outs"] if out["path"].endswith(".h5"))
    return str(found)


def runs(folder: Path, sweep: str) -> list[Run]:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    return list(client.search_runs(experiments, f"tags.sweep = '{sweep}'", ViewType.ACTIVE_ONLY))


def trial_processes(parent: int) -> list[psutil.Process]:
    """The Ray workers below a process that run a trial."""
    found = []
    for each in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if "Trainable.train" in " ".join(each.cmdline()[:1]):
                found.append(each)
    return found


def listening(parent: int) -> set[str]:
    """The addresses at which a process and those below it listen."""
    addresses = set()
    for each in (psutil.Process(parent), *psutil.Process(parent).children(recursive=True)):
        with suppress(psutil.Error):
            for connection in each.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    addresses.add(connection.laddr.ip.removeprefix("::ffff:"))
    return addresses


def trained_here(folder: Path, record: dict[str, Any]) -> str:
    """The MD5 of the weights that `dvc repro` makes of a trial's parameters on this machine, without any cache."""
    for key, value in record["overrides"].items():
        project.change(folder, key, value)
    project.run(folder, "dvc", "repro", "--force", "--no-run-cache", f"train@{MODEL}", PIPELINE_RECORD="off")
    return md5(folder / "models" / MODEL / "model.weights.h5")


def test_six_trials_on_two_nodes_end_as_on_one_machine_though_a_worker_is_killed(swept: Path, cluster: Cluster) -> None:
    words = (*SIX, "--name", "six", "--address", cluster.address)
    with start(swept, "sweep", MODEL, *words, **cluster.environment) as process:
        assert until(lambda: len(trial_processes(cluster.process.pid)) == 2, 120)
        time.sleep(4)  # its stages have begun
        killed = trial_processes(cluster.process.pid)[0]
        below = killed.children(recursive=True)
        assert below
        killed.kill()
        output = end(process, swept)[0]
    _, alive = psutil.wait_procs(below, timeout=30)
    assert not alive, "the stages of a killed worker end with it"
    records = trials(swept, "six")
    assert [record["outcome"] for record in records.values()] == ["finished"] * 6
    assert output.count(": finished, accuracy") == 6, "no trial is counted twice"
    assert re.search(r"\| six-6 +\| TERMINATED \| 127.0.0.1:\d+ +\| +25 \| +25 \| +100 \|", output), "the table"
    found = runs(swept, "six")
    assert len(found) == 6
    assert {run.data.tags["weights"] for run in found} == {weights(record) for record in records.values()}
    table = pd.read_csv(swept / "sweeps" / "six" / "results.csv")
    assert len(table) == 6
    assert (swept / "sweeps" / "six" / "results.png").stat().st_size > 10_000
    # The best trial's parameters: DVC runs nothing.
    best = table.sort_values("score", ascending=False).iloc[0]
    record = records[best["trial"]]
    for key, value in record["overrides"].items():
        project.change(swept, key, value)
    done = project.run(swept, "dvc", "repro", f"evaluate@{MODEL}")
    assert not project.stages_run(done.stdout)
    assert f"'train@{MODEL}' is cached - skipping run" in done.stdout
    assert md5(swept / "models" / MODEL / "model.weights.h5") == weights(record)
    assert len(runs(swept, "six")) == 6
    assert project.run(swept, "pipeline", "reproduce", f"{MODEL}@{best['trial']}", "--yes").stdout.endswith(
        "identical\n"
    )
    compared = project.run(swept, "pipeline", "compare", "six-*").stdout
    assert all(name in compared for name in records)
    project.run(swept, "pipeline", "promote", MODEL, ok=False)
    # The bytes are those of one machine.
    assert trained_here(swept, records["six-1"]) == weights(records["six-1"])


def test_a_lost_node_s_trials_run_again_on_the_other(swept: Path, cluster: Cluster) -> None:
    words = ("-S", "seed=1,2,3", "--name", "lost", "--address", cluster.address)
    with start(swept, "sweep", MODEL, *words, **cluster.environment) as process:
        assert until(lambda: len(trial_processes(cluster.process.pid)) == 2, 120)
        time.sleep(3)
        cluster.tell("lose")
        end(process, swept)
    assert [record["outcome"] for record in trials(swept, "lost").values()] == ["finished"] * 3
    assert len(runs(swept, "lost")) == 3


def test_a_driver_that_was_killed_goes_on_where_it_was(swept: Path) -> None:
    words = ("-S", "seed=1,2,3", "--name", "again")
    with start(swept, "sweep", MODEL, *words):
        assert until(lambda: bool(trials(swept, "again")), 240)
    before = {path: path.stat().st_mtime_ns for path in (swept / "sweeps" / "again").glob("again-*.json")}
    assert 1 <= len(before) < 3
    output = sweep(swept, *words)
    assert [record["outcome"] for record in trials(swept, "again").values()] == ["finished"] * 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert output.count(": finished, accuracy") == 3 - len(before)
    assert len(runs(swept, "again")) == 3
    # Once more: nothing is left to do, and Ray is not started.
    output = sweep(swept, *words)
    assert ": finished, accuracy" not in output
    assert len(runs(swept, "again")) == 3
    assert (
        "holds a sweep of other trials"
        in project.run(swept, "pipeline", "sweep", MODEL, "-S", "seed=1", "--name", "again", ok=False).stderr
    )


def test_trials_that_are_stopped_early_are_recorded_as_stopped_and_never_registered(swept: Path) -> None:
    project.change(swept, f"models.{MODEL}.recipes.fast.steps", 2000)
    project.change(swept, f"models.{MODEL}.recipes.fast.log_every", 100)
    words = ("-S", "learning_rate=0.03,0.0000001,0.0000002", "--stop-early", "--name", "early")
    sweep(swept, *words, "--cpus-per-trial", "1")
    records = trials(swept, "early")
    outcomes = {record["overrides"][RATE]: record["outcome"] for record in records.values()}
    assert outcomes[0.03] == "finished"
    stopped = [record for record in records.values() if record["outcome"] == "stopped"]
    assert stopped
    assert all(0 < len(record["rows"]) < 20 for record in stopped)
    found = {run.info.run_name: run for run in runs(swept, "early")}
    assert len(found) == 3
    client = MlflowClient(f"sqlite:///{swept / 'mlflow.db'}")
    registered = {version.run_id for version in client.search_model_versions()}
    for record in stopped:
        run = found[f"{MODEL}@{record['name']} (stopped)"]
        assert run.info.status == "KILLED"
        assert run.info.run_id not in registered
        curve = client.get_metric_history(run.info.run_id, "train/accuracy")
        assert [point.value for point in curve] == [row["accuracy"] for row in record["rows"]]


def test_a_node_with_another_version_of_a_library_is_refused_by_its_name(
    swept: Path, cluster: Cluster, tmp_path: Path
) -> None:
    fake = tmp_path / "other" / "keras-0.0.1.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: keras\nVersion: 0.0.1\n")
    done = project.run(
        swept, "pipeline", "sweep", MODEL, "-S", "seed=1", "--address", cluster.address, ok=False,
        PYTHONPATH=str(fake.parent), **cluster.environment,
    )  # fmt: skip
    assert done.returncode == 2
    assert "error: the node 127.0.0.1 has keras 3." in done.stderr
    assert "this machine has 0.0.1; install the same lock file on both." in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-S", "seed=1", "--name", "../../x"), "'../../x' is not the name of a sweep"),
        (("-S", "seed=1", "--name", "X y"), "'X y' is not the name of a sweep"),
        (("-S", "seed=1", "--cpus-per-trial", "1000"), "a trial needs 1000 CPUs and 0 GPUs, and the largest node has"),
        (("-S", "seed=one"), "seed=one: params.yaml: seed: got 'one'"),
    ],
)
def test_what_cannot_run_is_one_sentence(swept: Path, words: tuple[str, ...], sentence: str) -> None:
    done = project.run(swept, "pipeline", "sweep", MODEL, *words, ok=False)
    assert done.returncode == 2
    assert f"error: {sentence}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_sweep_that_is_interrupted_says_how_to_go_on(swept: Path) -> None:
    with start(swept, "sweep", MODEL, "-S", "seed=1,2,3,4", "--name", "stopped") as process:
        assert until(lambda: len(trial_processes(process.pid)) == 2, 240)
        process.send_signal(signal.SIGINT)
        process.wait(120)
    assert "4 trials have not ended; the same command goes on with them" in (swept.parent / "out").read_text()
    assert "Traceback" not in (swept.parent / "err").read_text()
    assert not trials(swept, "stopped")


def test_a_cluster_that_is_not_there_is_one_sentence(swept: Path) -> None:
    done = project.run(swept, "pipeline", "sweep", MODEL, "-S", "seed=1", "--address", "127.0.0.1:9", ok=False)
    assert done.returncode == 2
    assert "error: Ray at 127.0.0.1:9 could not be reached or started" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reachable_server_gets_the_curves_while_trials_train(swept: Path, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    project.change(swept, f"models.{MODEL}.recipes.fast.steps", 1200)
    options = ("--workers", "1", "--port", address.rpartition(":")[2], "--host", "127.0.0.1")
    command = ["mlflow", "server", *options, "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    environment = with_path(without("MLFLOW_"), project.BIN) | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    client = MlflowClient(address)

    def found() -> list[Run]:
        return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))

    def live() -> bool:
        return any("live" in run.data.tags and "train/loss" in run.data.metrics for run in found())

    with running(command, tmp_path / "log", lambda: responds(address), env=environment, cwd=tmp_path):
        with start(swept, "sweep", MODEL, "-S", "seed=1,2", "--name", "live", MLFLOW_TRACKING_URI=address) as process:
            assert until(live, 240)
            addresses = listening(process.pid)
            end(process, swept)
        assert sorted(str(run.info.run_name) for run in found()) == [f"{MODEL}@live-1", f"{MODEL}@live-2"]
        assert all(run.data.tags["sweep"] == "live" and "accuracy" in run.data.metrics for run in found())
    assert addresses == {"127.0.0.1"}, "of Ray, on this machine"
    assert not (swept / "mlflow.db").exists()
