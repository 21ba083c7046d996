"""A trained network as an ONNX graph, written node by node, so that the same weights always give the same bytes.

A converter such as tf2onnx would serve, too, but its names and its order of nodes change from run to run.
Source: the specification of the ONNX operators, opset 17.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.recipe import Network, Recipe

OPSET = 17
IR_VERSION = 10  # of the file: what ONNX Runtime reads since 1.18

ALL_OUTPUTS, LAST_OUTPUT, LAST_CELL = "all", "last", "last_cell"  # what a recurrent layer returns

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


def build(network: Network, recipe: Recipe, weights: Weights, shape: tuple[int, int], classes: int) -> onnx.ModelProto:
    """The graph from `sequence`, float32 (batch, steps, features), to `probabilities`, float32 (batch, classes).

    A network that was supervised at every step takes any number of steps. One that reads a count also gives `count`,
    float32 (batch, 1). Dropout has no node, since it acts only while training.
    """
    graph = _Graph()
    x = graph.node("Transpose", ["sequence"], ["steps_first"], perm=[1, 0, 2])  # (steps, batch, features)
    if network.embedding:
        x = _embedding(graph, x, weights["embedding"][0])  # (steps, batch, embedding)
    if network.dense:
        kernel, bias = weights["dense"]
        x = graph.node("MatMul", [x, graph.constant("dense.kernel", kernel)], ["dense.product"])
        x = graph.node("Add", [x, graph.constant("dense.bias", bias)], ["dense"])  # (steps, batch, dense)
    for name, units in zip(network.layer_names, network.units, strict=True):
        returned = ALL_OUTPUTS
        if name == network.layer_names[-1]:
            returned = LAST_CELL if recipe.readout == "count" else LAST_OUTPUT
        x = CELLS[network.cell](graph, x, name, units, weights[name], returned)
    outputs = {"probabilities": classes}
    if recipe.readout == "count":
        x = _count_logits(graph, x, weights, classes)
        outputs["count"] = 1
    else:
        x = _dense(graph, x, "logits", weights, "logits")
    graph.node("Softmax", [x], ["probabilities"], axis=-1)
    steps = "steps" if recipe.supervise == "every-step" else shape[0]
    return _model(graph, (steps, shape[1]), outputs)


def _model(graph: _Graph, shape: tuple[int | str, int], outputs: Mapping[str, int]) -> onnx.ModelProto:
    body = helper.make_graph(
        graph.nodes,
        "lstm",
        [helper.make_tensor_value_info("sequence", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in outputs.items()],
        graph.constants,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _embedding(graph: _Graph, x: str, table: np.ndarray) -> str:
    """The vectors (steps, batch, embedding) of class numbers (steps, batch, 1)."""
    x = graph.node("Squeeze", [x, graph.constant("embedding.axis", np.array([2], np.int64))], ["embedding.number"])
    x = graph.node("Cast", [x], ["embedding.row"], to=TensorProto.INT64)
    return graph.node("Gather", [graph.constant("embedding.table", table), x], ["embedding"])


def _dense(graph: _Graph, x: str, layer: str, weights: Weights, output: str) -> str:
    kernel, bias = weights[layer]
    inputs = [x, graph.constant(f"{layer}.kernel", kernel), graph.constant(f"{layer}.bias", bias)]
    return graph.node("Gemm", inputs, [output])


def _count_logits(graph: _Graph, x: str, weights: Weights, classes: int) -> str:
    """The count that the cell state (batch, units) stands for, and its logits (batch, classes)."""
    number = _dense(graph, x, "count", weights, "count")  # (batch, 1)
    numbers = graph.constant("logits.classes", np.arange(classes, dtype=np.float32))
    distance = graph.node("Sub", [numbers, number], ["logits.distance"])
    squared = graph.node("Mul", [distance, distance], ["logits.squared"])
    sharpness = graph.constant("logits.sharpness", -weights["logits"][0])
    return graph.node("Mul", [squared, sharpness], ["logits"])


def _lstm(graph: _Graph, x: str, name: str, units: int, weights: Sequence[np.ndarray], returned: str) -> str:
    """An LSTM on x (steps, batch, features): its last output or cell state (batch, units), or all outputs."""
    kernel, recurrent, bias = weights  # Keras: (features, 4 units), (units, 4 units), (4 units,)
    inputs = [
        x,
        graph.constant(f"{name}.kernel", _lstm_gates(kernel.T)[None]),  # (1, 4 units, features)
        graph.constant(f"{name}.recurrent", _lstm_gates(recurrent.T)[None]),  # (1, 4 units, units)
        graph.constant(f"{name}.bias", np.concatenate([_lstm_gates(bias), np.zeros_like(bias)])[None]),  # (1, 8 units)
    ]
    return _outputs(graph, "LSTM", inputs, name, returned, hidden_size=units)


def _gru(graph: _Graph, x: str, name: str, units: int, weights: Sequence[np.ndarray], returned: str) -> str:
    """A GRU on x, with the same outputs. Keras and ONNX order its gates alike: update, reset, candidate."""
    kernel, recurrent, bias = weights  # Keras: (features, 3 units), (units, 3 units), (2, 3 units)
    inputs = [
        x,
        graph.constant(f"{name}.kernel", kernel.T[None]),  # (1, 3 units, features)
        graph.constant(f"{name}.recurrent", recurrent.T[None]),  # (1, 3 units, units)
        graph.constant(f"{name}.bias", bias.reshape(1, -1)),  # (1, 6 units): of the input, then of the recurrence
    ]
    # Keras' reset_after: the reset gate acts on the recurrent product.
    return _outputs(graph, "GRU", inputs, name, returned, hidden_size=units, linear_before_reset=1)


def _rnn(graph: _Graph, x: str, name: str, units: int, weights: Sequence[np.ndarray], returned: str) -> str:
    """A plain recurrent layer, with tanh, on x, with the same outputs."""
    kernel, recurrent, bias = weights  # Keras: (features, units), (units, units), (units,)
    inputs = [
        x,
        graph.constant(f"{name}.kernel", kernel.T[None]),  # (1, units, features)
        graph.constant(f"{name}.recurrent", recurrent.T[None]),  # (1, units, units)
        graph.constant(f"{name}.bias", np.concatenate([bias, np.zeros_like(bias)])[None]),  # (1, 2 units)
    ]
    return _outputs(graph, "RNN", inputs, name, returned, hidden_size=units)


CELLS = {"lstm": _lstm, "gru": _gru, "rnn": _rnn}


def _outputs(graph: _Graph, kind: str, inputs: Sequence[str], name: str, returned: str, **attributes: int) -> str:
    """Run a recurrent node; ONNX gives all outputs (steps, 1, batch, units), the last one and the last cell state."""
    position = (ALL_OUTPUTS, LAST_OUTPUT, LAST_CELL).index(returned)
    y = graph.node(kind, inputs, [""] * position + [f"{name}.{returned}"], **attributes)
    axes = graph.constant(f"{name}.direction", np.array([1 if returned == ALL_OUTPUTS else 0], np.int64))
    return graph.node("Squeeze", [y, axes], [name])


def _lstm_gates(rows: np.ndarray) -> np.ndarray:
    """Rows of Keras' gates (input, forget, cell, output) in ONNX' order (input, output, forget, cell)."""
    i, f, c, o = np.split(rows, 4)
    return np.concatenate([i, o, f, c])
