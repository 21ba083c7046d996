"""What a person sees in `mlflow ui`, in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests import browser, tiny

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (browser.CHROMIUM and browser.DRIVER), reason="no Chromium with chromedriver is installed"),
]
MODEL = "bits-lstm24"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.make(tmp_path_factory.mktemp("browser"))
    tiny.change(folder, f"models.{MODEL}.gate.floor", 0.0)
    tiny.run(folder, "dvc", "repro", f"evaluate@{MODEL}")
    return folder


@pytest.fixture(scope="module")
def run(trained: Path) -> Run:
    client = MlflowClient(f"sqlite:///{trained / 'mlflow.db'}")
    (found,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return found


@pytest.fixture(scope="module")
def window(trained: Path) -> Iterator[browser.Browser]:
    with browser.ui(trained) as address, browser.browser(trained, address) as made:
        yield made


def test_the_description_of_an_experiment_leads_to_its_runs_with_the_chosen_columns(
    window: browser.Browser, trained: Path, run: Run
) -> None:
    window.open(f"/experiments/{run.info.experiment_id}", "One run for each trained model", "figures and parameters")
    wrong = json.loads((trained / "models" / MODEL / "metrics.json").read_text())["wrong"]
    chosen = ("accuracy", "wrong", "training_seconds", "recipe", "network.lstm", "steps", "batch", "rate")
    shown = window.open(window.link("figures and parameters"), run.info.run_name, *chosen)
    assert {f"{wrong}", "fast", "[8]", "25", "20", "0.01"} <= set(shown.split()), shown
    assert "Figures and curves" in shown, "the view has a name"
    assert "Dataset" not in shown.split(), "MLflow's own columns are not in the way"


def test_the_learning_curves_are_drawn(window: browser.Browser, run: Run) -> None:
    window.open(f"/experiments/{run.info.experiment_id}", "learning curves")
    shown = window.open(window.link("learning curves"), "Learning curves (2)", "Results (2)", "train/loss", "Step")
    assert "train/monitor_accuracy" not in shown, "what was not measured has no empty chart"
    assert shown.index("Learning curves (2)") < shown.index("Results (2)") < shown.index("Model metrics")


def test_a_run_s_page_says_what_came_of_it_and_shows_the_picture_of_its_errors(
    window: browser.Browser, trained: Path, run: Run
) -> None:
    metrics = json.loads((trained / "models" / MODEL / "metrics.json").read_text())
    window.open(
        f"/experiments/{run.info.experiment_id}/runs/{run.info.run_id}",
        f"{metrics['wrong']} of {metrics['examples']} wrong",
        f"pipeline reproduce {run.info.run_name}",
        "network.lstm",
        f"train@{MODEL}",
    )
    window.open(window.link("what it gets wrong"), "errors.png", "provenance.json")
    window.until("return [...document.images].some(image => image.naturalWidth > 300)")


def test_a_model_s_page_names_its_champion(window: browser.Browser) -> None:
    window.open(f"/models/{MODEL}", MODEL, "Version 1", "@ champion", "passed: it was")
