import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest

from pipeline import config, manifest
from pipeline.dataset import load_examples, numbers
from pipeline.errors import PipelineError
from pipeline.files import load_json
from pipeline.networks import onnx_network
from pipeline.paths import ModelPaths, TaskPaths
from pipeline.predictions import Predictions
from pipeline.recipe import Network
from pipeline.stages import evaluate
from tests.harness import project
from tests.harness.examples import evaluated, info_of
from tests.harness.examples import predictions as made_predictions
from tests.harness.recipes import recipe
from tests.harness.stages import prepare

INFO = info_of(test=5)
BITS = "bits-lstm24"


@pytest.fixture
def predictions() -> Predictions:
    targets, predicted = np.array([0, 1, 1, 2, 1]), np.array([0, 1, 0, 2, 0])
    made = made_predictions(INFO, np.arange(5)[:, None], targets, predicted, np.full(5, 0.5))
    return replace(made, totals=replace(made.totals, loss=1.25))


def test_metrics_count_the_predictions(predictions: Predictions) -> None:
    expected = {
        "examples": 5,
        "wrong": 2,
        "accuracy": 0.6,
        "balanced_accuracy": pytest.approx(7 / 9),
        "worst_class": "1",
        "worst_class_accuracy": pytest.approx(1 / 3),
        "loss": 0.25,
        "expected_calibration_error": 0.1,
    }
    metrics = predictions.totals.metrics(INFO.class_names)
    assert {name: metrics[name] for name in expected} == expected


def test_the_tables_count_pairs_and_classes(predictions: Predictions) -> None:
    confusion = evaluate.confusion(predictions)
    assert confusion.columns.tolist() == ["actual", "predicted", "examples"]
    assert confusion.to_numpy().tolist() == [["0", "0", 1], ["1", "1", 1], ["2", "2", 1], ["1", "0", 2]]
    by_class = evaluate.by_class(predictions)
    assert by_class.columns.tolist() == ["class", "examples", "wrong", "accuracy"]
    table = by_class.set_index("class")
    assert table["examples"].to_dict() == {"0": 1, "1": 3, "2": 1}
    assert table["wrong"].to_dict() == {"0": 0, "1": 2, "2": 0}
    assert table["accuracy"].to_dict() == pytest.approx({"0": 1, "1": 1 / 3, "2": 1})


def test_the_files_of_a_model_agree_with_each_other(trained: Path) -> None:
    for model in project.MODELS:
        paths = ModelPaths(model, trained)
        metrics = load_json(paths.metrics, "")
        table = pd.read_parquet(paths.predictions)
        assert table.columns.tolist() == ["example", "target", "predicted", "probability"]
        assert metrics["wrong"] == (table["target"] != table["predicted"]).sum()
        assert metrics["accuracy"] == (metrics["examples"] - metrics["wrong"]) / metrics["examples"]
        assert metrics["stand_in"] == (metrics["dataset"] == "uci-digits")
        assert table["probability"].between(0, 1).all()
        confusion, by_class = pd.read_csv(paths.confusion), pd.read_csv(paths.by_class)
        assert confusion["examples"].sum() == by_class["examples"].sum() == metrics["examples"]
        assert confusion.loc[confusion["actual"] != confusion["predicted"], "examples"].sum() == metrics["wrong"]
        assert by_class["wrong"].sum() == metrics["wrong"]
        assert paths.errors.read_bytes().startswith(b"\x89PNG")
        examples = load_examples(TaskPaths(model.split("-")[0], trained))
        encoded, targets = evaluated(examples)
        assert metrics["examples"] == len(targets)
        if examples.info.eval_split not in examples.info.stored:
            assert table["example"].isin(numbers(encoded)).all()
            assert [bin(code).count("1") for code in table["example"]] == table["target"].tolist()
        else:
            assert table["example"].tolist() == list(range(len(targets)))
            assert table["target"].tolist() == targets.tolist()


def test_the_loss_is_the_mean_cross_entropy(trained: Path) -> None:
    from pipeline import tasks
    from pipeline.inference.onnx_session import Session

    paths, task = ModelPaths(BITS, trained), tasks.load("bits")
    examples = load_examples(TaskPaths("bits", trained))
    encoded, targets = evaluated(examples)
    scores = Session(paths.onnx, "").probabilities(task.features(encoded, examples.info)).astype(float)
    expected = -np.log(scores[np.arange(len(targets)), targets]).mean()
    assert load_json(paths.metrics, "")["loss"] == pytest.approx(expected, abs=1e-6)


def test_evaluation_without_an_export_names_the_command(untrained_project: Path) -> None:
    with pytest.raises(PipelineError, match=rf"model\.onnx does not exist; run `dvc repro export@{BITS}` to make it"):
        evaluate.run(config.load().model(BITS))


def random_model(units: int, length: int) -> onnx.ModelProto:
    """An exported model that counts ones badly."""
    classes = length + 1
    rng = np.random.default_rng(1)
    shapes = {
        "lstm_1": [(1, 4 * units), (units, 4 * units), (4 * units,)],
        "logits": [(units, classes), (classes,)],
    }
    weights = {name: [rng.normal(size=s).astype(np.float32) for s in each] for name, each in shapes.items()}
    network = Network(cell="lstm", units=[units], dense=None)
    return onnx_network.build(network, recipe(), weights, (length, 1), classes)


def test_the_reliability_diagram_shows_the_filled_bins() -> None:
    zero, predicted = np.zeros(1000, np.int32), np.tile(np.arange(500) >= 250, 2).astype(np.int32)
    made = made_predictions(INFO, zero[:, None], zero, predicted, np.repeat([0.95, 0.5], 500))
    figure = evaluate.reliability(made, 0.225, 0.012)
    assert figure.axes[0].get_title() == "bits-2: calibration error 22.50%, by chance 1.20%"
    points = figure.axes[0].lines[1]
    np.testing.assert_allclose(np.asarray(points.get_xdata(), float), [0.5, 0.95], atol=1e-6)
    np.testing.assert_allclose(np.asarray(points.get_ydata(), float), [0.5, 0.5])


@pytest.mark.slow
def test_a_million_strings_need_little_more_memory_than_few(untrained_project: Path) -> None:
    peaks = {}
    for length in (16, 20):
        project.change(untrained_project, "tasks.bits.generate.length", length)
        project.change(untrained_project, "tasks.bits.split.train", 10_000)
        setup = prepare(BITS)
        setup.paths.export.mkdir(parents=True, exist_ok=True)
        onnx.save(random_model(4, length), setup.paths.onnx)
        shutil.copy(setup.task.paths.info, setup.paths.info)
        manifest.write_all(setup.paths.export)
        code = (
            "import resource\nfrom pipeline import config\nfrom pipeline.stages import evaluate\n"
            f"evaluate.run(config.load().model('{BITS}'))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        # The shell between: Linux lets a process start with the peak of the process that started it.
        shell = ("sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, code)
        printed, peak = project.run(untrained_project, *shell).stdout.splitlines()
        assert f"of {2**length - 10_000:,} wrong" in printed
        peaks[length] = int(peak) // (2**20 if sys.platform == "darwin" else 2**10)
    # The features and the probabilities of 2^20 strings, (20 + 21) * 4 bytes each, would take 164 MiB, and what an LSTM
    # keeps of every step much more. What may grow: codes, targets, predictions, and their tables.
    assert peaks[20] - peaks[16] < 200, "MiB"
