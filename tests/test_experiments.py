"""DVC's experiments, however they are run, and what is known of them when MLflow's store is gone."""

import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.tracking import content
from tests import tiny

MODEL = "bits-lstm24"
NAMES = ["first", "second", "third", "sweep-1", "sweep-2", "sweep-3", "sweep-4", "missed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which experiments were run one after another, in a temporary copy, in a queue and with no store."""
    folder = tiny.make(tmp_path_factory.mktemp("experiments"))
    tiny.run(folder, "dvc", "repro", f"evaluate@{MODEL}")
    tiny.commit(folder, "made")
    last = f"evaluate@{MODEL}"
    tiny.run(folder, "dvc", "exp", "run", "--name", "first", "-S", "seed=1", last)
    tiny.run(folder, "dvc", "exp", "run", "--name", "second", "-S", "seed=2", last)
    tiny.run(folder, "git", "checkout", "--quiet", ".")
    tiny.run(folder, "dvc", "exp", "run", "--temp", "--name", "third", "-S", "seed=3", last)
    done = tiny.run(
        *(folder, "dvc", "exp", "run", "--temp", "--name", "missed", "-S", "seed=4", last),
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
    )
    assert (done.stdout + done.stderr).count("warning: MLflow did not take down") == 2, "one of train, one of evaluate"
    sweep = ["-S", f"models.{MODEL}.network.lstm=[4],[6]", "-S", "seed=5,6"]
    tiny.run(folder, "dvc", "exp", "run", "--queue", "--name", "sweep", *sweep, last)
    tiny.run(folder, "sh", "-c", "dvc queue start -j 2 > /dev/null 2>&1")  # workers that outlive it would hold a pipe
    for _ in range(120):
        if "Queued" not in (status := tiny.run(folder, "dvc", "queue", "status").stdout) and "Running" not in status:
            break
        time.sleep(2)
    assert status.count("Success") == 4, status
    tiny.run(folder, "dvc", "queue", "stop")
    tiny.run(folder, "dvc", "checkout", "--with-deps", last)
    return folder


def runs(folder: Path, store: str = "mlflow.db") -> list[Any]:
    return content.runs(MlflowClient(f"sqlite:///{folder / store}"), "")


def experiments(found: list[Any]) -> list[str]:
    return sorted(run.data.tags["experiment"] for run in found if "experiment" in run.data.tags)


def test_every_experiment_is_once_in_the_store_under_its_name(folder: Path) -> None:
    found = runs(folder)
    assert experiments(found) == sorted(set(NAMES) - {"missed"})
    assert len(found) == len(NAMES), "and the one that was no experiment"
    assert {f"{MODEL}@{name}" for name in NAMES} - {run.info.run_name for run in found} == {f"{MODEL}@missed"}
    seeds = {run.data.tags.get("experiment"): run.data.params["seed"] for run in found}
    assert [seeds[name] for name in ("first", "second", "third")] == ["1", "2", "3"]


def test_a_sweep_is_one_table(folder: Path) -> None:
    lines = tiny.run(folder, "pipeline", "compare", "sweep-*").stdout.splitlines()
    (head,) = [line for line in lines if "accuracy" in line]
    assert head.split()[:2] == ["seed", "network.lstm"]
    rows = [line.split()[:3] for line in lines if line.startswith(f"{MODEL}@sweep") and "%" in line]
    assert [row[0] for row in rows] == [f"{MODEL}@sweep-{i}" for i in (1, 2, 3, 4)]
    assert sorted(row[1] + row[2] for row in rows) == ["5[4]", "5[6]", "6[4]", "6[6]"]


def test_runs_stand_in_the_order_of_the_words(folder: Path) -> None:
    for names in (["first", "second"], ["second", "first"]):
        head = tiny.run(folder, "pipeline", "compare", *names).stdout.splitlines()[2]
        assert head.split() == [*(f"{MODEL}@{name}" for name in names), "difference"]


def test_a_run_that_mlflow_missed_is_filled_in_and_a_deleted_store_made_again(folder: Path) -> None:
    before = {run.info.run_name: run for run in runs(folder)}
    told = tiny.run(folder, "pipeline", "track").stdout
    assert f"recorded {MODEL}@missed\n" in told
    assert told.count("recorded ") == 1
    (folder / "mlflow.db").rename(folder / "old.db")  # this process still knows it by its name
    assert tiny.run(folder, "pipeline", "track").stdout.count("recorded ") == len(NAMES) + 1
    (folder / "mlflow.db").rename(folder / "again.db")
    (folder / "old.db").rename(folder / "mlflow.db")
    again = {run.info.run_name: run for run in runs(folder, "again.db")}
    assert set(again) == set(before) | {f"{MODEL}@missed"}
    for name, run in before.items():
        assert run.data.params == again[name].data.params
        # history.csv keeps nine digits of the curves; the seconds come from no output, but are kept, too.
        assert again[name].data.metrics == pytest.approx(run.data.metrics, rel=1e-8)
        assert "training_seconds" in run.data.metrics
        kept = ("weights", "commit", "uncommitted", "experiment", "device", "numpy", "dataset")
        assert [run.data.tags.get(tag) for tag in kept] == [again[name].data.tags.get(tag) for tag in kept]
        assert _inputs(run) == _inputs(again[name])


def test_tracked_again_nothing_is_added_and_what_a_person_deleted_stays_deleted(folder: Path) -> None:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    gone = next(run for run in runs(folder) if run.info.run_name == f"{MODEL}@second")
    client.delete_run(gone.info.run_id)
    before, versions = len(runs(folder)), len(client.search_model_versions())
    assert "recorded " not in tiny.run(folder, "pipeline", "track").stdout
    assert (len(runs(folder)), len(client.search_model_versions())) == (before, versions)
    client.restore_run(gone.info.run_id)


def test_a_revision_is_recorded_from_git_and_the_cache(folder: Path) -> None:
    store = f"sqlite:///{folder / 'revisions.db'}"
    told = tiny.run(folder, "pipeline", "track", "HEAD", "third", MLFLOW_TRACKING_URI=store).stdout
    assert told.count("recorded") == 2
    assert f"recorded {MODEL}@third\n" in told
    figures = {run.info.run_name: run.data.metrics for run in runs(folder)}
    for run in runs(folder, "revisions.db"):
        assert run.data.metrics == pytest.approx(figures[run.info.run_name], rel=1e-8)


def test_a_revision_that_is_not_there_gets_a_sentence(folder: Path) -> None:
    done = tiny.run(folder, "pipeline", "track", "nowhere", ok=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no revision 'nowhere'")
    assert done.stderr.count("\n") == 1


def _inputs(run: Any) -> dict[str, str]:
    return {each.dataset.name: each.dataset.digest for each in run.inputs.dataset_inputs}
