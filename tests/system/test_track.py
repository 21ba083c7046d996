"""DVC's experiments, however they are run, and what `pipeline track` records of them when MLflow missed it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.paths import stage
from pipeline.tracking.schema import WEIGHTS, recorded_runs
from tests.harness import project, shared

MODEL = "bits-lstm24"
RATE = f"models.{MODEL}.recipes.fast.learning_rate"
RATES = {"first": 0.02, "temp": 0.03, "missed": 0.04}
SWEEP = {"sweep-1": "[4]", "sweep-2": "[6]"}  # network.units
NAMES = {*RATES, *SWEEP}


@pytest.fixture(scope="module")
def experiments(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained project, with one model, after experiments in a temporary copy, in the queue and in the workspace.

    One of them, `missed`, had no MLflow. Made once for all workers, so tests must not change it: see project_copy.
    """
    return shared.made_once(
        tmp_path_factory, "experiments", lambda folder: _run_experiments(project.copy(trained, folder))
    )


def _run_experiments(folder: Path) -> None:
    params = project.read(folder)
    for section, name in (("models", MODEL), ("tasks", "bits")):  # DVC has less to do
        params[section] = {name: params[section][name]}
    project.write(folder, params)
    project.commit(folder, "one model")

    def run(*options: str, store: str = "") -> str:
        command = ("dvc", "exp", "run", *options, stage("evaluate", MODEL))
        result = project.run(folder, *command, MLFLOW_TRACKING_URI=store)
        return result.stdout + result.stderr

    run("--temp", "--name", "temp", "-S", f"{RATE}={RATES['temp']}")
    output = run("--temp", "--name", "missed", "-S", f"{RATE}={RATES['missed']}", store=project.NOBODY)
    assert output.count("warning: MLflow could not record") == 2, "one of train, one of evaluate"
    run("--queue", "--name", "sweep", "-S", f"models.{MODEL}.network.units={','.join(SWEEP.values())}")
    # To a file: workers that outlive the command would hold a pipe.
    project.run(folder, "sh", "-c", f"dvc exp run --run-all --jobs 2 > {folder}.log 2>&1", ok=False)
    status = project.run(folder, "dvc", "queue", "status").stdout
    assert status.count("Success") == 2, status + Path(f"{folder}.log").read_text()[-4000:]
    project.run(folder, "dvc", "queue", "stop")
    run("--name", "first", "-S", f"{RATE}={RATES['first']}")


@pytest.fixture
def project_copy(experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project, the working folder of the test, which may change it."""
    folder = project.copy(experiments, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def in_experiments(experiments: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That project as the working folder of a test that only reads it."""
    monkeypatch.chdir(experiments)
    return experiments


def runs(folder: Path, store: str = "mlflow.db") -> dict[str, Run]:
    """The recorded runs of the model by their names, each of which must be there once."""
    client = MlflowClient(f"sqlite:///{folder / store}")
    found = recorded_runs(client, f"tags.model = '{MODEL}'")
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def run_names(*experiments: str) -> set[str]:
    return {f"{MODEL}@{name}" for name in experiments}


def original(folder: Path) -> str:
    """The name of the run that is not an experiment's."""
    (name,) = (name for name, run in runs(folder).items() if "experiment" not in run.data.tags)
    return name


def track(*revisions: str) -> list[str]:
    result = project.invoke("track", *revisions)
    assert result.exit_code == 0, result.output
    return [line for line in result.stdout.splitlines() if line.startswith("recorded ")]


def metrics(run: Run) -> dict[str, float]:
    """Those that files hold: what the machine did is recorded every five seconds of a training, if it takes so long."""
    return {key: value for key, value in run.data.metrics.items() if not key.startswith("system/")}


def inputs(run: Run) -> dict[str, str]:
    assert run.inputs
    return {each.dataset.name: each.dataset.digest for each in run.inputs.dataset_inputs}


def test_every_experiment_has_one_run_under_its_name(experiments: Path) -> None:
    found = runs(experiments)
    assert set(found) == run_names(*NAMES - {"missed"}) | {original(experiments)}
    for name in NAMES - {"missed"}:
        run = found[f"{MODEL}@{name}"]
        assert run.data.tags["experiment"] == name
        assert run.data.params["learning_rate"] == str(RATES.get(name, 0.01))
        assert run.data.params["network.units"] == SWEEP.get(name, "[8]")


def compare(folder: Path, *texts: str) -> list[str]:
    result = project.invoke("compare", *texts, "--picture", str(folder / "curves.png"))
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_a_sweep_is_one_table(in_experiments: Path, tmp_path: Path) -> None:
    lines = compare(tmp_path, "sweep-*", "temp", "first")  # up to three runs are columns, more are rows
    (head,) = [line for line in lines if "accuracy" in line]
    assert head.split()[:2] == ["network.units", "learning_rate"]
    rows = [line.split() for line in lines if line.startswith(f"{MODEL}@") and "%" in line]
    sweep = [[f"{MODEL}@{name}", units, "0.01"] for name, units in SWEEP.items()]
    expected = sweep + [[f"{MODEL}@{name}", "[8]", str(RATES[name])] for name in ("temp", "first")]
    assert sorted(row[:3] for row in rows) == sorted(expected)
    shares = [float(row[3].removesuffix("%")) for row in rows]
    assert shares == sorted(shares, reverse=True), "the best first"


def test_the_partner_of_a_run_is_of_no_sweep(in_experiments: Path, tmp_path: Path) -> None:
    head = compare(tmp_path)[2].split()
    assert head == [original(in_experiments), f"{MODEL}@first", "difference"]
    assert compare(tmp_path, "first")[2].split() == head


def test_the_workspace_and_the_champion_have_names(project_copy: Path, tmp_path: Path) -> None:
    assert compare(tmp_path, "temp", "workspace")[2].split()[1] == f"{MODEL}@first"
    refused = project.invoke("compare", "champion")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "error: champion has no recorded run; run `pipeline promote` first.\n",
    )
    project.change(project_copy, f"models.{MODEL}.gate.floor", 0.0)
    assert project.invoke("promote").exit_code == 0
    assert compare(tmp_path, "temp", "champion")[2].split()[1] == f"{MODEL}@first"


