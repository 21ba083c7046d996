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

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
ALL_OUTPUTS, LAST_OUTPUT, LAST_CELL = "all", "last", "last_cell"  # what a recurrent layer returns

Weights = Mapping[str, Sequence[np.ndarray]]  # by layer name, as Keras gives them


class _Graph:
    """Inputs, outputs, nodes and constants, in the order of the computation."""

    def __init__(self) -> None:
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(self, name: str, kind: int, shape: Sequence[int | str]) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=next(filter(None, outputs)), **attributes))
        return outputs[-1]


def build(network: Network, recipe: Recipe, weights: Weights, shape: tuple[int, int], classes: int) -> onnx.ModelProto:
    """The graph from `sequence`, float32 (batch, steps, features), to `probabilities`, float32 (batch, classes).

    A network that was supervised at every step takes any number of steps. One that reads a count also gives `count`,
    float64 (batch, 1); it computes in float64, and takes and gives the states between two parts of a sequence: see
    `_lstm_in_float64`. Dropout has no node, since it acts only while training.
    """
    graph = _Graph()
    counts = recipe.readout == "count"
    steps = "steps" if recipe.supervise == "every-step" else shape[0]
    x = graph.input("sequence", FLOAT, ["batch", steps, shape[1]])
    x = graph.node("Transpose", [x], ["steps_first"], perm=[1, 0, 2])  # (steps, batch, features)
    if network.embedding:
        x = _embedding(graph, x, weights["embedding"][0])  # (steps, batch, embedding)
    if network.dense:
        kernel, bias = weights["dense"]
        x = graph.node("MatMul", [x, graph.constant("dense.kernel", kernel)], ["dense.product"])
        x = graph.node("Add", [x, graph.constant("dense.bias", bias)], ["dense"])  # (steps, batch, dense)
    graph.output("probabilities", FLOAT, ["batch", classes])
    if counts:
        x = graph.node("Cast", [x], ["float64"], to=DOUBLE)
        graph.output("count", DOUBLE, ["batch", 1])
    for name, units in zip(network.layer_names, network.units, strict=True):
        returned = ALL_OUTPUTS
        if name == network.layer_names[-1]:
            returned = LAST_CELL if counts else LAST_OUTPUT
        layer = _lstm_in_float64 if counts else CELLS[network.cell]
        x = layer(graph, x, name, units, weights[name], returned)
    x = _count_logits(graph, x, weights, classes) if counts else _dense(graph, x, "logits", weights, "logits")
    graph.node("Softmax", [x], ["probabilities"], axis=-1)
    body = helper.make_graph(graph.nodes, "lstm", graph.inputs, graph.outputs, graph.constants)
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
    """The count that the cell state float64 (batch, units) stands for, and its logits float32 (batch, classes)."""
    kernel, bias = (
        graph.node("Cast", [graph.constant(f"count.{name}", value)], [f"count.{name}64"], to=DOUBLE)
        for name, value in zip(("kernel", "bias"), weights["count"], strict=True)
    )
    count = graph.node("Gemm", [x, kernel, bias], ["count"])  # (batch, 1)
    number = graph.node("Cast", [count], ["logits.number"], to=FLOAT)
    numbers = graph.constant("logits.classes", np.arange(classes, dtype=np.float32))
    distance = graph.node("Sub", [numbers, number], ["logits.distance"])
    squared = graph.node("Mul", [distance, distance], ["logits.squared"])
    sharpness = graph.constant("logits.sharpness", -weights["logits"][0])
    return graph.node("Mul", [squared, sharpness], ["logits"])


def _lstm(graph: _Graph, x: str, name: str, units: int, weights: Sequence[np.ndarray], returned: str) -> str:
    """An LSTM on x (steps, batch, features): its last output or cell state (batch, units), or all outputs."""
    return _outputs(graph, "LSTM", [x, *_lstm_constants(graph, name, weights)], name, returned, hidden_size=units)


def _lstm_constants(graph: _Graph, name: str, weights: Sequence[np.ndarray]) -> list[str]:
    kernel, recurrent, bias = weights  # Keras: (features, 4 units), (units, 4 units), (4 units,)
    return [
        graph.constant(f"{name}.kernel", _lstm_gates(kernel.T)[None]),  # (1, 4 units, features)
        graph.constant(f"{name}.recurrent", _lstm_gates(recurrent.T)[None]),  # (1, 4 units, units)
        graph.constant(f"{name}.bias", np.concatenate([_lstm_gates(bias), np.zeros_like(bias)])[None]),  # (1, 8 units)
    ]


