"""Calibrate a trained model, export it as ONNX, and compare the file with the Keras model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import onnx
import tensorflow as tf

from pipeline import manifest
from pipeline.config import ModelSetup
from pipeline.dataset import DatasetInfo, Examples, load_examples, load_info, save_info
from pipeline.errors import PipelineError, quoted
from pipeline.files import damaged, draft
from pipeline.inference.calibration import fit_temperature
from pipeline.inference.onnx_session import Session, batches
from pipeline.networks import keras_network, onnx_network
from pipeline.paths import repro

LONGEST = 1_000_000  # steps of a sequence that a count is read from
COMPARED = 10_000  # examples that train, at most
BATCH = 1000
# Between probabilities. Each of the three adds the 512 products of a weighted sum in another order, and float32 rounds
# more where the published recipe leaves large weights: up to 1.3e-5 was measured.
TOLERANCE = 1e-4


def run(setup: ModelSetup, saved_model: Path | None = None) -> None:
    """Read the weights of a model; write model.onnx and info.json into its export folder.

    The logits are divided by a temperature, so that a probability of 90 % is right nine times of ten. `saved_model` is
    a new or an empty folder for the same as a TensorFlow SavedModel.

    Raises PipelineError, and writes nothing, unless each file predicts the same class as the Keras model for each
    example, with a probability that differs by at most 1e-4; or if the folder holds something.
    """
    if saved_model and saved_model.exists() and (not saved_model.is_dir() or any(saved_model.iterdir())):
        raise PipelineError(f"{quoted(str(saved_model), 200)} exists and is no empty folder; name a new one.")
    if saved_model and saved_model.resolve().is_relative_to(setup.paths.export.resolve()):
        raise PipelineError(f"{quoted(str(saved_model), 200)} is in an output of DVC; name a folder elsewhere.")
    tf.config.set_visible_devices([], "GPU")  # a graph that is traced with a GPU holds cuDNN and loads on no CPU
    keras.utils.clear_session()  # layers are numbered from one again, as in a new process
    paths = setup.paths
    model = load_model(setup)
    examples = load_examples(setup.task.paths)
    temperature = _calibrate(model, setup, examples)
    model = keras_network.with_probabilities(model)
    encoded, _ = examples.split("train")
    sequence = setup.task.features(encoded[:COMPARED], examples.info)
    with draft(paths.export) as folder:
        folder.mkdir()
        onnx.save(build(model, setup, examples.info), file := folder / paths.onnx.name)
        session = Session(file, "dvc repro")
        difference = compare(model, file.name, session.probabilities, sequence)
        facts = {"model": setup.name, "parameters": model.count_params(), "temperature": temperature}
        # A model that was trained to know the class after every step reads sequences of one step, too.
        # If it reads a count, which no list of classes bounds, longer ones, too.
        any_length = setup.recipe.supervise == "every-step"
        longest = LONGEST if any_length and setup.recipe.readout == "count" else None
        info = replace(examples.info, min_steps=1 if any_length else None, max_steps=longest)
        save_info(info, folder / paths.info.name, **facts)
        manifest.write_all(folder)
    print(f"{setup.name}: ONNX predicts what Keras predicts, probabilities within {difference:.1e}")
    if saved_model:
        with draft(saved_model) as folder:
            _write_saved_model(model, setup, examples.info, folder)
            served = tf.saved_model.load(str(folder)).signatures["serving_default"]
            difference = compare(
                model, saved_model.name, lambda part: served(sequence=tf.constant(part))["probabilities"], sequence
            )
        name = quoted(str(saved_model), 200)
        print(f"{name}: the same as a SavedModel, probabilities within {difference:.1e}")


def build(model: keras.Model, setup: ModelSetup, info: DatasetInfo) -> onnx.ModelProto:
    """A Keras model as ONNX: `sequence`, float32 (batch, steps, features), to `probabilities`."""
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    return onnx_network.build(setup.network, setup.recipe, weights, info.shape, len(info.class_names))


def _write_saved_model(model: keras.Model, setup: ModelSetup, info: DatasetInfo, folder: Path) -> None:
    from pipeline.networks import saved_model

    unrolled = keras_network.build(setup.network, setup.recipe, info.shape, len(info.class_names), unroll=True)
    unrolled = keras_network.with_probabilities(unrolled)
    unrolled.set_weights(model.get_weights())
    saved_model.write(unrolled, info.shape, folder)


def compare(model: keras.Model, name: str, predict: Callable[[np.ndarray], Any], sequence: np.ndarray) -> float:
    """The largest difference of a probability from the Keras model's, on float32 (examples, steps, features).

    `predict` gives those of a file, whose name an error has: float32 (batch, classes) for a part of the sequence.
    """
    largest = 0.0
    for rows in batches(len(sequence), BATCH):
        expected, probabilities = model(sequence[rows], training=False).numpy(), np.asarray(predict(sequence[rows]))
        difference = float(np.abs(probabilities - expected).max())
        classes = int((probabilities.argmax(axis=1) != expected.argmax(axis=1)).sum())
        if classes or not difference <= TOLERANCE:
            raise PipelineError(
                f"{name} differs from the trained model: {classes} of {len(expected)} classes, and probabilities "
                f"by up to {difference:.1e}, expected none and at most {TOLERANCE:.0e}; please report this with "
                "the output of `pip freeze`."
            )
        largest = max(largest, difference)
    return largest


def load_model(setup: ModelSetup) -> keras.Model:
    """The trained Keras model: float32 (batch, steps, features) to logits (batch, classes). It can be trained further.

    Raises PipelineError if it was not trained, or if its weights are damaged.
    """
    manifest.verify(setup.paths.folder, ("train", setup.name), setup.paths.weights.name)
    info = load_info(setup.task.paths.info, ("split", setup.task.name))
    model = keras_network.build(setup.network, setup.recipe, info.shape, len(info.class_names))
    if _has_parts_elsewhere(setup.paths.weights):  # which no hash covers
        raise damaged(setup.paths.weights, repro("train", setup.name, force=True), "a part of it is in another file")
    model.load_weights(setup.paths.weights)
    return model


def _has_parts_elsewhere(path: Path) -> bool:
    """Whether an HDF5 file names others that hold values of its own: by a link, or as storage."""
    found: list[bool] = []

    def look(name: str, each: h5py.Group | h5py.Dataset) -> None:
        found.append(isinstance(each, h5py.Dataset) and bool(each.external or each.is_virtual))

    with h5py.File(path) as file:
        file.visititems(look)
        file.visititems_links(lambda name, link: found.append(isinstance(link, h5py.ExternalLink)))
    return any(found)


def _calibrate(model: keras.Model, setup: ModelSetup, examples: Examples) -> float:
    """Divide the logits by the temperature that fits best, and return it.

    It is fitted to the validation split, or, without one, to the training split. Where the training split is evaluated,
    too, as with a fable, it is 1.
    """
    split = "validation" if examples.info.splits.get("validation") else "train"
    if split == examples.info.eval_split:
        return 1.0
    encoded, targets = examples.split(split)
    features = [setup.task.features(encoded[rows], examples.info) for rows in batches(len(encoded), BATCH)]
    logits = np.concatenate([model(sequence, training=False).numpy() for sequence in features])
    temperature = fit_temperature(logits, targets)
    keras_network.divide_logits(model, temperature)
    return temperature
