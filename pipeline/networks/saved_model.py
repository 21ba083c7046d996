"""A trained network as a TensorFlow SavedModel whose bytes are the same each time."""

from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2


def write(model: keras.Model, shape: tuple[int, int], folder: Path) -> None:
    """Write `model`, whose recurrent layers have no loops, with `sequence` as input and `probabilities` as output.

    The file is one plain graph of constants, without loops, its nodes sorted by name: TensorFlow numbers and orders
    variables, functions, loops and nodes differently in each process. It predicts, but cannot be trained further.
    """
    try:
        _write_graph(_frozen(model, shape), folder)
    except tf.errors.OpError as error:  # of a disk that is full
        raise OSError(None, error.message, str(folder)) from error
    (folder / "variables").rmdir()  # empty
    path = folder / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    path.write_bytes(content.SerializeToString(deterministic=True))  # maps sorted by their keys


def _write_graph(frozen: tf.types.experimental.ConcreteFunction, folder: Path) -> None:
    tf.get_logger().setLevel("ERROR")  # TensorFlow calls the functions that write one plain graph deprecated
    v1 = tf.compat.v1
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(_sorted_by_name(frozen.graph.as_graph_def()), name="")
        with v1.Session(graph=graph) as session:
            v1.saved_model.simple_save(
                session,
                str(folder),
                inputs={"sequence": graph.get_tensor_by_name(frozen.inputs[0].name)},
                outputs={"probabilities": graph.get_tensor_by_name(frozen.outputs[0].name)},
            )


def _frozen(model: keras.Model, shape: tuple[int, int]) -> tf.types.experimental.ConcreteFunction:
    """The model as one function, its weights as constants."""

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec((None, *shape), tf.float32, name="sequence")]
    )
    def predict(sequence: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": model(sequence, training=False)}

    return convert_variables_to_constants_v2(predict.get_concrete_function())


def _sorted_by_name(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    nodes = sorted(graph.node, key=lambda node: str(node.name))
    for node in nodes:
        node.attr.pop("_has_manual_control_dependencies", None)  # used in tracing only, and not always set
    del graph.node[:]
    graph.node.extend(nodes)
    return graph
