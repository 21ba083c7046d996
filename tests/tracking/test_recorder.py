"""The process beside a stage that records it: no stage imports MLflow, and none that fails or is killed leaves one."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from pipeline.lineage import artifacts
from pipeline.lineage.provenance import of_artifacts
from pipeline.paths import ModelPaths
from pipeline.tracking.recorder import TRAINING, Recorder
from tests.harness import project
from tests.harness.process import until, with_path, without

MODEL = "bits-lstm24"
# A program: heed Ctrl-C, which a job in the background ignores, and go on as Python with these arguments.
HEEDING = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


def recorders(folder: Path) -> list[psutil.Process]:
    """The processes that record the stages of a project."""
    processes = psutil.process_iter(["cwd", "cmdline"])
    return [each for each in processes if each.info["cwd"] == str(folder) and "recorder" in each.info["cmdline"]]


def experiment(client: MlflowClient) -> str:
    """The id of the experiment of the model's task."""
    found = client.get_experiment_by_name("bits")
    assert found
    return str(found.experiment_id)


@pytest.mark.parametrize("verb", ["train", "export", "evaluate"])
def test_no_stage_imports_mlflow(trained_project: Path, verb: str) -> None:
    done = project.run(trained_project, sys.executable, "-X", "importtime", "-m", "pipeline", verb, MODEL)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "numpy" in imported
    assert not {"mlflow", "sqlalchemy", "fastapi"} & imported


def test_a_stage_that_fails_ends_the_process_beside_it(trained_project: Path, tmp_path: Path) -> None:
    (ModelPaths(MODEL).export / "model.onnx").write_bytes(b"damaged")
    (tmp_path / "store").mkdir()
    uri = f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}"
    done = project.run(trained_project, "pipeline", "evaluate", MODEL, ok=False, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert not recorders(trained_project)
    assert not list((tmp_path / "store").glob(".writing-*"))


def test_a_training_that_ends_early_leaves_a_run_that_says_so(trained_project: Path) -> None:
    """One that was interrupted is a failed run; that of one that was killed is deleted by the next training."""
    project.change(trained_project, f"models.{MODEL}.recipes.fast.steps", 100_000)
    client = MlflowClient(f"sqlite:///{trained_project / 'mlflow.db'}")

    def live() -> set[str]:
        return {run.info.run_id for run in client.search_runs([experiment(client)], "tags.live LIKE '%'")}

    def end(number: signal.Signals, before: set[str]) -> str:
        """Begin a training, end it by a signal once its run is there, and return the run's id."""
        with subprocess.Popen(
            [sys.executable, "-c", HEEDING, "-m", "pipeline", "train", MODEL],
            env=with_path(without("DVC_", "MLFLOW_", "GIT_", "COV_"), project.BIN),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as training:
            assert until(lambda: bool(live() - before), 90)
            (run,) = live() - before
            training.send_signal(number)
        assert until(lambda: not recorders(trained_project), 30), "the process ends with its stage"
        return run

    killed = end(signal.SIGKILL, set())
    assert live() == {killed}
    interrupted = end(signal.SIGINT, {killed})
    assert not live()
    assert client.get_run(killed).info.lifecycle_stage == "deleted"
    info = client.get_run(interrupted).info
    assert (info.status, info.run_name) == ("FAILED", f"{MODEL}@stopped")


def test_a_run_has_the_times_of_its_training_and_a_credential_in_it_is_named(trained_project: Path) -> None:
    """Though MLflow is imported only after it began."""
    Path("pipeline/key.py").write_text("KEY = 'AKIAIOSFODNN7EXAMPLE'\n")
    done = project.run(trained_project, "pipeline", "train", MODEL)
    assert re.fullmatch(
        r"warning: the changes of pipeline/key.py add what looks like a credential [^\n]+\n", done.stderr
    )
    client = MlflowClient(f"sqlite:///{trained_project / 'mlflow.db'}")
    newest = client.search_runs(
        [experiment(client)], run_view_type=ViewType.ALL, order_by=["attributes.start_time DESC"]
    )[0]
    points = client.get_metric_history(newest.info.run_id, "train/loss")
    assert [point.step for point in points] == [10, 20, 25]
    assert newest.info.start_time <= points[0].timestamp < points[-1].timestamp <= newest.info.end_time


@pytest.mark.parametrize("awaited", [0, 2], ids=["a training that is over at once", "one that goes on"])
def test_a_run_has_what_the_machine_did_while_it_trained(
    trained_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awaited: int
) -> None:
    """From time to time, and once at the end: a training may be over before MLflow is imported."""
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'runs.db'}")
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs.db'}")
    ids = [client.create_experiment("bits", (tmp_path / "artifacts").as_uri())]

    def points() -> int:
        runs = client.search_runs(ids)
        return sum(len(client.get_metric_history(run.info.run_id, "system/cpu_utilization_percentage")) for run in runs)

    provenance = of_artifacts(artifacts.workspace(MODEL, "bits"))
    with Recorder(MODEL, TRAINING) as recorder, recorder.training(provenance):
        assert until(lambda: points() >= awaited, 90)
    (run,) = client.search_runs(ids)
    assert run.info.status == "FINISHED"
    assert 0 < run.data.metrics["system/system_memory_usage_percentage"] < 100
    assert points() > awaited
