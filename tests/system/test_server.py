"""Runs on an `mlflow server` with a real PostgreSQL, outputs in a DVC remote, and credentials that appear nowhere.

Each fixture is a step that changes the server or the project once. It keeps what the tests look at, so that they may
run in any order.
"""

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.paths import ModelPaths
from tests.harness import project, server

pytestmark = [pytest.mark.server, pytest.mark.slow]
BITS, MNIST, _ = project.MODELS
MODELS = (BITS, MNIST)
USER, PASSWORD_IN_ADDRESS, PASSWORD_IN_ENVIRONMENT = "somebody", "7fgQ2xHn4wKp", "Zt9vR3mYc8Ls"


@dataclass
class Site:
    """A tiny project whose commands have a server and credentials; it keeps all that they print."""

    folder: Path
    server: server.Server
    printed: list[str] = field(default_factory=list)

    def run(self, *command: str, at: Path | None = None, ok: bool = True, **environment: str) -> str:
        settings = {
            "MLFLOW_TRACKING_URI": self.server.uri,
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": PASSWORD_IN_ENVIRONMENT,
        }
        done = project.run(at or self.folder, *command, ok=ok, **settings | environment)
        self.printed.append(done.stdout + done.stderr)
        return self.printed[-1]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.server.uri, registry_uri=self.server.uri)

    def runs(self, model: str) -> list[Run]:
        experiments = [experiment.experiment_id for experiment in self.client.search_experiments()]
        return list(self.client.search_runs(experiments, f"tags.model = '{model}'"))

    def contents(self) -> dict[str, Any]:
        """What the server has of runs and versions, without the times."""
        runs = [run for model in MODELS for run in self.runs(model)]
        return {run.info.run_id: (run.info.run_name, run.data.to_dictionary()) for run in runs} | {
            f"{version.name} {version.version}": (
                version.run_id,
                version.tags,
                self.client.get_model_version(version.name, version.version).aliases,
            )
            for version in self.client.search_model_versions()
        }


