"""What a user sees in `mlflow ui`, in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline.paths import ModelPaths
from tests.harness import browser, project

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (browser.CHROMIUM and browser.DRIVER), reason="no Chromium with chromedriver is installed"),
]
MODEL = "bits-lstm24"


@pytest.fixture(scope="module")
def champion(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained project in whose store the model is a champion."""
    folder = project.copy(trained, tmp_path_factory.mktemp("ui") / "project")
    project.change(folder, f"models.{MODEL}.gate.floor", 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert project.invoke("promote", MODEL).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def run(champion: Path) -> Run:
    client = MlflowClient(f"sqlite:///{champion / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (found,) = client.search_runs(experiments, f"tags.model = '{MODEL}'")
    return found


@pytest.fixture(scope="module")
def window(champion: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    folder = tmp_path_factory.mktemp("browser")
    with browser.mlflow_ui(champion, folder) as address, browser.browser(folder, address) as opened:
        yield opened


def test_the_description_of_an_experiment_links_to_its_runs_with_the_chosen_columns(
    window: browser.Browser, champion: Path, run: Run
) -> None:
    window.open(f"/experiments/{run.info.experiment_id}", "One run for each trained model", "metrics and parameters")
    wrong = json.loads(ModelPaths(MODEL, champion).metrics.read_text())["wrong"]
    columns = ["accuracy", "wrong", "training_seconds", "recipe", "network.cell", "network.units", "steps"]
    columns += ["batch_size", "learning_rate"]
    shown = window.open(window.link("metrics and parameters"), str(run.info.run_name), *columns)
    assert {f"{wrong}", "fast", "lstm", "[8]", "25", "20", "0.01"} <= set(shown.split()), shown
    assert "Metrics and curves" in shown, "the view has a name"
    assert "Dataset" not in shown.split(), "MLflow's own columns are not in the way"


def test_the_learning_curves_are_drawn(window: browser.Browser, run: Run) -> None:
    window.open(f"/experiments/{run.info.experiment_id}", "learning curves")
    shown = window.open(window.link("learning curves"), "Learning curves (2)", "Results (2)", "train/loss", "Step")
    window.until("return document.querySelectorAll('.scatterlayer .lines').length >= 2")
    assert "validation/accuracy" not in shown, "what was not measured has no empty chart"
    assert "test/accuracy" not in shown
    assert shown.index("Learning curves (2)") < shown.index("Results (2)") < shown.index("Model metrics")


def test_a_runs_page_says_its_result_and_shows_the_picture_of_its_errors(
    window: browser.Browser, champion: Path, run: Run
) -> None:
    metrics = json.loads(ModelPaths(MODEL, champion).metrics.read_text())
    window.open(
        f"/experiments/{run.info.experiment_id}/runs/{run.info.run_id}",
        f"{metrics['wrong']} of {metrics['examples']} wrong",
        f"Reproduce it with pipeline reproduce {run.info.run_name}.",
        "network.units",
        f"train@{MODEL}",
    )
    window.open(window.link("what it gets wrong"), "errors.png", "provenance.json")
    window.until("return [...document.images].some(image => image.naturalWidth > 300)")


def test_a_models_page_names_its_champion(window: browser.Browser) -> None:
    window.open(f"/models/{MODEL}", MODEL, "Version 1", "@ champion-bits-8", "passed: it was")