def _lstm_in_float64(graph: _Graph, x: str, name: str, units: int, weights: Sequence[np.ndarray], returned: str) -> str:
    """An LSTM on x float64 (steps, batch, features), with the same outputs, step by step.

    ONNX Runtime's own LSTM computes in float32, whose rounding adds up: after some thousand steps, a count is wrong.
    The states before the first step are inputs, NAME.initial_output and NAME.initial_cell, float64 (batch, units), and
    zeros if left out. Those after the last step are outputs, NAME.final_output and NAME.final_cell.
    """
    gates = _gates_in_float64(graph, name, _lstm_constants(graph, name, weights))
    every_output = returned != LAST_CELL  # which would take memory for each step
    body = _lstm_step(f"{name}.step", units, weights[0].shape[0], gates, every_output)
    rows = graph.node("Shape", [x], [f"{name}.batch"], start=1, end=2)
    width = graph.constant(f"{name}.units", np.array([units], np.int64))
    size = graph.node("Concat", [rows, width], [f"{name}.size"], axis=0)
    first = []
    for state in ("output", "cell"):
        initial = graph.input(f"{name}.initial_{state}", DOUBLE, [f"{name}.states", units])
        graph.constant(initial, np.zeros((1, units)))
        first.append(graph.node("Expand", [initial, size], [f"{name}.first_{state}"]))
        graph.output(f"{name}.final_{state}", DOUBLE, ["batch", units])
    last = [f"{name}.final_output", f"{name}.final_cell", *([f"{name}.{ALL_OUTPUTS}"] if every_output else [])]
    return graph.node("Scan", [*first, x], last, body=body, num_scan_inputs=1)  # the last of these


def _gates_in_float64(graph: _Graph, name: str, constants: Sequence[str]) -> dict[str, str]:
    """The constants of an LSTM as one step multiplies them: (features, 4 units), (units, 4 units), (1, 4 units)."""
    first = graph.constant(f"{name}.direction", np.array([0], np.int64))
    gates = {}
    for each, constant in zip(("kernel", "recurrent"), constants[:2], strict=True):
        squeezed = graph.node("Squeeze", [constant, first], [f"{name}.{each}.rows"])
        turned = graph.node("Transpose", [squeezed], [f"{name}.{each}.columns"], perm=[1, 0])
        gates[each] = graph.node("Cast", [turned], [f"{name}.{each}64"], to=DOUBLE)
    halves = [f"{name}.bias.input", f"{name}.bias.recurrent"]
    graph.node("Split", [constants[2]], halves, axis=1)
    gates["bias"] = graph.node("Cast", [graph.node("Add", halves, [f"{name}.bias.sum"])], [f"{name}.bias64"], to=DOUBLE)
    return gates


def _lstm_step(name: str, units: int, features: int, gates: Mapping[str, str], every_output: bool) -> onnx.GraphProto:
    """From the output, the cell state and the input to the next output and cell state.

    `every_output`: and the output once more, which the steps then collect.
    """
    step = _Graph()
    h, c = (step.input(f"{name}.{state}", DOUBLE, ["batch", units]) for state in ("h", "c"))
    x = step.input(f"{name}.x", DOUBLE, ["batch", features])

    def node(kind: str, inputs: Sequence[str], output: str) -> str:
        return step.node(kind, inputs, [f"{name}.{output}"])

    z = node("Add", [node("MatMul", [x, gates["kernel"]], "wx"), node("MatMul", [h, gates["recurrent"]], "rh")], "sum")
    z = node("Add", [z, gates["bias"]], "z")
    step.node("Split", [z], [f"{name}.z{gate}" for gate in "iofg"], axis=1)
    i, o, f = (node("Sigmoid", [f"{name}.z{gate}"], gate) for gate in "iof")
    g = node("Tanh", [f"{name}.zg"], "g")
    c = node("Add", [node("Mul", [f, c], "kept"), node("Mul", [i, g], "added")], "next_c")
    h = node("Mul", [o, node("Tanh", [c], "squashed")], "next_h")
    for output in (h, c, *([node("Identity", [h], "each_h")] if every_output else [])):
        step.output(output, DOUBLE, ["batch", units])
    return helper.make_graph(step.nodes, name, step.inputs, step.outputs)


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
