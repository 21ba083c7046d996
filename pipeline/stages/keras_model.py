"""A trained model in Keras: to train it further, or to write a TensorFlow SavedModel beside its export."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline import manifest
from pipeline.config import ModelSetup
from pipeline.dataset import load_examples, load_info
from pipeline.errors import PipelineError, quoted
from pipeline.files import damaged, draft
from pipeline.inference.onnx_session import batches
from pipeline.networks import keras_network, saved_model, weights
from pipeline.paths import repro
from pipeline.stages import export


def load(setup: ModelSetup) -> keras.Model:
    """The trained model: float32 (batch, steps, features) to logits (batch, classes). It can be trained further.

    Raises PipelineError if it was not trained, or if its weights are damaged.
    """
    path, stage = setup.paths.weights, ("train", setup.name)
    manifest.verify(setup.paths.folder, stage, path.name)
    info = load_info(setup.task.paths.info, ("split", setup.task.name))
    model = keras_network.build(setup.network, setup.recipe, info.shape, len(info.class_names))
    try:
        weights.read(path)  # refuses a file with parts elsewhere, which Keras follows
    except ValueError as error:
        raise damaged(path, repro(*stage, force=True), str(error)) from None
    model.load_weights(path)
    return model


def export_saved_model(setup: ModelSetup, target: Path) -> None:
    """Export a model, and write the same into a new or an empty folder as a TensorFlow SavedModel.

    Raises PipelineError as `export.run` does, or if the folder holds something.
    """
    name = quoted(str(target), 200)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise PipelineError(f"{name} exists and is no empty folder; name a new one.")
    if target.resolve().is_relative_to(setup.paths.export.resolve()):
        raise PipelineError(f"{name} is in an output of DVC; name a folder elsewhere.")
    temperature = export.run(setup)
    tf.config.set_visible_devices([], "GPU")  # a graph that is traced with a GPU holds cuDNN and loads on no CPU
    keras.utils.clear_session()  # layers are numbered from one again, as in a new process
    model, examples = load(setup), load_examples(setup.task.paths)
    sequence, info = setup.task.features(examples.reference[0], examples.info), examples.info
    parts = [model(sequence[rows], training=False).numpy() for rows in batches(len(sequence), export.BATCH)]
    unrolled = keras_network.build(setup.network, setup.recipe, info.shape, len(info.class_names), unroll=True)
    unrolled.set_weights(model.get_weights())
    keras_network.divide_logits(unrolled, temperature)
    with draft(target) as folder:
        saved_model.write(keras_network.with_probabilities(unrolled), info.shape, folder)
        served = tf.saved_model.load(str(folder)).signatures["serving_default"]
        difference = export.compare(
            lambda part: served(sequence=tf.constant(part))["probabilities"].numpy(),
            *(target.name, sequence, np.concatenate(parts) / temperature),
        )
    print(f"{name}: the same as a SavedModel, probabilities within {difference:.1e}")
