"""Runs on an `mlflow server` on a real PostgreSQL, outputs in a DVC remote, and nobody's credentials anywhere."""

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests import server, tiny

pytestmark = pytest.mark.server
MODELS = ("bits-lstm24", "mnist-lstm128")
PERSON, IN_THE_ADDRESS, IN_THE_ENVIRONMENT = "somebody", "7fgQ2xHn4wKp", "Zt9vR3mYc8Ls"


@dataclass
class Project:
    """A tiny copy whose commands know a server and credentials; it remembers all that they said."""

    folder: Path
    server: server.Server
    said: list[str] = field(default_factory=list)

    def run(self, *command: str, at: Path | None = None, ok: bool = True, **environment: str) -> str:
        known = {
            "MLFLOW_TRACKING_URI": self.server.uri,
            "MLFLOW_TRACKING_USERNAME": PERSON,
            "MLFLOW_TRACKING_PASSWORD": IN_THE_ENVIRONMENT,
        }
        done = tiny.run(at or self.folder, *command, ok=ok, **known | environment)
        self.said.append(done.stdout + done.stderr)
        return self.said[-1]

    def client(self) -> Any:
        return MlflowClient(self.server.uri, registry_uri=self.server.uri)

    def runs(self, model: str = "") -> list[Any]:
        client = self.client()
        wanted = f"tags.model = '{model}'" if model else ""
        return list(client.search_runs([each.experiment_id for each in client.search_experiments()], wanted))

    def kept(self) -> dict[str, Any]:
        """What the server holds of runs and versions, but for the times."""
        client = self.client()
        runs = {run.info.run_id: (run.info.run_name, run.data.to_dictionary()) for run in self.runs()}
        versions = {
            f"{each.name} {each.version}": (
                each.run_id,
                each.tags,
                client.get_model_version(each.name, each.version).aliases,
            )
            for each in client.search_model_versions()
        }
        return {"runs": runs, "versions": versions}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tiny.make(tmp_path_factory.mktemp("server") / "project")
    params = tiny.read(folder)
    params["models"] = {name: params["models"][name] | {"gate": {"floor": 0.0}} for name in MODELS}
    del params["tasks"]["fable"]
    tiny.write(folder, params)
    tiny.commit(folder, "two models, no floor")
    with server.started() as running:
        made = Project(folder, running)
        made.run("dvc", "repro", MLFLOW_TRACKING_URI=with_password(running.uri))
        tiny.commit(folder, "made")
        yield made


def with_password(uri: str) -> str:
    return uri.replace("://", f"://{PERSON}:{IN_THE_ADDRESS}@")


def test_each_trained_model_is_one_run_that_the_server_keeps(project: Project) -> None:
    client = project.client()
    for model in MODELS:
        (run,) = project.runs(model)
        assert run.info.status == "FINISHED"
        assert (
            run.data.metrics["wrong"]
            == json.loads((project.folder / "models" / model / "metrics.json").read_text())["wrong"]
        )
        assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [10, 20, 25]
        assert run.data.params["network.lstm"] == "[8]"
        assert run.data.tags["task"] == model.split("-")[0]
        there = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"metrics.json", "errors.png", "provenance.json"} <= there
        assert any(name.startswith("model-") for name in there)
        (weights,) = project.server.artifacts.glob(f"*/{run.info.run_id}/artifacts/provenance.json")
        assert weights.is_file()
    assert not list(project.folder.glob("ml*")), "the store is elsewhere"


def test_each_export_is_a_version_and_a_stand_in_is_no_champion(project: Project) -> None:
    client = project.client()
    for model in MODELS:
        (version,) = client.search_model_versions(f"name = '{model}'")
        passed = not model.startswith("mnist")
        assert version.tags["verdict"] == ("passed" if passed else "did not pass")
        assert version.tags["dataset"]
        assert client.get_registered_model(model).aliases == ({"champion": "1"} if passed else {})


def test_tracked_again_nothing_changes(project: Project) -> None:
    before = project.kept()
    for _ in range(2):
        project.run("pipeline", "track")
        assert project.kept() == before


def test_a_second_clone_pulls_the_outputs_and_tracks_the_runs(project: Project) -> None:
    second = project.folder.parent / "second"
    project.run("dvc", "remote", "add", "--default", "storage", str(project.folder.parent / "storage"))
    tiny.commit(project.folder, "a remote")
    project.run("dvc", "push")
    project.run("git", "clone", "--quiet", str(project.folder), str(second))
    project.run("dvc", "pull", at=second)
    assert project.run("dvc", "status", at=second).strip() == "Data and pipelines are up to date."
    before = project.kept()
    project.run("pipeline", "track", at=second)
    assert project.kept() == before, "the server knows these models"
    project.run("pipeline", "track", at=second, MLFLOW_TRACKING_URI="")
    client = MlflowClient(f"sqlite:///{second / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    tags = {run.data.tags["weights"] for run in runs}
    assert len(runs) == len(MODELS)
    assert tags == {run.data.tags["weights"] for run in project.runs()}


def test_a_changed_parameter_is_a_second_run_to_compare_with_the_first(project: Project) -> None:
    tiny.change(project.folder, "models.bits-lstm24.fast.rate", 0.02)
    project.run("dvc", "repro", MLFLOW_TRACKING_URI=with_password(project.server.uri))
    assert len(project.runs("bits-lstm24")) == len(project.client().search_model_versions("name = 'bits-lstm24'")) == 2
    table = project.run("pipeline", "compare", "bits-lstm24", MLFLOW_TRACKING_URI=with_password(project.server.uri))
    (rate,) = [line.split() for line in table.splitlines() if line.startswith("rate ")]
    assert rate == ["rate", "0.01", "0.02"]


def test_a_run_of_the_server_is_made_again_to_the_byte(project: Project) -> None:
    said = project.run("pipeline", "reproduce", "bits-lstm24")
    assert "with uncommitted changes" in said
    assert ": identical\n" in said


def test_a_server_out_of_reach_is_named_without_its_password(project: Project) -> None:
    nobody = with_password("http://127.0.0.1:9")
    said = project.run("pipeline", "train", "bits-lstm24", MLFLOW_TRACKING_URI=nobody)
    assert said.count("warning: MLflow did not take down") == 1
    assert "//***@127.0.0.1:9" in said
    said = project.run("pipeline", "compare", MLFLOW_TRACKING_URI=nobody, ok=False)
    assert said.startswith("error: the MLflow store http://***@127.0.0.1:9 does not answer")
    said = project.run(
        "pipeline", "compare", "nothing", MLFLOW_TRACKING_URI=with_password(project.server.uri), ok=False
    )
    assert "in http://***@127.0.0.1" in said


def test_nobodys_credentials_land_anywhere(project: Project) -> None:
    """Of all that the tests above left behind: what was said, files, git's objects, tables, artifacts, logs."""
    left = {"terminal": "".join(project.said).encode(), "tables": project.server.database.ask("pg_dump")}
    for folder in (project.folder.parent, project.server.log.parent):
        left |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    objects = ("git", "cat-file", "--batch-all-objects", "--batch")
    left["git"] = subprocess.run(objects, cwd=project.folder, check=True, capture_output=True).stdout
    for password in (IN_THE_ADDRESS, IN_THE_ENVIRONMENT, project.server.database.password):
        for secret in (password.encode(), base64.b64encode(f"{PERSON}:{password}".encode())):
            assert not [name for name, content in left.items() if secret in content]
