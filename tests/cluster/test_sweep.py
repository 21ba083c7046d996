"""Sweeps on Ray: on this machine; test_hosts.py has those on several."""

import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.cluster.conftest import MODEL, end, runs, start, trials
from tests.harness import project
from tests.harness.process import free_port, responds, running, until, with_path, without

pytest.importorskip("ray", reason="the extra `cluster` is not installed; `make test-cluster` installs it")
pytestmark = pytest.mark.cluster

RATE = f"models.{MODEL}.recipes.fast.learning_rate"


def sweep(folder: Path, *words: str, **environment: str) -> str:
    """Run a sweep to its end; return what it printed."""
    with start(folder, "sweep", MODEL, *words, **environment) as process:
        return end(process, folder)[0]


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
    assert "error: nothing answers at 127.0.0.1:9 (" in done.stderr
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
