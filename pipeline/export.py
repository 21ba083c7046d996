"""Make of a trained model the files that answer: ONNX and SavedModel, checked against the model itself."""

import os
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

from pipeline import data, tasks
from pipeline import model as network
from pipeline.config import Config
from pipeline.errors import BadInput

OPSET = 17  # of ONNX: the operators' version
COMPARED = 20_000  # examples at the most
BATCH = 1000
TOLERANCE = 1e-5  # between probabilities


def run(name: str, config: Config) -> None:
    """Read the weights of model `name`; write model.onnx, saved_model and card.json into models/NAME/export.

    BadInput, and no file, unless both answer the examples as the Keras model does: each class the same, each
    probability within 1e-5.
    """
    tf.config.set_visible_devices([], "GPU")  # a graph traced with a GPU in sight holds cuDNN and loads on no CPU
    spec = config.model(name)
    task = tasks.load(spec.task)
    folder = data.MODELS / name
    data.need(folder / "model.weights.h5", f"dvc repro train@{name}")
    examples = data.load_examples(data.SPLIT / spec.task)
    card = examples.card
    logits = network.build(spec.network, card.shape, len(card.labels))
    logits.load_weights(folder / "model.weights.h5")
    model = network.with_probabilities(logits)
    codes, _ = examples.part(task.EVALUATED)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as draft_name:
        draft = Path(draft_name) / "export"
        draft.mkdir()
        write(model, card.shape, draft)
        most = compare(model, draft, task.features(codes[:COMPARED], card.shape))
        data.save_card(card, draft / "card.json", model=name, parameters=model.count_params())
        shutil.rmtree(folder / "export", ignore_errors=True)
        os.replace(draft, folder / "export")
    print(f"{name}: ONNX and SavedModel answer as Keras does, probabilities within {most:.1e}")


def write(model: keras.Model, shape: tuple[int, int], folder: Path) -> None:
    """Write model.onnx and saved_model: float32 `sequence` (batch, steps, features) to `probabilities`, any batch."""
    signature = [tf.TensorSpec((None, *shape), tf.float32, name="sequence")]

    @tf.function(input_signature=signature)
    def probabilities(sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": model([sequence], training=False)}

    tf2onnx.convert.from_function(
        probabilities, input_signature=signature, opset=OPSET, output_path=str(folder / "model.onnx")
    )
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda sequence: {"probabilities": model([sequence], training=False)}, signature)
    archive.write_out(str(folder / "saved_model"), verbose=False)
    # A random number that names this very writing; a SavedModel loads without it.
    (folder / "saved_model" / "fingerprint.pb").unlink()


def compare(model: keras.Model, folder: Path, x: np.ndarray) -> float:
    """The greatest difference of probabilities from the Keras model's, on x float32 (examples, steps, features)."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    serve = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
    most = 0.0
    for start in range(0, len(x), BATCH):
        batch = x[start : start + BATCH]
        keras_says = model([batch], training=False).numpy()
        others = {
            "model.onnx": session.run(["probabilities"], {"sequence": batch})[0],
            "saved_model": serve(tf.constant(batch))["probabilities"].numpy(),
        }
        for file, says in others.items():
            difference = float(np.abs(says - keras_says).max())
            unlike = int((says.argmax(axis=1) != keras_says.argmax(axis=1)).sum())
            if unlike or not difference <= TOLERANCE:
                raise BadInput(
                    f"{file} is not the model that was trained: {unlike} of {len(batch)} classes differ, probabilities "
                    f"by up to {difference:.1e}, expected at most {TOLERANCE:.0e}; report this with `pip freeze`."
                )
            most = max(most, difference)
    return most
