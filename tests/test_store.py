"""Stores that are not as they should be: a command says so in one sentence, and nothing that was made is lost."""

import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from urllib.parse import urlparse

import pytest
from mlflow import MlflowClient

from pipeline import data
from tests import tiny

MODEL = "bits-lstm24"
OUTPUTS = ("metrics.json", "answers.parquet", "confusion.csv", "by_class.csv", "errors.png")
OLDER = "bd07f7e963c5"  # a revision of MLflow's tables that later ones stand upon


def unreachable(folder: Path, made: Path) -> str:
    return "http://127.0.0.1:9"  # nobody listens on the discard port


def of_an_older_version(folder: Path, made: Path) -> str:
    return with_revision(folder, made, OLDER)


def of_a_later_version(folder: Path, made: Path) -> str:
    return with_revision(folder, made, "ffffffffffff")


def with_revision(folder: Path, made: Path, revision: str) -> str:
    shutil.copy(made / "mlflow.db", folder / "mlflow.db")
    with sqlite3.connect(folder / "mlflow.db") as tables:
        assert tables.execute("UPDATE alembic_version SET version_num = ?", [revision]).rowcount == 1
    tables.close()
    return f"sqlite:///{folder / 'mlflow.db'}"


def no_database(folder: Path, made: Path) -> str:
    (folder / "mlflow.db").write_text("this is no database\n" * 100)
    return f"sqlite:///{folder / 'mlflow.db'}"


def cut(folder: Path, made: Path) -> str:
    content = (made / "mlflow.db").read_bytes()
    (folder / "mlflow.db").write_bytes(content[: len(content) // 2])
    return f"sqlite:///{folder / 'mlflow.db'}"


BAD = [unreachable, of_an_older_version, of_a_later_version, no_database, cut]


@pytest.mark.parametrize("command", [["compare"], ["reproduce", "x"]])
@pytest.mark.parametrize("make", BAD)
def test_a_command_that_reads_says_it_in_one_sentence(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, command: list[str]
) -> None:
    assert callable(make)
    uri = make(tmp_path, here)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = {path: data.md5(path) for path in tmp_path.iterdir() if path.suffix != ".lock"}
    done = tiny.ask(*command)
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert re.fullmatch(r"error: the MLflow store [^\n]+\.\n", done.stderr), done.stderr
    assert uri in done.stderr
    if make in (of_an_older_version, of_a_later_version):
        assert f"copy it, then run `mlflow db upgrade {uri}`." in done.stderr
    else:
        assert "does not answer" in done.stderr
    assert {path: data.md5(path) for path in tmp_path.iterdir() if path.suffix != ".lock"} == before


@pytest.mark.parametrize("command", [["compare"], ["reproduce", "x"]])
def test_without_a_store_it_says_how_to_make_one(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    done = tiny.ask(*command)
    assert done.exit_code == 2
    assert done.stderr == f"error: there is no MLflow store {uri}: make one with `make repro` or `pipeline track`.\n"
    assert not list(tmp_path.iterdir()), "to ask makes none"


@pytest.mark.parametrize("text", ["http://anna:hunter2@127.0.0.1:9", "http://hunter2@127.0.0.1:9"])
def test_no_password_is_shown(here: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", text)
    done = tiny.ask("compare")
    assert done.exit_code == 2
    assert "127.0.0.1:9" in done.stderr
    assert "hunter2" not in done.output


def evaluated(here: Path) -> dict[str, str]:
    return {name: data.md5(here / "models" / MODEL / name) for name in OUTPUTS}


def evaluate(here: Path, caplog: pytest.LogCaptureFixture) -> str:
    """What the stage warns of, once; its outputs are whole nonetheless."""
    whole = evaluated(here)
    for name in OUTPUTS:
        (here / "models" / MODEL / name).unlink()
    with pytest.warns(UserWarning) as warned:
        done = tiny.ask("evaluate", MODEL)
    assert done.exit_code == 0, done.output
    assert evaluated(here) == whole
    assert not list((here / "models").rglob(".writing-*"))
    (only,) = warned
    text = str(only.message)
    assert text.startswith(f"MLflow did not take down the figures of {MODEL} (")
    assert text.endswith("run `pipeline track` when it can be reached again.")
    assert "\n" not in text
    assert "[SQL" not in text
    assert "Traceback" not in done.output + caplog.text
    return text


@pytest.mark.parametrize("make", BAD)
def test_a_stage_goes_on_with_one_warning(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make: object
) -> None:
    assert callable(make)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", make(tmp_path, here))
    evaluate(here, caplog)


def test_one_that_another_process_holds_is_filled_in_later(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = MlflowClient(uri, registry_uri=uri)
    client.search_experiments()  # makes the tables
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    holder = sqlite3.connect(tmp_path / "mlflow.db")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert "locked" in evaluate(here, caplog)
    finally:
        holder.close()
    assert not client.get_experiment_by_name("bits")
    for _ in range(2):
        assert tiny.ask("track").exit_code == 0
    weights = data.md5(here / "models" / MODEL / "model.weights.h5")
    experiments = [each.experiment_id for each in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.weights = '{weights}'")
    assert list(Path(urlparse(run.info.artifact_uri).path).glob("model-*/model.onnx"))
    assert len(client.search_model_versions(f"name = '{MODEL}' and run_id = '{run.info.run_id}'")) == 1


def test_a_run_whose_recording_was_killed_is_filled(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = MlflowClient(uri, registry_uri=uri)
    tags = {"weights": data.md5(here / "models" / MODEL / "model.weights.h5"), "model": MODEL, "task": "bits"}
    run_id = client.create_run(client.create_experiment("bits"), tags=tags).info.run_id
    assert tiny.ask("track").exit_code == 0
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["rate"] == "0.01"
    assert [point.step for point in client.get_metric_history(run_id, "train/loss")] == [10, 20, 25]
    assert "accuracy" in run.data.metrics


def test_lost_artifacts_come_back(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert tiny.ask("track").exit_code == 0
    shutil.rmtree(tmp_path / "mlartifacts")
    assert tiny.ask("track").exit_code == 0
    assert list((tmp_path / "mlartifacts").rglob("provenance.json"))
    assert list((tmp_path / "mlartifacts").rglob("model.onnx"))


def test_a_full_disk_is_no_reason_to_stop(here: Path, tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=200k full {tmp_path}"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("only who may mount can have a disk of 200 KiB")
    whole = evaluated(here)
    done = tiny.run(
        here,
        *("unshare", "-m", "sh", "-c", f"{mount} && exec pipeline evaluate {MODEL}"),
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path / 'mlflow.db'}",
    )
    assert [
        line.startswith(f"warning: MLflow did not take down the figures of {MODEL}")
        for line in done.stderr.splitlines()
    ] == [True]
    assert "full" in done.stderr
    assert evaluated(here) == whole
