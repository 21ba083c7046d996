from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from pipeline import config, manifest
from pipeline.dataset import load_examples
from pipeline.errors import PipelineError
from pipeline.files import load_json, md5
from pipeline.inference.onnx_session import Session
from pipeline.networks import keras_network, weights
from pipeline.paths import ModelPaths
from pipeline.stages import export, keras_model, train
from tests.harness import documents, project
from tests.harness.recipes import CELLS
from tests.harness.stages import prepare

pytestmark = pytest.mark.slow
BITS = "bits-lstm24"


@pytest.mark.parametrize("cell", CELLS)
def test_an_export_that_differs_from_the_trained_model_is_refused(untrained_project: Path, cell: str) -> None:
    for name in ("fast", "best"):
        project.change(untrained_project, f"models.{BITS}.recipes.{name}.loss", "cross-entropy")
        project.change(untrained_project, f"models.{BITS}.recipes.{name}.readout", "softmax")
        project.change(untrained_project, f"models.{BITS}.recipes.{name}.init.forget_bias", 1.0)
    project.change(untrained_project, f"models.{BITS}.network.cell", cell)
    setup = prepare(BITS)
    train.run(setup)
    export.run(setup)
    before = setup.paths.onnx.read_bytes()
    with h5py.File(setup.paths.weights, "a") as file:
        file["layers/dense/vars/0"][0, 0] += 0.01  # of the logits' kernel
    manifest.write(setup.paths.folder, [setup.paths.weights, setup.paths.logits])
    with pytest.raises(PipelineError, match=r"model\.onnx differs from the trained model: \d+ of \d+ classes"):
        export.run(setup)
    assert setup.paths.onnx.read_bytes() == before