def test_a_comparison_keeps_the_order_of_its_arguments(in_experiments: Path, tmp_path: Path) -> None:
    for names in (["first", "temp"], ["temp", "first"]):
        head = compare(tmp_path, *names)[2]
        assert head.split() == [*(f"{MODEL}@{name}" for name in names), "difference"]


def test_a_revision_whose_files_are_gone_is_compared_by_what_git_holds(project_copy: Path, tmp_path: Path) -> None:
    assert project.run(project_copy, "git", "checkout", "--quiet", "--", ".").returncode == 0
    shutil.rmtree(project_copy / ".dvc" / "cache")
    for suffix in ("", ".lock"):
        (project_copy / f"mlflow.db{suffix}").unlink(missing_ok=True)
    refused = project.invoke("track", "HEAD")
    assert refused.exit_code == 2
    assert f"note: {MODEL} at HEAD is not recorded: " in refused.stdout
    assert "is not on this machine" in refused.stdout
    assert refused.stderr.startswith("error: no model of HEAD could be recorded; `pipeline compare HEAD workspace`")
    lines = compare(tmp_path, "HEAD~1", "HEAD")
    assert lines[2].split() == [f"{MODEL}@HEAD~1", f"{MODEL}@HEAD", "difference"]
    assert any(line.startswith("accuracy") for line in lines)


def test_a_run_that_mlflow_missed_is_recorded_by_track(project_copy: Path) -> None:
    assert track() == [f"recorded {MODEL}@missed"]
    missed = runs(project_copy)[f"{MODEL}@missed"]
    assert missed.data.params["learning_rate"] == str(RATES["missed"])
    assert "training_seconds" in missed.data.metrics


def test_a_deleted_store_is_made_again_with_all_runs(experiments: Path, project_copy: Path) -> None:
    (project_copy / "mlflow.db").unlink()
    shutil.rmtree(project_copy / "mlartifacts")
    before = runs(experiments)
    assert {line.removeprefix("recorded ") for line in track()} == set(before) | run_names("missed")
    after = runs(project_copy)
    assert set(after) == set(before) | run_names("missed")
    tags = (WEIGHTS, "commit", "uncommitted", "experiment", "device", "numpy", "dataset")
    for name, run in before.items():
        assert run.data.params == after[name].data.params
        # history.csv has nine digits of the curves; the seconds are in no output, but in the logs.
        assert after[name].data.metrics == pytest.approx(metrics(run), rel=1e-8)
        assert "training_seconds" in run.data.metrics
        assert [run.data.tags.get(tag) for tag in tags] == [after[name].data.tags.get(tag) for tag in tags]
        assert inputs(run) == inputs(after[name])


def test_tracked_again_nothing_is_added_and_a_run_that_a_user_deleted_stays_deleted(project_copy: Path) -> None:
    track()
    client = MlflowClient(f"sqlite:///{project_copy / 'mlflow.db'}")
    client.delete_run(runs(project_copy)[f"{MODEL}@temp"].info.run_id)

    def contents() -> tuple[list[str], int]:
        return sorted(run.info.run_id for run in runs(project_copy).values()), len(client.search_model_versions())

    before = contents()
    assert track() == []
    assert contents() == before


def test_a_run_that_a_user_deleted_is_recorded_again_while_its_model_is_in_the_workspace(project_copy: Path) -> None:
    client = MlflowClient(f"sqlite:///{project_copy / 'mlflow.db'}")
    before = runs(project_copy)
    deleted = before[f"{MODEL}@first"]
    client.delete_run(deleted.info.run_id)
    assert f"recorded {MODEL}@first" in track()
    after = runs(project_copy)
    assert set(after) == set(before) | run_names("missed")
    assert after[f"{MODEL}@first"].info.run_id != deleted.info.run_id


def test_revisions_are_recorded_from_git_and_the_cache(
    in_experiments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'revisions.db'}")
    names = [original(in_experiments), f"{MODEL}@temp"]
    assert track("HEAD", "temp") == [f"recorded {name}" for name in names]
    expected: dict[str, Any] = runs(in_experiments)
    found = runs(tmp_path, "revisions.db")
    assert set(found) == set(names)
    for name, run in found.items():
        assert run.data.metrics == pytest.approx(metrics(expected[name]), rel=1e-8)


def test_an_unknown_revision_is_refused_in_one_sentence(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    result = project.invoke("track", "nowhere")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: there is no revision 'nowhere'")
    assert result.stderr.count("\n") == 1
