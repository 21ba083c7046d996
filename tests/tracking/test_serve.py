"""`pipeline ui`: MLflow's user interface on the project's store."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from pipeline.tracking import ui
from tests.harness import project
from tests.harness.process import free_port, responds, running, until, with_path


@pytest.mark.slow
def test_it_serves_the_store_of_the_project_and_ctrl_c_ends_it(trained: Path, tmp_path: Path) -> None:
    folder, port = project.copy(trained, tmp_path / "project"), free_port()
    (folder / "mlflow.db").rename(folder / "store.db")
    address, log = f"http://127.0.0.1:{port}", tmp_path / "ui.log"
    command = [sys.executable, "-m", "pipeline", "ui", "--port", str(port), "--no-browser"]
    environment = with_path(os.environ, project.BIN) | {"MLFLOW_TRACKING_URI": "sqlite:///store.db"}
    with running(command, log, lambda: address in log.read_text(), cwd=folder, env=environment) as server:
        assert responds(f"{address}/health")
        assert f"{address}/#/experiments/" in log.read_text()
        assert f"viewStateShareKey={ui.VIEW}" in log.read_text()
        models = MlflowClient(address).search_registered_models()
        assert {model.name for model in models} == set(project.MODELS), "those of the store that is set"
        process = psutil.Process(server.pid)
        sockets = [each for one in (process, *process.children(recursive=True)) for each in one.net_connections()]
        listening = {each.laddr for each in sockets if each.status == psutil.CONN_LISTEN}
        assert listening == {("127.0.0.1", port)}
        refused = project.run(folder, *command, ok=False)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"error: port {port} cannot be used (")
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert until(lambda: not responds(f"{address}/health"), 10), "no process of it stays"


def test_a_server_has_a_user_interface_of_its_own(trained_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hush@mlflow.example.org")
    refused = project.invoke("ui")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "error: the MLflow store is a server; open https://***@mlflow.example.org in a browser.\n"
    )


def test_each_run_has_a_colour_of_its_own() -> None:
    colours = [ui.colour(number) for number in range(50)]
    assert len(set(colours)) == 50
    assert all(len(colour) == 7 and colour.startswith("#") for colour in colours)


@pytest.mark.slow
def test_kill_ends_the_server_too(trained: Path, tmp_path: Path) -> None:
    folder, port = project.copy(trained, tmp_path / "project"), free_port()
    address, log = f"http://127.0.0.1:{port}", tmp_path / "ui.log"
    command = [sys.executable, "-m", "pipeline", "ui", "--port", str(port), "--no-browser"]
    with running(command, log, lambda: address in log.read_text(), cwd=folder) as server:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 128 + signal.SIGTERM
        assert until(lambda: not responds(f"{address}/health"), 10), "no process of it stays"