def with_password(uri: str) -> str:
    return uri.replace("://", f"://{USER}:{PASSWORD_IN_ADDRESS}@")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two models that DVC trained, whose runs went to the server."""
    folder = project.make(tmp_path_factory.mktemp("server") / "project", MODELS)
    for model in MODELS:
        project.change(folder, f"models.{model}.gate.floor", 0.0)
    params = project.read(folder)
    del params["tasks"]["fable"]
    project.write(folder, params)
    project.commit(folder, "two models, no floor")
    with server.started() as running:
        site = Site(folder, running)
        site.run("dvc", "repro", MLFLOW_TRACKING_URI=with_password(running.uri))
        site.run("pipeline", "promote", MLFLOW_TRACKING_URI=with_password(running.uri), ok=False)
        project.commit(folder, "trained")
        yield site


@dataclass(frozen=True)
class Recorded:
    """What the server had of each model after its training."""

    runs: dict[str, list[Run]]
    wrong: dict[str, int]  # of metrics.json
    steps: dict[str, list[int]]  # of the points of train/loss
    artifacts: dict[str, set[str]]
    versions: dict[str, list[Any]]
    aliases: dict[str, dict[str, str]]
    contents: dict[str, Any]


@pytest.fixture(scope="module")
def recorded(site: Site) -> Recorded:
    client = site.client
    runs = {model: site.runs(model) for model in MODELS}
    ids = {model: of_model[0].info.run_id for model, of_model in runs.items()}
    return Recorded(
        runs,
        {model: json.loads(ModelPaths(model, site.folder).metrics.read_text())["wrong"] for model in MODELS},
        {model: [point.step for point in client.get_metric_history(ids[model], "train/loss")] for model in MODELS},
        {model: {file.path for file in client.list_artifacts(ids[model])} for model in MODELS},
        {model: list(client.search_model_versions(f"name = '{model}'")) for model in MODELS},
        {model: client.get_registered_model(model).aliases for model in MODELS},
        site.contents(),
    )


@pytest.fixture(scope="module")
def tracked_again(site: Site, recorded: Recorded) -> list[dict[str, Any]]:
    """What the server has after each of two more `pipeline track`."""
    contents = []
    for _ in range(2):
        site.run("pipeline", "track")
        contents.append(site.contents())
    return contents


@dataclass(frozen=True)
class Clone:
    """A second clone with the outputs from a DVC remote."""

    folder: Path
    status: str
    contents: dict[str, Any]  # of the server, after the clone's `pipeline track`


@pytest.fixture(scope="module")
def clone(site: Site, recorded: Recorded, tracked_again: list[dict[str, Any]]) -> Clone:
    folder = site.folder.parent / "second"
    site.run("dvc", "remote", "add", "--default", "storage", str(site.folder.parent / "storage"))
    project.commit(site.folder, "a remote")
    site.run("dvc", "push")
    site.run("git", "clone", "--quiet", str(site.folder), str(folder))
    site.run("dvc", "pull", at=folder)
    status = site.run("dvc", "status", at=folder)
    site.run("pipeline", "track", at=folder)
    contents = site.contents()
    site.run("pipeline", "track", at=folder, MLFLOW_TRACKING_URI="")
    return Clone(folder, status, contents)


@dataclass(frozen=True)
class Change:
    """A second training of one model, with another learning rate that is not committed."""

    runs: int
    versions: int
    compared: str
    reproduced: str


@pytest.fixture(scope="module")
def change(site: Site, clone: Clone) -> Change:
    uri = with_password(site.server.uri)
    project.change(site.folder, f"models.{BITS}.recipes.fast.learning_rate", 0.02)
    site.run("dvc", "repro", MLFLOW_TRACKING_URI=uri)
    return Change(
        len(site.runs(BITS)),
        len(site.client.search_model_versions(f"name = '{BITS}'")),
        site.run("pipeline", "compare", BITS, MLFLOW_TRACKING_URI=uri),
        site.run("pipeline", "reproduce", BITS),
    )


@pytest.fixture(scope="module")
def unreachable(site: Site, change: Change) -> dict[str, str]:
    """What commands print if no server answers, or if it does not have what they look for."""
    nowhere, uri = with_password(project.NOBODY), with_password(site.server.uri)
    return {
        "train": site.run("pipeline", "train", BITS, MLFLOW_TRACKING_URI=nowhere),
        "compare": site.run("pipeline", "compare", MLFLOW_TRACKING_URI=nowhere, ok=False),
        "nothing": site.run("pipeline", "compare", "nothing", MLFLOW_TRACKING_URI=uri, ok=False),
    }


@pytest.mark.parametrize("model", MODELS)
def test_each_trained_model_is_one_run_on_the_server(site: Site, recorded: Recorded, model: str) -> None:
    (run,) = recorded.runs[model]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["wrong"] == recorded.wrong[model]
    assert recorded.steps[model] == [10, 20, 25]
    assert run.data.params["network.units"] == "[8]"
    assert run.data.tags["task"] == project.read(site.folder)["models"][model]["task"]
    assert {"metrics.json", "errors.png", "provenance.json"} <= recorded.artifacts[model]
    assert run.outputs
    (output,) = run.outputs.model_outputs
    assert any(file.path == "MLmodel" for file in site.client.list_logged_model_artifacts(output.model_id))
    (provenance,) = site.server.artifacts.glob(f"*/{run.info.run_id}/artifacts/provenance.json")
    assert provenance.is_file(), "the server keeps the artifacts"
    assert not list(site.folder.glob("ml*")), "the project has no store"


def test_each_export_is_a_version_and_a_stand_in_is_no_champion(recorded: Recorded) -> None:
    for model, passed in ((BITS, True), (MNIST, False)):
        (version,) = recorded.versions[model]
        assert version.tags["verdict"] == ("passed" if passed else "did not pass")
        assert version.tags["dataset"] == ("bits-8" if passed else "uci-digits")
        assert recorded.aliases[model] == ({"champion-bits-8": "1"} if passed else {})


def test_tracking_again_changes_nothing(recorded: Recorded, tracked_again: list[dict[str, Any]]) -> None:
    assert tracked_again == [recorded.contents] * 2


def test_a_second_clone_pulls_the_outputs_and_records_the_same_runs(recorded: Recorded, clone: Clone) -> None:
    assert clone.status.strip() == "Data and pipelines are up to date."
    assert clone.contents == recorded.contents, "the server has these models"
    client = MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len(runs) == len(MODELS)
    weights = {run.data.tags["weights"] for of_model in recorded.runs.values() for run in of_model}
    assert {run.data.tags["weights"] for run in runs} == weights


def test_a_changed_parameter_is_a_second_run_to_compare_with_the_first(change: Change) -> None:
    assert change.runs == change.versions == 2
    (rate,) = [line.split() for line in change.compared.splitlines() if line.startswith("learning_rate ")]
    assert rate == ["learning_rate", "0.01", "0.02"]


def test_a_run_of_the_server_is_reproduced_to_the_byte(change: Change) -> None:
    assert "with uncommitted changes" in change.reproduced
    assert ": identical\n" in change.reproduced


def test_messages_name_a_server_without_its_password(unreachable: dict[str, str]) -> None:
    assert unreachable["train"].count("warning: MLflow could not record") == 1
    assert "//***@127.0.0.1:9" in unreachable["train"]
    assert unreachable["compare"].startswith("error: the MLflow store http://***@127.0.0.1:9 does not answer")
    assert "in http://***@127.0.0.1" in unreachable["nothing"]


@pytest.mark.usefixtures("tracked_again", "clone", "change", "unreachable")
def test_no_credentials_are_printed_or_stored(site: Site) -> None:
    """In what all the commands printed, in files, git's objects, tables, artifacts and logs."""
    places = {"terminal": "".join(site.printed).encode(), "tables": site.server.database.ask("pg_dump")}
    for folder in (site.folder.parent, site.server.log.parent):
        places |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    objects = ("git", "cat-file", "--batch-all-objects", "--batch")
    places["git"] = subprocess.run(objects, cwd=site.folder, check=True, capture_output=True).stdout
    assert b"***@127.0.0.1" in places["terminal"]
    assert b"metrics" in places["tables"]
    for password in (PASSWORD_IN_ADDRESS, PASSWORD_IN_ENVIRONMENT, site.server.database.password):
        for secret in (password.encode(), base64.b64encode(f"{USER}:{password}".encode())):
            assert not [name for name, content in places.items() if secret in content]
