"""The stage `train`, in this process."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import config
from pipeline.config import ModelSetup
from pipeline.dataset import load_examples
from pipeline.errors import PipelineError
from pipeline.networks import keras_network
from pipeline.paths import ModelPaths
from pipeline.recipe import Init
from pipeline.stages import export, train
from tests.harness import project
from tests.harness.stages import prepare

pytestmark = pytest.mark.slow
BITS = "bits-lstm24"


def with_recipe(setup: ModelSetup, **changes: object) -> ModelSetup:
    """The setup with some values of its recipe changed."""
    recipes = {setup.recipe_name: setup.recipe.model_copy(update=changes)}
    return replace(setup, params=setup.params.model_copy(update={"recipes": recipes}))


def test_the_same_seed_makes_the_same_files_and_another_seed_others(untrained_project: Path) -> None:
    setup = prepare(BITS)
    steps: list[int] = []

    def outputs(seed: int) -> dict[str, bytes]:
        train.run(replace(setup, seed=seed), lambda row: steps.append(int(row["step"])))
        export.run(setup)
        folder = setup.paths.folder
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first, again = outputs(1), outputs(1)
    assert {"model.weights.h5", "history.csv", "export/model.onnx", "export/info.json"} <= set(first)
    assert first == again
    train.run(replace(setup, seed=2))
    assert first["model.weights.h5"] != setup.paths.weights.read_bytes()
    assert steps == [10, 20, 25] * 2, "a row every ten steps, and one after the last step"


def test_the_history_grows_while_it_trains_but_not_beside_older_weights(
    untrained_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "REWRITE", 0.1)
    setup = prepare(BITS)
    lengths: list[int] = []

    def on_report(row: dict[str, float]) -> None:
        lengths.append(len(pd.read_csv(setup.paths.history)))
        time.sleep(train.REWRITE)

    train.run(setup, on_report)
    before = setup.paths.history.read_bytes()
    train.run(setup, on_report)
    assert lengths == [1, 2, 3, 3, 3, 3]
    assert setup.paths.history.read_bytes() == before


def test_a_walk_prints_what_the_published_programs_print(
    untrained_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.change(untrained_project, "models.fable-lstm512.recipe", "published")
    setup = prepare("fable-lstm512")
    reported: list[dict[str, float]] = []
    train.run(setup, reported.append)
    printed = capsys.readouterr().out
    assert "cuDNN is" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith("step     10  loss"))
    assert "] -> predicted [" in line, "one window, its prediction and its target"
    assert "], target [" in line
    history = pd.read_csv(setup.paths.history)
    assert history.columns.tolist() == ["step", "loss", "accuracy", "batch_accuracy"]
    assert history["step"].tolist() == [10, 20, 25]
    np.testing.assert_allclose(history["loss"], [row["loss"] for row in reported], rtol=1e-8)


def test_tensorboard_has_a_folder_for_each_training_with_the_history_by_step(untrained_project: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    setup = prepare(BITS)
    for seed in (1, 1, 2):
        train.run(replace(setup, seed=seed))
    folders = sorted(setup.paths.events("").glob("*"))
    assert len(folders) == 2, "one for each seed; a training that runs again replaces its own"
    history = pd.read_csv(setup.paths.history, index_col="step")
    columns = set(history.columns)
    values = []
    for folder in folders:
        events = EventAccumulator(str(folder)).Reload()
        assert set(events.Tags()["tensors"]) == columns
        assert [event.step for event in events.Tensors("loss")] == [10, 20, 25]
        values.append([float(make_ndarray(event.tensor_proto)) for event in events.Tensors("loss")])
    assert any(np.allclose(losses, history["loss"]) for losses in values)


def test_a_folder_that_cannot_hold_tensorboard_s_files_is_a_warning(
    untrained_project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setup = prepare(BITS)
    folder = setup.paths.events("").parent
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(setup.paths.events(""), ignore_errors=True)
    setup.paths.events("").write_text("a file where the folder should be")
    train.run(setup)
    # TensorFlow has a warning of its own, where other tests of this process have traced often.
    ours = [record for record in caplog.records if record.name.startswith("pipeline")]
    (warning,) = (record.getMessage() for record in ours if record.levelname == "WARNING")
    assert warning.startswith("TensorBoard's files in ")
    assert setup.paths.weights.is_file()


@pytest.mark.parametrize("supervise", ["last-step", "every-step"])
def test_a_monitored_split_has_its_columns_in_the_history(untrained_project: Path, supervise: str) -> None:
    changes = {"supervise": supervise, "step_power": 5.0 if supervise == "every-step" else 0.0}
    setup = with_recipe(prepare("mnist-lstm128"), monitor="test", steps=10, epochs=None, **changes)
    train.run(setup)
    (row,) = pd.read_csv(setup.paths.history).to_dict("records")
    assert list(row) == ["step", "loss", "accuracy", "batch_accuracy", "test_loss", "test_accuracy"]
    assert row["step"] == 10
    # What the trained model predicts for the whole split.
    examples = load_examples(setup.task.paths)
    model = keras_network.build(setup.network, setup.recipe, examples.info.shape, len(examples.info.class_names))
    model.load_weights(setup.paths.weights)
    encoded, targets = examples.split("test")
    predicted = np.argmax(model(setup.task.features(encoded, examples.info)), axis=1)
    assert row["test_accuracy"] == pytest.approx((predicted == targets).mean())


def test_the_validation_split_is_monitored_where_the_recipe_says_so(trained: Path) -> None:
    history = pd.read_csv(ModelPaths("mnist-lstm128", trained).history)
    assert history.columns.tolist()[-2:] == ["validation_loss", "validation_accuracy"]


def test_training_lowers_the_loss(untrained_project: Path) -> None:
    project.change(untrained_project, "tasks.bits.generate.length", 3)
    project.change(untrained_project, "tasks.bits.split.train", 7)
    setup = with_recipe(prepare(BITS), steps=300, log_every=100, learning_rate=0.05)
    train.run(setup)
    history = pd.read_csv(setup.paths.history)
    assert history["loss"].iloc[-1] < 0.1 < history["loss"].iloc[0]
    assert history["accuracy"].iloc[-1] == history["batch_accuracy"].iloc[-1] == 1


def test_a_training_that_diverges_is_refused_and_writes_no_weights(untrained_project: Path) -> None:
    init = Init(kernel="normal", stddev=1, bias="normal").model_copy(update={"stddev": 3e38})
    setup = with_recipe(prepare(BITS), init=init)
    with pytest.raises(PipelineError, match=r"diverged .*; lower models\.bits-lstm24\.recipes\.fast\.learning_rate"):
        train.run(setup)
    assert not setup.paths.weights.exists()
    assert not list(Path("checkpoints").glob("*")), "the next training starts from the beginning"


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_that_the_task_does_not_store_cannot_be_monitored(untrained_project: Path, split: str) -> None:
    setup = with_recipe(prepare(BITS), monitor=split)
    with pytest.raises(PipelineError, match=rf"bits stores no {split} split that models\.bits-lstm24 could monitor"):
        train.run(setup)


def test_training_without_data_names_the_command(untrained_project: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"data/split/bits/examples\.npy does not exist; run `dvc repro split@bits` to make it"
    ):
        train.run(config.load().model(BITS))


def test_the_training_says_where_it_ran_and_how_long_it_took(untrained_project: Path) -> None:
    environment = train.run(with_recipe(prepare(BITS), steps=1))
    assert {"device", "cudnn", "python", "tensorflow", "keras", "numpy", "seconds", "peak_memory_mib"} == set(
        environment
    )
    assert environment["seconds"] > 0
    assert environment["peak_memory_mib"] > 50
