"""Stores that do not work: a command says so in one sentence, a stage goes on, and nothing that was made is lost."""

import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlparse

import mlflow.store.db_migrations
import pytest
from alembic.script import ScriptDirectory
from mlflow import MlflowClient

from pipeline.files import md5
from pipeline.paths import ModelPaths
from tests.harness import project

MODEL = "bits-lstm24"
WARNING = f"MLflow could not record the metrics of {MODEL}"


def unreachable(folder: Path, trained: Path) -> str:
    return project.NOBODY


def of_an_older_version(folder: Path, trained: Path) -> str:
    """A store whose tables were made by the version of MLflow before the last change of its tables."""
    (migrations,) = mlflow.store.db_migrations.__path__
    scripts = ScriptDirectory(migrations)
    newest = scripts.get_revision(str(scripts.get_current_head()))
    return with_revision(folder, trained, str(newest.down_revision))


def of_a_later_version(folder: Path, trained: Path) -> str:
    return with_revision(folder, trained, "ffffffffffff")


def with_revision(folder: Path, trained: Path, revision: str) -> str:
    shutil.copy(trained / "mlflow.db", folder / "mlflow.db")
    with closing(sqlite3.connect(folder / "mlflow.db")) as tables, tables:
        (present,) = tables.execute("SELECT version_num FROM alembic_version").fetchone()
        assert re.fullmatch(r"[0-9a-f]{12}", revision), revision
        assert revision != present
        tables.execute("UPDATE alembic_version SET version_num = ?", [revision])
    return f"sqlite:///{folder / 'mlflow.db'}"


def not_a_database(folder: Path, trained: Path) -> str:
    (folder / "mlflow.db").write_text("this is not a database\n" * 100)
    return f"sqlite:///{folder / 'mlflow.db'}"


