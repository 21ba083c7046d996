"""All stages in DVC, on tiny parameters and without MNIST, and what MLflow has of them afterwards."""

import json
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.files import md5, parse_yaml
from pipeline.paths import ModelPaths
from tests.harness import project

BITS, MNIST, FABLE = project.MODELS


def metrics(folder: Path, model: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(ModelPaths(model, folder).metrics.read_text())
    return content


def lock(folder: Path, stage: str) -> dict[str, Any]:
    """The entry of a stage in dvc.lock."""
    entry: dict[str, Any] = parse_yaml((folder / "dvc.lock").read_text())["stages"][stage]
    return entry


def weights_md5(folder: Path, model: str) -> str:
    return next(str(out["md5"]) for out in lock(folder, f"train@{model}")["outs"] if out["path"].endswith(".h5"))


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def runs(folder: Path) -> dict[str, Run]:
    """The runs of a project's store by the MD5 of their weights."""
    client = client_of(folder)
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len({run.data.tags["weights"] for run in found}) == len(found), "each model once"
    return {run.data.tags["weights"]: run for run in found}


def contents(folder: Path) -> dict[str, Any]:
    return {
        weights: (run.info.run_id, run.info.run_name, run.data.to_dictionary()) for weights, run in runs(folder).items()
    }


@dataclass(frozen=True)
class Forced:
    """All stages run again by DVC, each in a process of its own, while MLflow is down. Tests must not change it."""

    folder: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def forced(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Forced:
    folder = project.copy(trained, tmp_path_factory.mktemp("forced") / "project")
    done = project.run(folder, "dvc", "repro", "--force", MLFLOW_TRACKING_URI=project.NOBODY)
    return Forced(folder, done.stdout, done.stderr)


def test_every_stage_forced_again_writes_the_same_bytes(trained: Path, forced: Forced) -> None:
    assert project.stages_run(forced.stdout) == project.STAGES
    assert len(project.STAGES) == 15
    assert (forced.folder / "dvc.lock").read_bytes() == (trained / "dvc.lock").read_bytes()
    assert not project.run(forced.folder, "git", "status", "--porcelain").stdout, "nor do the files in git differ"


def test_a_repro_without_mlflow_warns_once_for_each_model_and_goes_on(forced: Forced) -> None:
    for model in project.MODELS:
        assert forced.stderr.count(f"warning: MLflow could not record the training of {model}") == 1
        assert forced.stderr.count(f"warning: MLflow could not record the metrics of {model}") == 1


def test_every_stage_wrote_its_outputs(trained: Path) -> None:
    for model in project.MODELS:
        content = metrics(trained, model)
        assert content["accuracy"] == pytest.approx(1 - content["wrong"] / content["examples"])
        assert ("ceiling" in content) == (model == FABLE)
    assert not list(trained.rglob(".writing-*")), "no draft is left"


def test_a_repro_prints_nothing_that_says_nothing(forced: Forced) -> None:
    assert "absl" not in forced.stderr
    assert "cuda" not in forced.stderr.lower()
    assert "oneDNN" not in forced.stderr


def test_a_stand_in_comes_with_a_warning_and_is_named(trained: Path, forced: Forced) -> None:
    assert "uci-digits" in forced.stderr
    assert "dvc repro --force generate@mnist" in forced.stderr
    info = json.loads(ModelPaths(MNIST, trained).info.read_text())
    for content in (info, metrics(trained, MNIST)):
        assert (content["dataset"], content["stand_in"]) == ("uci-digits", True)
    assert not any(metrics(trained, model)["stand_in"] for model in (BITS, FABLE))


def test_a_stand_in_has_no_reference_beside_it(trained_project: Path) -> None:
    project.change(trained_project, f"models.{MNIST}.reference.accuracy", 0.5)
    table = project.invoke("results").stdout
    (row,) = [line for line in table.splitlines() if MNIST in line]
    assert "uci-digits" in row
    assert "50.00%" not in row
    assert "99.70%" in table, "other datasets do"


def test_dvc_is_up_to_date_and_shows_metrics_and_plots(trained_project: Path) -> None:
    status = project.run(trained_project, "dvc", "status").stdout
    assert status.strip() == "Data and pipelines are up to date."
    shown = project.run(trained_project, "dvc", "metrics", "show")
    assert all(model in shown.stdout for model in project.MODELS)
    assert not shown.stderr, "DVC would take a key named `error` for one"
    project.run(trained_project, "dvc", "plots", "show", "--out", "plots")
    page = (trained_project / "plots" / "index.html").read_text()
    assert all(f"learning curves, {model}" in page and f"confusion, {model}" in page for model in project.MODELS)


def test_the_published_recipe_forced_again_writes_the_same_bytes(trained_project: Path) -> None:
    """The first training is in this process, which has TensorFlow already; the second is one of DVC's."""
    project.change(trained_project, f"models.{FABLE}.recipe", "published")
    for command in ("train", "export", "evaluate"):
        assert project.invoke(command, FABLE).exit_code == 0
    stages = [f"{verb}@{FABLE}" for verb in ("train", "export", "evaluate")]
    project.run(trained_project, "dvc", "commit", "--force", "check", *stages)
    before = (trained_project / "dvc.lock").read_bytes()
    assert f"models.{FABLE}.recipes.published".encode() in before
    assert f"models.{FABLE}.recipes.fast".encode() not in before
    repro = ("dvc", "repro", "--force", f"evaluate@{FABLE}")
    forced = project.run(trained_project, *repro, MLFLOW_TRACKING_URI=project.NOBODY)
    assert project.stages_run(forced.stdout) == {stage for stage in project.STAGES if "fable" in stage}
    assert (trained_project / "dvc.lock").read_bytes() == before


@pytest.mark.parametrize("model", project.MODELS)
def test_a_trained_model_has_one_run_with_its_curves_metrics_and_files(trained: Path, model: str) -> None:
    client, task = client_of(trained), project.read(trained)["models"][model]["task"]
    experiment = client.get_experiment_by_name(task)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"tags.model = '{model}'")
    assert run.info.status == "FINISHED"

    assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [10, 20, 25]
    assert run.data.metrics["wrong"] == metrics(trained, model)["wrong"]
    assert 0 < run.data.metrics["training_seconds"] < 600
    assert 100 < run.data.metrics["peak_memory_mib"] < 10_000
    assert run.data.params["network.cell"] == "lstm"
    assert run.data.params["network.units"] == "[8]"

    commit = project.run(trained, "git", "rev-parse", "HEAD~1").stdout.strip()
    tags = {"weights": weights_md5(trained, model), "commit": commit, "uncommitted": "false"}
    tags |= {"task": task, "stage": f"train@{model}", "cudnn": "False", "python": platform.python_version()}
    tags |= {library: version(library) for library in ("tensorflow", "keras", "numpy")}
    assert run.data.tags.items() >= tags.items()
    assert "CPU" in run.data.tags["device"]

    artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert artifacts >= {"predictions.parquet", "errors.png", "metrics.json", "provenance.json", "verdict.json"}
    assert run.outputs
    (output,) = run.outputs.model_outputs
    logged = client.get_logged_model(output.model_id)
    assert (logged.name, logged.status) == (model, "READY"), "in MLflow's Models tab"
    assert logged.tags["onnx"] == md5(ModelPaths(model, trained).onnx)
    assert {each.key: each.value for each in logged.metrics or []}["wrong"] == run.data.metrics["wrong"]
    assert run.inputs
    inputs = {each.dataset.name: each.dataset.digest for each in run.inputs.dataset_inputs}
    deps = {dep["path"]: dep["md5"] for dep in lock(trained, f"train@{model}")["deps"]}
    dataset = metrics(trained, model)["dataset"]
    assert inputs == {dataset: deps[f"data/split/{task}/examples.npy"]}, "the dataset is the data"
    assert len(run.data.tags["code"]) == 7


def test_tracking_again_changes_nothing(trained_project: Path) -> None:
    before = contents(trained_project)
    assert len(before) == len(project.MODELS)
    for _ in range(2):
        printed = project.invoke("track").stdout
        assert printed.count("up to date: ") == len(project.MODELS), printed
        assert contents(trained_project) == before


def test_training_the_same_model_again_adds_no_run(trained_project: Path) -> None:
    before = contents(trained_project)
    for command in ("train", "evaluate"):
        assert project.invoke(command, BITS).exit_code == 0
    assert contents(trained_project) == before


def test_a_deleted_store_is_made_again_from_the_outputs(trained_project: Path, trained: Path) -> None:
    (trained_project / "mlflow.db").unlink()
    assert project.invoke("track").stdout.count("recorded ") == len(project.MODELS)
    before, again = runs(trained), runs(trained_project)
    assert set(again) == set(before)
    for weights, run in again.items():
        assert run.data.params == before[weights].data.params
        # A training of five seconds and more records what the machine does, which is in no output.
        metrics = {key: value for key, value in before[weights].data.metrics.items() if not key.startswith("system/")}
        assert run.data.metrics == pytest.approx(metrics, rel=1e-8)  # history.csv has nine digits
        assert run.data.tags["commit"] == before[weights].data.tags["commit"]
        points = client_of(trained_project).get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in points] == [10, 20, 25]


