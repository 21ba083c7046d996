"""Exercise 7: an ONNX graph that computes what Keras computes."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def gates(weights: np.ndarray) -> np.ndarray:
    """Columns (anything, 4 units) in Keras' order (input, forget, candidate, output), in that of ONNX' LSTM as rows.

    ONNX has the gates in the order input, output, forget, candidate, and a row for each: (4 units, anything).
    """
    # Fill the gap: np.split and np.concatenate change the order; .T turns columns into rows.
    raise NotImplementedError


def export(kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """An LSTM layer from `sequence` (steps, batch, features) to `output` (1, batch, units), its last output.

    kernel (features, 4 units), recurrent (units, 4 units), bias (4 units,).
    """
    features, units = kernel.shape[0], recurrent.shape[0]
    both = np.concatenate([gates(bias[None])[:, 0], np.zeros_like(bias)])  # ONNX has a second bias
    constants = {"W": gates(kernel)[None], "R": gates(recurrent)[None], "B": both[None]}
    node = helper.make_node("LSTM", ["sequence", *constants], ["", "output"], hidden_size=units)
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info("sequence", TensorProto.FLOAT, ["steps", "batch", features])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, "batch", units])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