@pytest.mark.parametrize("model", [BITS, "mnist-lstm128", "fable-lstm512"])
def test_weights_are_read_as_keras_reads_them(trained: Path, monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.chdir(trained)
    setup = config.load().model(model)
    loaded = keras_model.load(setup)
    expected = {layer.name: layer.get_weights() for layer in loaded.layers if layer.weights}
    found = weights.read(setup.paths.weights)
    assert found.keys() == expected.keys()
    for name, arrays in expected.items():
        assert [array.tolist() for array in found[name]] == [array.tolist() for array in arrays], name
    assert load_json(setup.paths.info, "")["parameters"] == loaded.count_params()


@pytest.mark.parametrize("model", [BITS, "mnist-lstm128", "fable-lstm512"])
def test_training_writes_the_logits_of_the_reference_examples(
    trained: Path, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.chdir(trained)
    setup = config.load().model(model)
    examples = load_examples(setup.task.paths)
    encoded, targets = examples.reference
    split = "validation" if model == "mnist-lstm128" else "train"
    np.testing.assert_array_equal(encoded, examples.split(split)[0])
    np.testing.assert_array_equal(targets, examples.split(split)[1])
    logits = np.load(setup.paths.logits)
    expected = keras_model.load(setup)(setup.task.features(encoded, examples.info), training=False)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "logits", [np.zeros((3, 9), np.float32), np.zeros((100, 9)), None], ids=["few", "type", "none"]
)
def test_other_logits_than_those_of_the_reference_examples_are_refused(
    untrained_project: Path, logits: np.ndarray | None
) -> None:
    setup = prepare(BITS)
    train.run(setup)
    if logits is None:
        setup.paths.logits.write_bytes(b"no array")
    else:
        np.save(setup.paths.logits, logits)
    with pytest.raises(
        PipelineError, match=r"logits\.npy was changed after it was written; run `dvc repro --force train@"
    ):
        export.run(setup)
    manifest.write(setup.paths.folder, [setup.paths.weights, setup.paths.logits])
    with pytest.raises(PipelineError, match=r"logits\.npy is damaged; run `dvc repro --force train@"):
        export.run(setup)


def test_weights_of_another_network_are_refused(untrained_project: Path) -> None:
    setup = prepare(BITS)
    train.run(setup)
    for key, value in (("units", [8, 8]), ("units", [7]), ("dense", 5)):
        project.change(untrained_project, f"models.{BITS}.network.{key}", value)
        with pytest.raises(PipelineError, match=rf"weights\.h5 does not fit models\.{BITS}\.network; run `dvc repro"):
            export.run(config.load().model(BITS))


def test_a_saved_model_is_written_on_demand_and_predicts_the_same(trained_project: Path) -> None:
    features = np.ones((3, 8, 1), np.float32)
    for folder, status in (("served", 0), ("served", 2), ("pipeline", 2), (f"models/{BITS}/export/served", 2)):
        result = project.invoke("export", BITS, "--saved-model", folder)
        assert result.exit_code == status, result.output
        assert status == 0 or "is no empty folder" in result.stderr or "is in an output of DVC" in result.stderr
    served = tf.saved_model.load("served").signatures["serving_default"]
    found = served(sequence=tf.constant(features))["probabilities"]
    expected = Session(ModelPaths(BITS).onnx, "").probabilities(features)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_trained_model_is_rebuilt_as_documented_and_learns_on(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    (block,) = documents.sections(project.ROOT / "docs" / "extending.md")["Train a model further"]
    names: dict[str, Any] = {}
    exec(block.text, names)  # noqa: S102  # a document's own code
    setup, model = names["setup"], names["model"]
    examples = load_examples(setup.task.paths)
    encoded, targets = examples.split(examples.info.eval_split)
    features = setup.task.features(encoded[:200], examples.info)
    expected = pd.read_parquet(setup.paths.predictions)["predicted"][:200]
    assert model(features).numpy().argmax(axis=1).tolist() == expected.tolist()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    losses = model.fit(features, targets[:200], epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_a_refused_export_leaves_the_one_before(untrained_project: Path) -> None:
    setup = prepare(BITS)
    train.run(setup)
    export.run(setup)
    info = load_json(setup.paths.info, "")
    assert info["model"] == BITS
    assert info["parameters"] == 4 * 8 * (1 + 8 + 1) + (8 + 1) + 1, "the LSTM, the count, its sharpness"
    assert (info["min_steps"], info["max_steps"]) == (1, 1_000_000)
    assert 0.05 <= info["temperature"] <= 20
    assert info["class_names"] == [str(count) for count in range(9)]
    before = {path: md5(path) for path in setup.paths.export.rglob("*") if path.is_file()}
    model = keras_network.build(setup.network, setup.recipe, (8, 1), 9)
    model.set_weights([np.full_like(value, np.nan) for value in model.get_weights()])
    model.save_weights(setup.paths.weights)
    with pytest.raises(PipelineError, match=r"weights\.h5 was changed after .*; run `dvc repro --force train@"):
        export.run(setup)
    manifest.write(setup.paths.folder, [setup.paths.weights, setup.paths.logits])
    with pytest.raises(PipelineError, match=r"gives probabilities that are not from 0 to 1"):
        export.run(setup)
    assert {path: md5(path) for path in setup.paths.export.rglob("*") if path.is_file()} == before
    assert not list(setup.paths.folder.glob(".writing-*")), "no half of an export is left"


@pytest.mark.parametrize("way", ["storage", "link", "virtual"])
def test_weights_with_a_part_in_another_file_are_refused(untrained_project: Path, tmp_path: Path, way: str) -> None:
    setup = prepare(BITS)
    train.run(setup)
    kernel, others = "layers/lstm/cell/vars/0", tmp_path / "others"
    with h5py.File(setup.paths.weights, "a") as file:
        values = file[kernel][()]
        del file[kernel]
        if way == "storage":
            others.write_bytes(values.tobytes())
            file.create_dataset(kernel, values.shape, "f4", external=[(str(others), 0, values.nbytes)])
        else:
            with h5py.File(others, "w") as other:
                other["kernel"] = values
            if way == "link":
                file[kernel] = h5py.ExternalLink(str(others), "kernel")
            else:
                layout = h5py.VirtualLayout(values.shape, "f4")
                layout[...] = h5py.VirtualSource(str(others), "kernel", values.shape)
                file.create_virtual_dataset(kernel, layout)
    manifest.write(setup.paths.folder, [setup.paths.weights, setup.paths.logits])
    with pytest.raises(
        PipelineError, match=r"weights\.h5 is damaged \(a part of it is in another file\); run `dvc repro"
    ):
        export.run(setup)


def test_export_without_weights_names_the_command(untrained_project: Path) -> None:
    setup = prepare(BITS)
    with pytest.raises(PipelineError, match=rf"weights\.h5 does not exist; run `dvc repro train@{BITS}` to make it"):
        export.run(setup)