def truncated(folder: Path, trained: Path) -> str:
    content = (trained / "mlflow.db").read_bytes()
    (folder / "mlflow.db").write_bytes(content[: len(content) // 2])
    return f"sqlite:///{folder / 'mlflow.db'}"


MakeStore = Callable[[Path, Path], str]
OTHER_VERSIONS = [of_an_older_version, of_a_later_version]
BAD_STORES = [unreachable, *OTHER_VERSIONS, not_a_database, truncated]


@pytest.fixture
def store_folder(tmp_path: Path) -> Path:
    """A folder for a store, beside the project of the test."""
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def one_model(trained_project: Path) -> Path:
    """The trained project with one model in its params.yaml, so that `track` has less to do."""
    params = project.read(trained_project)
    for section, name in (("models", MODEL), ("tasks", "bits")):
        params[section] = {name: params[section][name]}
    project.write(trained_project, params)
    return trained_project


@pytest.fixture
def store(empty_store: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty store, which the commands use."""
    shutil.copy(empty_store, store_folder)
    uri = f"sqlite:///{store_folder / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.mark.parametrize("command", [["compare"], ["reproduce", "x"]], ids=["compare", "reproduce"])
@pytest.mark.parametrize("make_store", BAD_STORES)
def test_a_command_that_reads_a_bad_store_says_so_in_one_sentence(
    trained: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch, make_store: MakeStore, command: list[str]
) -> None:
    monkeypatch.chdir(trained)
    uri = make_store(store_folder, trained)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = {path: md5(path) for path in store_folder.iterdir()}
    result = project.invoke(*command)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert re.fullmatch(r"error: the MLflow store [^\n]+\.\n", result.stderr), result.stderr
    assert uri in result.stderr
    if make_store in OTHER_VERSIONS:
        assert "was made by another version of MLflow" in result.stderr
        assert f"copy it, then run `mlflow db upgrade {uri}`." in result.stderr
    elif make_store is not_a_database:
        assert "is no database; delete it, and `pipeline track` makes it again." in result.stderr
    else:
        assert "does not answer" in result.stderr
    assert {path: md5(path) for path in store_folder.iterdir() if path.suffix != ".lock"} == before


@pytest.mark.parametrize("command", [["compare"], ["reproduce", "x"]], ids=["compare", "reproduce"])
def test_a_command_that_reads_does_not_create_a_missing_store(
    trained: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(trained)
    uri = f"sqlite:///{store_folder / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    result = project.invoke(*command)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: there is no MLflow store {uri}; run `make repro` or `pipeline track` to create it.\n"
    )
    assert not list(store_folder.iterdir())


@pytest.mark.parametrize("uri", ["http://anna:hunter2@127.0.0.1:9", "http://hunter2@127.0.0.1:9"])
def test_no_password_is_shown(trained: Path, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    result = project.invoke("compare")
    assert result.exit_code == 2
    assert "127.0.0.1:9" in result.stderr
    assert "hunter2" not in result.output


@pytest.mark.parametrize("rest", ["u:hunter2@127.0.0.1:9/x", "u:hunter2/@127.0.0.1:9", "hunter2 ", "hunter2:x"])
def test_no_profile_of_databricks_is_shown(trained: Path, monkeypatch: pytest.MonkeyPatch, rest: str) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"databricks://{rest}")
    result = project.invoke("compare")
    assert result.exit_code == 2
    assert "does not answer (MlflowException of Databricks)" in result.stderr
    assert "hunter2" not in result.output


def evaluated(folder: Path) -> dict[str, str]:
    """The hash of each file that evaluate writes."""
    paths = ModelPaths(MODEL, folder)
    files = (paths.metrics, paths.predictions, paths.confusion, paths.by_class, paths.errors)
    return {path.name: md5(path) for path in files}


def evaluate(folder: Path, uri: str) -> str:
    """Run the stage, which must print one warning and write all its outputs; return the warning."""
    before = evaluated(folder)
    for name in before:
        (ModelPaths(MODEL, folder).folder / name).unlink()
    result = project.run(folder, "pipeline", "evaluate", MODEL, MLFLOW_TRACKING_URI=uri)
    assert evaluated(folder) == before
    assert not list((folder / "models").rglob(".writing-*"))
    (message,) = result.stderr.splitlines()
    assert message.startswith(f"warning: {WARNING} (")
    assert message.endswith("; run `pipeline track` when it can be reached again.")
    assert "[SQL" not in message
    return message


@pytest.mark.parametrize("make_store", BAD_STORES)
def test_a_stage_goes_on_without_its_store_with_one_warning(
    trained_project: Path, store_folder: Path, make_store: MakeStore
) -> None:
    evaluate(trained_project, make_store(store_folder, trained_project))


def test_what_a_locked_store_missed_is_recorded_later(one_model: Path, store_folder: Path, store: str) -> None:
    with closing(sqlite3.connect(store_folder / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert "locked" in evaluate(one_model, store)
    client = MlflowClient(store, registry_uri=store)  # not earlier: MLflow would wait longer for a store that it knows
    assert not client.get_experiment_by_name("bits")
    for _ in range(2):
        assert project.invoke("track").exit_code == 0
    weights = md5(ModelPaths(MODEL).weights)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.weights = '{weights}'")
    (logged,) = client.search_logged_models([run.info.experiment_id])
    assert list(Path(urlparse(logged.artifact_location).path).rglob("model.onnx"))
    assert len(client.search_model_versions(f"name = '{MODEL}' and run_id = '{run.info.run_id}'")) == 1


def test_a_run_whose_recording_was_killed_is_completed(one_model: Path, store: str) -> None:
    client = MlflowClient(store, registry_uri=store)
    tags = {"weights": md5(ModelPaths(MODEL).weights), "model": MODEL, "task": "bits"}
    run_id = client.create_run(client.create_experiment("bits"), tags=tags).info.run_id
    assert project.invoke("track").exit_code == 0
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "0.01"
    assert [point.step for point in client.get_metric_history(run_id, "train/loss")] == [10, 20, 25]
    assert "accuracy" in run.data.metrics


def test_lost_artifacts_are_written_again(one_model: Path) -> None:
    artifacts = one_model / "mlartifacts/bits"

    def recorded() -> dict[str, str]:
        return {str(path.relative_to(artifacts)): md5(path) for path in artifacts.rglob("*") if path.is_file()}

    def content(files: dict[str, str]) -> dict[str, str]:
        """Without the verdict, since a champion is not judged again, and MLflow's note of the time."""
        return {path: files[path] for path in files if Path(path).name not in ("verdict.json", "MLmodel")}

    before = recorded()
    assert {"provenance.json", "model.onnx", "predictions.parquet"} <= {Path(path).name for path in before}
    shutil.rmtree(artifacts)
    assert project.invoke("track").exit_code == 0
    assert content(recorded()) == content(before)


def test_a_stage_goes_on_when_the_disk_of_its_store_is_full(trained_project: Path, store_folder: Path) -> None:
    mount = f"mount -t tmpfs -o size=200k full {store_folder}"
    alone = ("unshare", "-m", "sh", "-c", mount)
    if not shutil.which("unshare") or subprocess.run(alone, capture_output=True, check=False).returncode:
        pytest.skip("only a user who may mount can have a disk of 200 KiB")
    before = evaluated(trained_project)
    result = project.run(
        trained_project,
        *("unshare", "-m", "sh", "-c", f"{mount} && exec pipeline evaluate {MODEL}"),
        MLFLOW_TRACKING_URI=f"sqlite:///{store_folder / 'mlflow.db'}",
    )
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"warning: {WARNING} (")
    assert "full" in line
    assert evaluated(trained_project) == before


def test_a_store_whose_creation_was_interrupted_is_named(
    one_model: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store_folder / 'mlflow.db'}")
    with closing(sqlite3.connect(store_folder / "mlflow.db")) as store:
        store.execute("CREATE TABLE trace_info (x INTEGER)")  # as an older MLflow left it when it was killed
    done = project.invoke("track")
    assert done.exit_code == 2
    assert "is incomplete: its creation was interrupted; delete it, and `pipeline track` makes it again" in done.stderr
    (store_folder / "mlflow.db").unlink()
    address = f"sqlite:///{store_folder / 'mlflow.db'}"
    project.run(one_model, "pipeline", "track", MLFLOW_TRACKING_URI=address)  # MLflow keeps connections in a process


def test_an_alias_of_a_version_that_is_gone_is_named(one_model: Path, store: str) -> None:
    params = project.read(one_model)
    params["models"][MODEL]["gate"] = {"floor": 0.0}
    project.write(one_model, params)
    assert project.invoke("promote", MODEL).exit_code == 0
    with closing(sqlite3.connect(store.removeprefix("sqlite:///"))) as database, database:
        database.execute("UPDATE registered_model_aliases SET version = 7")
    done = project.invoke("promote", MODEL)
    assert done.exit_code == 2
    assert "refers to something that is gone" in done.stderr
    assert "remove the alias or tag that names it" in done.stderr


def test_a_store_that_was_moved_is_refused_until_it_is_relocated(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = shutil.copytree(trained, tmp_path / "moved", symlinks=True)
    monkeypatch.chdir(moved)
    before = sorted((trained / "mlartifacts").rglob("*"))
    done = project.invoke("track")
    assert done.exit_code == 2
    assert (
        f"was made in another folder, and MLflow would write into {(trained / 'mlartifacts').as_uri()}; run `pipeline "
        "track --relocate`" in done.stderr
    )
    done = project.invoke("track", "--relocate")
    assert (done.exit_code, done.stdout.count("up to date:"), "recorded" in done.stdout) == (
        0,
        len(project.MODELS),
        False,
    )
    assert sorted((trained / "mlartifacts").rglob("*")) == before
    client = MlflowClient(f"sqlite:///{moved / 'mlflow.db'}")
    for run in client.search_runs([each.experiment_id for each in client.search_experiments()]):
        assert Path(urlparse(str(run.info.artifact_uri)).path).is_relative_to(moved)
        assert client.list_artifacts(run.info.run_id)
    for version in client.search_model_versions():
        assert Path(urlparse(str(version.source)).path).is_relative_to(moved)


def test_a_server_is_not_relocated(monkeypatch: pytest.MonkeyPatch, one_model: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.NOBODY)
    done = project.invoke("track", "--relocate")
    assert done.exit_code == 2
    assert "is no file that can be relocated; leave out --relocate" in done.stderr


@pytest.mark.parametrize("name", ["what?", "100%", "a#b"])
def test_a_path_that_no_address_of_a_store_can_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = project.make(tmp_path / name)
    monkeypatch.chdir(folder)
    assert "means something else in its address; move the project" in project.invoke("compare").stderr


def test_a_path_with_both_kinds_of_quotes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.make(tmp_path / 'it\'s "here"'))
    assert "contains both kinds of quotes" in project.invoke("track").stderr
    monkeypatch.chdir(project.make(tmp_path / "it's here"))
    assert project.invoke("track").exit_code == 0, "one kind is fine"
    assert Path("mlflow.db").is_file()


def test_a_database_that_is_down_is_named_within_seconds(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://anna:hunter2@127.0.0.1:9/x")
    started = time.monotonic()
    done = project.invoke("track")
    assert time.monotonic() - started < 20
    assert done.exit_code == 2
    assert "postgresql+psycopg2://***@127.0.0.1:9/x does not answer" in done.stderr
    assert "hunter2" not in done.output
