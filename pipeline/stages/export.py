"""Calibrate a trained model, export it as ONNX and as SavedModel, and compare both with the Keras model."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf

from pipeline import manifest
from pipeline.config import ModelSetup
from pipeline.dataset import DatasetInfo, Examples, load_examples, load_info, save_info
from pipeline.errors import PipelineError
from pipeline.files import draft
from pipeline.inference.calibration import fit_temperature
from pipeline.inference.onnx_session import Session, batches
from pipeline.networks import keras_network, onnx_network, saved_model

LONGEST = 1_000_000  # steps of a sequence that a count is read from
COMPARED = 10_000  # examples that train, at most
BATCH = 1000
# Between probabilities. Each of the three adds the 512 products of a weighted sum in another order, and float32 rounds
# more where the published recipe leaves large weights: up to 1.3e-5 was measured.
TOLERANCE = 1e-4


def run(setup: ModelSetup) -> None:
    """Read the weights of a model; write model.onnx, saved_model and info.json into its export folder.

    The logits are divided by a temperature, so that a probability of 90 % is right nine times of ten.

    Raises PipelineError, and writes nothing, unless both predict the same class as the Keras model for each example,
    with a probability that differs by at most 1e-4.
    """
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
        write(model, setup, examples.info, folder)
        difference = compare(model, folder, sequence)
        facts = {"model": setup.name, "parameters": model.count_params(), "temperature": temperature}
        # A model that was trained to know the class after every step reads sequences of one step, too.
        # If it reads a count, which no list of classes bounds, longer ones, too.
        any_length = setup.recipe.supervise == "every-step"
        longest = LONGEST if any_length and setup.recipe.readout == "count" else None
        info = replace(examples.info, min_steps=1 if any_length else None, max_steps=longest)
        save_info(info, folder / paths.info.name, **facts)
        manifest.write_all(folder)
    print(f"{setup.name}: ONNX and SavedModel predict what Keras predicts, probabilities within {difference:.1e}")


def write(model: keras.Model, setup: ModelSetup, info: DatasetInfo, folder: Path) -> None:
    """Write model.onnx and saved_model: `sequence`, float32 (batch, steps, features), to `probabilities`."""
    classes = len(info.class_names)
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    graph = onnx_network.build(setup.network, setup.recipe, weights, info.shape, classes)
    onnx.save(graph, folder / setup.paths.onnx.name)
    unrolled = keras_network.build(setup.network, setup.recipe, info.shape, classes, unroll=True)
    unrolled = keras_network.with_probabilities(unrolled)
    unrolled.set_weights(model.get_weights())
    saved_model.write(unrolled, info.shape, folder / "saved_model")


def compare(model: keras.Model, folder: Path, sequence: np.ndarray) -> float:
    """The largest difference of a probability from the Keras model's, on float32 (examples, steps, features)."""
    session = Session(folder / "model.onnx", "dvc repro")
    served = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
    largest = 0.0
    for rows in batches(len(sequence), BATCH):
        expected = model(sequence[rows], training=False).numpy()
        exported = {
            "model.onnx": session.probabilities(sequence[rows]),
            "saved_model": served(sequence=tf.constant(sequence[rows]))["probabilities"].numpy(),
        }
        for file, probabilities in exported.items():
            difference = float(np.abs(probabilities - expected).max())
            classes = int((probabilities.argmax(axis=1) != expected.argmax(axis=1)).sum())
            if classes or not difference <= TOLERANCE:
                raise PipelineError(
                    f"{file} differs from the trained model: {classes} of {len(expected)} classes, and probabilities "
                    f"by up to {difference:.1e}, expected none and at most {TOLERANCE:.0e}; please report this with "
                    "the output of `pip freeze`."
                )
            largest = max(largest, difference)
    return largest


def load_model(setup: ModelSetup) -> keras.Model:
    """The trained Keras model: float32 (batch, steps, features) to logits (batch, classes). It can be trained further.

    Raises PipelineError if it was not trained.
    """
    manifest.verify(setup.paths.folder, ("train", setup.name), setup.paths.weights.name)
    info = load_info(setup.task.paths.info, ("split", setup.task.name))
    model = keras_network.build(setup.network, setup.recipe, info.shape, len(info.class_names))
    model.load_weights(setup.paths.weights)
    return model


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
