"""Make of a trained model the files that answer: ONNX and SavedModel, checked against the model itself."""

import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from pipeline import data, onnx_graph, tasks
from pipeline import model as network
from pipeline.config import Config, Network
from pipeline.errors import BadInput

COMPARED = 20_000  # examples at the most
BATCH = 1000
# Between probabilities: float32 rounds sums of 512 products of weights as large as the published recipe leaves them, in
# another order in each of the three. Measured up to 1.3e-5.
TOLERANCE = 1e-4


def run(name: str, config: Config) -> None:
    """Read the weights of model `name`; write model.onnx, saved_model and card.json into models/NAME/export.

    BadInput, and no file, unless both answer the examples as the Keras model does: each class the same, each
    probability within 1e-4.
    """
    tf.config.set_visible_devices([], "GPU")  # a graph traced with a GPU in sight holds cuDNN and loads on no CPU
    keras.utils.clear_session()  # layers are numbered from one again, as in a process of their own
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
        write(model, spec.network, card, draft)
        most = compare(model, draft, task.features(codes[:COMPARED], card.shape))
        data.save_card(card, draft / "card.json", model=name, parameters=model.count_params())
        shutil.rmtree(folder / "export", ignore_errors=True)
        draft.replace(folder / "export")
    print(f"{name}: ONNX and SavedModel answer as Keras does, probabilities within {most:.1e}")


def write(model: keras.Model, spec: Network, card: data.Card, folder: Path) -> None:
    """Write model.onnx and saved_model: float32 `sequence` (batch, steps, features) to `probabilities`, any batch."""
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    onnx.save(onnx_graph.build(spec, weights, card.shape, len(card.labels)), folder / "model.onnx")
    unrolled = network.with_probabilities(network.build(spec, card.shape, len(card.labels), unroll=True))
    unrolled.set_weights(model.get_weights())

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((None, *card.shape), tf.float32, name="sequence")]
    )
    def serve(sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": unrolled(sequence, training=False)}

    # One plain graph of constants, without loops, its nodes by name: variables, functions, loops and nodes would each
    # be numbered or ordered otherwise every time.
    frozen = convert_variables_to_constants_v2(serve.get_concrete_function())
    definition = frozen.graph.as_graph_def()
    nodes = sorted(definition.node, key=lambda node: str(node.name))
    for node in nodes:
        node.attr.pop("_has_manual_control_dependencies", None)  # set or not by chance; for tracing alone
    del definition.node[:]
    definition.node.extend(nodes)
    tf.get_logger().setLevel("ERROR")  # a SavedModel of one plain graph is made by what TensorFlow calls deprecated
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        v1 = tf.compat.v1
        with v1.Session(graph=graph) as session:
            v1.saved_model.simple_save(
                session,
                str(folder / "saved_model"),
                inputs={"sequence": graph.get_tensor_by_name(frozen.inputs[0].name)},
                outputs={"probabilities": graph.get_tensor_by_name(frozen.outputs[0].name)},
            )
    (folder / "saved_model" / "variables").rmdir()  # empty: DVC keeps no empty folder, so prove that none is needed
    path = folder / "saved_model" / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    path.write_bytes(content.SerializeToString(deterministic=True))  # maps sorted by their keys


def compare(model: keras.Model, folder: Path, x: np.ndarray) -> float:
    """The greatest difference of probabilities from the Keras model's, on x float32 (examples, steps, features)."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    serve = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
    most = 0.0
    for start in range(0, len(x), BATCH):
        batch = x[start : start + BATCH]
        keras_says = model(batch, training=False).numpy()
        others = {
            "model.onnx": session.run(["probabilities"], {"sequence": batch})[0],
            "saved_model": serve(sequence=tf.constant(batch))["probabilities"].numpy(),
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