def test_files_that_do_not_belong_together_are_not_recorded(trained_project: Path) -> None:
    before = contents(trained_project)
    weights = ModelPaths(FABLE, trained_project).weights
    weights.unlink()  # DVC may have linked it to its cache
    weights.write_bytes(b"the weights of another training")
    printed = project.invoke("track").stdout
    assert f"note: {FABLE} is skipped: models/{FABLE}/" in printed
    assert "is not the file that dvc.lock names" in printed
    assert f"up to date: {BITS}@" in printed
    assert contents(trained_project) == before
    weights.unlink()
    project.run(trained_project, "dvc", "checkout")
    assert "skipped" not in project.invoke("track").stdout
    assert contents(trained_project) == before


@pytest.mark.parametrize("store", [project.NOBODY, "sqlite:////proc/no/mlflow.db"])
def test_a_store_that_cannot_be_reached_does_not_stop_a_training(trained_project: Path, store: str) -> None:
    weights = ModelPaths(BITS, trained_project).weights
    weights.unlink()
    trained = project.run(trained_project, "pipeline", "train", BITS, MLFLOW_TRACKING_URI=store)
    assert trained.stderr.count(f"warning: MLflow could not record the training of {BITS}") == 1
    assert trained.stderr.count("warning: ") == 1
    assert md5(weights) == weights_md5(trained_project, BITS)


def test_a_wrong_parameter_stops_before_anything_runs(trained_project: Path) -> None:
    project.change(trained_project, f"models.{BITS}.recipes.fast.learning_rates", 1)
    ModelPaths(BITS, trained_project).weights.unlink()
    trained = project.invoke("train", BITS)
    assert trained.exit_code == 2
    assert trained.stderr == (
        f"error: params.yaml: models.{BITS}.recipes.fast.learning_rates is not a parameter; remove it, or fix its "
        "spelling.\n"
    )
    assert not ModelPaths(BITS, trained_project).weights.exists()
