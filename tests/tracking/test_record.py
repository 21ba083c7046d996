"""What MLflow holds of a model, and what of it is written again."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline import config
from pipeline.files import md5
from pipeline.paths import ModelPaths
from pipeline.tracking import record, schema
from tests.harness import project

MODEL = project.MODELS[0]


@pytest.mark.parametrize("damage", ["a bit", "empty", "gone"])
def test_track_writes_a_damaged_artifact_of_a_run_again(trained_project: Path, damage: str) -> None:
    names = ("provenance.json", "predictions.parquet")
    paths = [path for name in names for path in Path("mlartifacts").rglob(name) if "bits" in str(path)]
    before = {path: path.read_bytes() for path in paths}
    assert len(before) == 2
    for path, content in before.items():
        place = len(content) // 2
        if damage == "gone":
            path.unlink()
        else:
            flipped = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            path.write_bytes(flipped if damage == "a bit" else b"")
    done = project.invoke("track")
    assert done.exit_code == 0
    assert "note:" not in done.stdout
    assert {path: path.read_bytes() for path in paths} == before


def test_an_artifact_on_this_machine_is_read_where_it_is(trained_project: Path, tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{trained_project / 'mlflow.db'}")
    run = schema.recorded_runs(client)[0]
    copies = tmp_path / "copies"
    copies.mkdir()
    found = schema.download(client, run, Path("models/any/metrics.json"), copies)
    assert found is not None
    assert found.read_bytes() == ModelPaths(run.data.tags["model"]).metrics.read_bytes()
    assert found.resolve().is_relative_to((trained_project / "mlartifacts").resolve())
    assert schema.download(client, run, Path("none.json"), copies) is None
    assert not list(copies.iterdir())


def test_a_run_holds_the_provenance_that_the_logs_have(trained_project: Path) -> None:
    paths = ModelPaths(MODEL)
    logged = paths.provenance(md5(paths.weights)).read_bytes()
    assert logged in [path.read_bytes() for path in Path("mlartifacts").rglob("provenance.json")]


def test_the_artifacts_of_an_intact_run_are_left_alone(trained_project: Path) -> None:
    project.invoke("track")
    before = {path: path.stat().st_mtime_ns for path in Path("mlartifacts").rglob("*.parquet")}
    project.invoke("track")
    assert {path: path.stat().st_mtime_ns for path in Path("mlartifacts").rglob("*.parquet")} == before != {}


def test_a_run_that_is_rebuilt_lasts_as_long_as_its_training(
    trained_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert project.invoke("track").exit_code == 0
    client = MlflowClient(store)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert len(runs) == len(project.MODELS)
    for run in runs:
        seconds = (run.info.end_time - run.info.start_time) / 1000
        assert seconds == pytest.approx(run.data.metrics["training_seconds"], abs=0.001)
        assert run.info.status == "FINISHED"


def test_a_run_of_a_task_that_was_renamed_is_left_as_it_is(trained_project: Path) -> None:
    client = MlflowClient(f"sqlite:///{trained_project / 'mlflow.db'}")
    (old,) = schema.recorded_runs(client, f"tags.model = '{MODEL}'")
    client.rename_experiment(old.info.experiment_id, "counting")
    client.set_tag(old.info.run_id, "task", "counting")
    before = client.get_run(old.info.run_id)
    assert f"recorded {old.info.run_name}" in project.invoke("track").stdout
    assert client.get_run(old.info.run_id).to_dictionary() == before.to_dictionary()
    new = [run for run in schema.recorded_runs(client, f"tags.model = '{MODEL}'") if run.info.run_id != old.info.run_id]
    assert [client.get_experiment(run.info.experiment_id).name for run in new] == ["bits"]


def test_track_asks_for_all_runs_at_once(trained_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    search = MlflowClient.search_runs

    def counted(self: MlflowClient, *arguments: Any, **named: Any) -> Any:
        asked.append(arguments)
        return search(self, *arguments, **named)

    monkeypatch.setattr(MlflowClient, "search_runs", counted)
    assert project.invoke("track").exit_code == 0
    assert len(asked) <= 1 + len(project.TASKS), "all runs, and of each task those of trainings that were killed"


def test_a_stopped_trial_whose_record_failed_is_recorded_again(trained_project: Path) -> None:
    setup, rows = config.load().model(MODEL), [{"step": 10.0, "loss": 1.0, "accuracy": 0.5}]
    trial = setup, "sweep-1", "sweep", "a" * 40, rows
    client = MlflowClient(f"sqlite:///{trained_project / 'mlflow.db'}")

    def recorded() -> list[Any]:
        experiment = client.get_experiment_by_name("bits")
        assert experiment
        return list(client.search_runs([experiment.experiment_id], "tags.sweep = 'sweep'"))

    record.record_stopped(*trial)
    (whole,) = recorded()
    client.update_run(whole.info.run_id, status="RUNNING")  # as after a failure before the last write
    record.record_stopped(*trial)
    (again,) = recorded()
    assert again.info.run_id != whole.info.run_id
    assert (again.info.status, again.data.metrics) == ("KILLED", whole.data.metrics)
    record.record_stopped(*trial)
    assert [run.info.run_id for run in recorded()] == [again.info.run_id]
