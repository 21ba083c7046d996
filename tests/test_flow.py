"""The whole flow, in DVC, on tiny parameters and with no MNIST to be had."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from ruamel.yaml import YAML

from pipeline.data import md5
from tests import tiny


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.make(tmp_path_factory.mktemp("flow"))
    done = tiny.run(folder, "dvc", "repro")
    assert "uci-digits" in done.stderr, "the stand-in comes with a warning"
    assert "dvc repro --force generate@mnist" in done.stderr
    tiny.commit(folder, "made")
    return folder


def test_every_stage_made_its_outputs(flow: Path) -> None:
    assert tiny.run(flow, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    for model in tiny.MODELS:
        metrics = json.loads((flow / "models" / model / "metrics.json").read_text())
        assert metrics["accuracy"] == pytest.approx(1 - metrics["wrong"] / metrics["examples"])
        assert ("ceiling" in metrics) == model.startswith("fable")
    assert not list(flow.rglob(".writing-*")), "no draft is left"


def test_a_stand_in_is_named_and_never_stands_beside_the_published_figure(flow: Path) -> None:
    card = json.loads((flow / "models/mnist-lstm128/export/card.json").read_text())
    metrics = json.loads((flow / "models/mnist-lstm128/metrics.json").read_text())
    assert card["dataset"] == metrics["dataset"] == "uci-digits"
    params = tiny.read(flow)
    params["models"]["mnist-lstm128"]["figure"]["accuracy"] = 0.5
    tiny.write(flow, params)
    table = tiny.run(flow, "pipeline", "results").stdout
    tiny.run(flow, "git", "checkout", "params.yaml")
    (row,) = [line for line in table.splitlines() if "mnist-lstm128" in line]
    assert "uci-digits" in row
    assert "50.00%" not in row
    assert "99.70%" in table, "the others do"


def test_forced_again_all_is_the_same_to_the_byte(flow: Path) -> None:
    before = (flow / "dvc.lock").read_text()
    done = tiny.run(flow, "dvc", "repro", "--force")
    assert len(tiny.ran(done.stdout)) == 15
    assert (flow / "dvc.lock").read_text() == before


def test_the_published_recipe_is_the_same_to_the_byte_too(tmp_path: Path) -> None:
    folder = tiny.make(tmp_path, models=["fable-lstm512"])
    tiny.change(folder, "recipe", "published")
    tiny.run(folder, "dvc", "repro", "evaluate@fable-lstm512")
    before = (folder / "dvc.lock").read_text()
    assert "models.fable-lstm512.published" in before
    assert len(tiny.ran(tiny.run(folder, "dvc", "repro", "--force", "evaluate@fable-lstm512").stdout)) == 5
    assert (folder / "dvc.lock").read_text() == before


def test_a_parameter_reruns_its_own_stages_and_no_others(flow: Path) -> None:
    params = tiny.read(flow)
    params["models"]["fable-lstm512"]["fast"]["rate"] = 0.02
    params["models"]["bits-lstm24"]["published"]["rate"] = 0.02  # of the recipe that is not in use
    tiny.write(flow, params)
    plan = tiny.run(flow, "dvc", "repro")
    assert tiny.ran(plan.stdout) == {f"{stage}@fable-lstm512" for stage in ("train", "export", "evaluate")}
    tiny.run(flow, "git", "checkout", "params.yaml")
    back = tiny.run(flow, "dvc", "repro")
    assert not tiny.ran(back.stdout), "what ran before comes from the cache"


def test_an_edited_module_reruns_the_stages_that_import_it(flow: Path) -> None:
    module = flow / "pipeline" / "evaluate.py"
    module.write_text(module.read_text() + "\n# edited\n")
    assert tiny.ran(tiny.run(flow, "dvc", "repro", "--dry").stdout) == {f"evaluate@{model}" for model in tiny.MODELS}
    tiny.run(flow, "git", "checkout", "pipeline/evaluate.py")


def test_dvc_shows_metrics_and_plots(flow: Path) -> None:
    metrics = tiny.run(flow, "dvc", "metrics", "show")
    assert all(model in metrics.stdout for model in tiny.MODELS)
    assert not metrics.stderr, "a key named `error` would be taken for one"
    tiny.run(flow, "dvc", "plots", "show", "--out", "plots")
    page = (flow / "plots" / "index.html").read_text()
    assert all(f"learning curve, {model}" in page and f"confusion, {model}" in page for model in tiny.MODELS)


def test_each_trained_model_has_one_run_with_its_curve_figures_and_files(flow: Path) -> None:
    for _ in range(2):
        tiny.run(flow, "pipeline", "track")
    client = MlflowClient(f"sqlite:///{flow / 'mlflow.db'}")
    for model in tiny.MODELS:
        experiment = client.get_experiment_by_name(model.split("-")[0])
        assert experiment is not None
        weights = next(
            line.split()[1]
            for line in (flow / "dvc.lock").read_text().split(f"models/{model}/model.weights.h5")[1].splitlines()
            if "md5:" in line
        )
        (run,) = client.search_runs([experiment.experiment_id], f"tags.weights = '{weights}'")
        assert run.data.metrics["wrong"] == json.loads((flow / "models" / model / "metrics.json").read_text())["wrong"]
        assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [10, 20, 25]
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        packed = f"model-{md5(flow / 'models' / model / 'export' / 'model.onnx')[:7]}"
        assert {"answers.parquet", "errors.png", "metrics.json", packed, "provenance.json", "verdict.json"} <= files
        assert run.data.params["network.lstm"] == "[8]"
        head = tiny.run(flow, "git", "rev-parse", "HEAD~1").stdout.strip()
        known = {"commit": head, "uncommitted": "false", "stage": f"train@{model}", "cudnn": "False"}
        known |= {"tensorflow": version("tensorflow"), "keras": version("keras"), "numpy": version("numpy")}
        assert run.data.tags.items() >= (known | {"python": platform.python_version()}).items()
        assert "CPU" in run.data.tags["device"]
        assert 0 < run.data.metrics["training_seconds"] < 600
        assert 100 < run.data.metrics["peak_memory_mib"] < 10_000
        lock = YAML(typ="safe").load(flow / "dvc.lock")["stages"][f"train@{model}"]
        assert run.inputs
        inputs = {each.dataset.name: each.dataset.digest for each in run.inputs.dataset_inputs}
        assert inputs == {dep["path"]: dep["md5"] for dep in lock["deps"]}


def test_a_deleted_store_is_made_again_from_the_outputs(flow: Path) -> None:
    before = runs(flow / "mlflow.db")
    (flow / "mlflow.db").rename(flow / "mlflow.old")
    tiny.run(flow, "pipeline", "track")
    (flow / "mlflow.db").rename(flow / "again.db")  # this process still knows the other by its name
    (flow / "mlflow.old").rename(flow / "mlflow.db")
    again = runs(flow / "again.db")
    assert set(again) == set(before)
    assert {run.data.tags["model"] for run in again.values()} == set(tiny.MODELS)
    client = MlflowClient(f"sqlite:///{flow / 'again.db'}")
    assert all(len(client.get_metric_history(run.info.run_id, "train/loss")) == 3 for run in again.values())


def test_files_that_do_not_belong_together_are_left_out(flow: Path) -> None:
    tiny.change(flow, "models.fable-lstm512.fast.rate", 0.02)
    tiny.run(flow, "dvc", "repro")  # restored from the cache, or made
    tiny.commit(flow, "another rate")
    tiny.run(flow, "git", "checkout", "--quiet", "HEAD~1")  # dvc.lock and metrics are the old ones, the weights are not
    before = {weights: run.data.metrics for weights, run in runs(flow / "mlflow.db").items()}
    told = tiny.run(flow, "pipeline", "track").stdout
    assert "note: fable-lstm512 is left out: the files of fable-lstm512 are not those of dvc.lock" in told
    assert "up to date: bits-lstm24@" in told
    after = {weights: run.data.metrics for weights, run in runs(flow / "mlflow.db").items()}
    assert {weights: after[weights] for weights in before} == before
    tiny.run(flow, "dvc", "checkout")
    assert "left out" not in tiny.run(flow, "pipeline", "track").stdout


def runs(store: Path) -> dict[str, Run]:
    client = MlflowClient(f"sqlite:///{store}")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len({run.data.tags["weights"] for run in found}) == len(found), "each model once"
    return {run.data.tags["weights"]: run for run in found}


@pytest.mark.parametrize("store", ["http://127.0.0.1:9", "sqlite:////proc/no/mlflow.db"])
def test_a_store_out_of_reach_is_no_reason_not_to_train(flow: Path, store: str) -> None:
    done = tiny.run(flow, "pipeline", "train", "bits-lstm24", MLFLOW_TRACKING_URI=store)
    assert done.stderr.count("warning: MLflow did not take down") == 1
    assert tiny.run(flow, "dvc", "status", "train@bits-lstm24").stdout.strip() == "Data and pipelines are up to date."


def test_a_wrong_parameter_stops_before_anything_runs(flow: Path) -> None:
    params = tiny.read(flow)
    params["models"]["bits-lstm24"]["fast"]["rates"] = 1
    tiny.write(flow, params)
    done = tiny.run(flow, "pipeline", "train", "bits-lstm24", ok=False)
    tiny.run(flow, "git", "checkout", "params.yaml")
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "error: params.yaml: models.bits-lstm24.fast.rates is not a parameter; remove it, or mend its spelling."
    )
