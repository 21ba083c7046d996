"""A trained network as an ONNX graph, written node by node, so that the same weights always give the same bytes.

A converter such as tf2onnx would serve, too, but its names and its order of nodes change from run to run.
Source: the specification of the ONNX operators, opset 17.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.config import Network

OPSET = 17
IR_VERSION = 10  # of the file: what ONNX Runtime reads since 1.18

Weights = Mapping[str, Sequence[np.ndarray]]  # by layer name, as Keras gives them


class _Graph:
    """Nodes and constants, in the order of the computation."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=next(filter(None, outputs)), **attributes))
        return outputs[-1]


def build(network: Network, weights: Weights, shape: tuple[int, int], classes: int) -> onnx.ModelProto:
    """The graph from `sequence`, float32 (batch, steps, features), to `probabilities`, float32 (batch, classes).

    Dropout has no node, since it acts only while training.
    """
    graph = _Graph()
    x = graph.node("Transpose", ["sequence"], ["steps_first"], perm=[1, 0, 2])  # (steps, batch, features)
    if network.dense:
        kernel, bias = weights["dense"]
        x = graph.node("MatMul", [x, graph.constant("dense.kernel", kernel)], ["dense.product"])
        x = graph.node("Add", [x, graph.constant("dense.bias", bias)], ["dense"])  # (steps, batch, dense)
    for name, units in zip(network.layer_names, network.units, strict=True):
        x = CELLS[network.cell](graph, x, name, units, weights[name], name == network.layer_names[-1])
    kernel, bias = weights["logits"]
    inputs = [x, graph.constant("logits.kernel", kernel), graph.constant("logits.bias", bias)]
    x = graph.node("Gemm", inputs, ["logits"])  # (batch, classes)
    graph.node("Softmax", [x], ["probabilities"], axis=-1)
    return _model(graph, shape, classes)


def _model(graph: _Graph, shape: tuple[int, int], classes: int) -> onnx.ModelProto:
    body = helper.make_graph(
        graph.nodes,
        "lstm",
        [helper.make_tensor_value_info("sequence", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])],
        graph.constants,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _lstm(graph: _Graph, x: str, name: str, units: int, weights: Sequence[np.ndarray], last: bool) -> str:
    """An LSTM on x (steps, batch, features): its last output (batch, units), or all of them (steps, batch, units)."""
    kernel, recurrent, bias = weights  # Keras: (features, 4 units), (units, 4 units), (4 units,)
    inputs = [
        x,
        graph.constant(f"{name}.kernel", _lstm_gates(kernel.T)[None]),  # (1, 4 units, features)
        graph.constant(f"{name}.recurrent", _lstm_gates(recurrent.T)[None]),  # (1, 4 units, units)
        graph.constant(f"{name}.bias", np.concatenate([_lstm_gates(bias), np.zeros_like(bias)])[None]),  # (1, 8 units)
    ]
    return _outputs(graph, "LSTM", inputs, name, last, hidden_size=units)


def _gru(graph: _Graph, x: str, name: str, units: int, weights: Sequence[np.ndarray], last: bool) -> str:
    """A GRU on x, with the same outputs. Keras and ONNX order its gates alike: update, reset, candidate."""
    kernel, recurrent, bias = weights  # Keras: (features, 3 units), (units, 3 units), (2, 3 units)
    inputs = [
        x,
        graph.constant(f"{name}.kernel", kernel.T[None]),  # (1, 3 units, features)
        graph.constant(f"{name}.recurrent", recurrent.T[None]),  # (1, 3 units, units)
        graph.constant(f"{name}.bias", bias.reshape(1, -1)),  # (1, 6 units): of the input, then of the recurrence
    ]
    # Keras' reset_after: the reset gate acts on the recurrent product.
    return _outputs(graph, "GRU", inputs, name, last, hidden_size=units, linear_before_reset=1)


CELLS = {"lstm": _lstm, "gru": _gru}


def _outputs(graph: _Graph, kind: str, inputs: Sequence[str], name: str, last: bool, **attributes: int) -> str:
    outputs = ["", f"{name}.last"] if last else [f"{name}.all"]  # (1, batch, units); (steps, 1, batch, units)
    y = graph.node(kind, inputs, outputs, **attributes)
    axes = graph.constant(f"{name}.direction", np.array([0 if last else 1], np.int64))
    return graph.node("Squeeze", [y, axes], [name])


def _lstm_gates(rows: np.ndarray) -> np.ndarray:
    """Rows of Keras' gates (input, forget, cell, output) in ONNX' order (input, output, forget, cell)."""
    i, f, c, o = np.split(rows, 4)
    return np.concatenate([i, o, f, c])
