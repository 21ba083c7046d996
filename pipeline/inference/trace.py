"""What happens inside an exported network, step by step.

A second graph, derived from the exported one, reads one step. It takes the states of the recurrent layers as further
inputs, and gives them, their gates and the probabilities as outputs. ONNX Runtime computes all of it.
Source: the ONNX operators LSTM and GRU, opset 17.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.inference.onnx_session import Session

GATES = {"LSTM": ("input", "output", "forget", "candidate"), "GRU": ("update", "reset", "candidate")}  # ONNX' orders


@dataclass(frozen=True)
class LayerTrace:
    """One recurrent layer at each step."""

    name: str
    output: np.ndarray  # float32 (steps, units), -1 to 1
    cell: np.ndarray | None  # float32 (steps, units), any number; None of a GRU
    gates: dict[str, np.ndarray]  # float32 (steps, units), 0 to 1; the candidate -1 to 1


@dataclass(frozen=True)
class Trace:
    """A network that reads one sequence."""

    layers: tuple[LayerTrace, ...]  # first to last
    probabilities: np.ndarray  # float32 (steps, classes): what it would predict if the sequence ended after this step
    count: np.ndarray | None  # float32 (steps,): the number that it has counted, if it reads one


class Tracer:
    """Traces sequences with one exported model."""

    def __init__(self, path: Path, command: str):
        """Open `path`. Raises PipelineError if it is missing or damaged; `command` makes it again."""
        Session(path, command)  # refuses a damaged file in a sentence
        self._layers, graph = derived(onnx.load(path))
        self._session = Session(graph.SerializeToString(), command, threads=1)  # a step is too little work for two

    def trace(self, sequence: np.ndarray) -> Trace:
        """Read one sequence, float32 (steps, features)."""
        states = {name: np.zeros((1, 1, size), np.float32) for layer in self._layers for name, size in layer.states()}
        rows: list[dict[str, np.ndarray]] = []
        for step in sequence[:, None, None]:  # (1, 1, features)
            rows.append(self._session.run(step, states))
            states = {name: rows[-1][f"{name}.after"] for name in states}
        steps = {name: np.stack([row[name].reshape(-1) for row in rows]) for name in rows[0]}
        layers = tuple(layer.trace(steps) for layer in self._layers)
        return Trace(layers, steps["probabilities"], steps["count"][:, 0] if "count" in steps else None)


@dataclass(frozen=True)
class Layer:
    """A recurrent node of the graph."""

    name: str
    kind: str  # LSTM or GRU
    units: int

    def states(self) -> list[tuple[str, int]]:
        """The names and sizes of its states."""
        names = ("output", "cell") if self.kind == "LSTM" else ("output",)
        return [(f"{self.name}.state.{name}", self.units) for name in names]

    def gates(self) -> list[str]:
        """The names of its gates in the graph."""
        return [f"{self.name}.gate.{gate}" for gate in GATES[self.kind]]

    def trace(self, steps: dict[str, np.ndarray]) -> LayerTrace:
        """The part of this layer in all outputs, each (steps, units)."""
        after = [steps[f"{name}.after"] for name, _ in self.states()]
        gates = dict(zip(GATES[self.kind], (steps[name] for name in self.gates()), strict=True))
        return LayerTrace(self.name, after[0], after[1] if len(after) > 1 else None, gates)


def derived(model: onnx.ModelProto) -> tuple[tuple[Layer, ...], onnx.ModelProto]:
    """The recurrent layers of an exported graph, and the graph of one step with their states and gates."""
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    layers: list[Layer] = []
    added: list[onnx.TensorProto] = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type not in GATES:
            continue
        kernel, recurrent, bias = (constants[name][0] for name in node.input[1:4])
        layer = Layer(node.name.rpartition(".")[0], node.op_type, recurrent.shape[1])
        nodes += _with_states(node, layer)
        nodes += _gate_nodes(node.input[0], layer)
        added += _gate_constants(layer, kernel, recurrent, bias)
        layers.append(layer)
    states = [state for layer in layers for state in layer.states()]
    outputs = [*graph.output]
    outputs += [_value(f"{name}.after", [1, 1, size]) for name, size in states]
    outputs += [_value(name, [1, layer.units]) for layer in layers for name in layer.gates()]
    features = graph.input[0].type.tensor_type.shape.dim[2].dim_value
    inputs = [_value("sequence", [1, 1, features]), *(_value(name, [1, 1, size]) for name, size in states)]
    step = helper.make_graph(nodes, "one step", inputs, outputs, [*graph.initializer, *added])
    made = helper.make_model(step, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(made)
    return tuple(layers), made


def _value(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _with_states(node: onnx.NodeProto, layer: Layer) -> list[onnx.NodeProto]:
    """Let a recurrent node begin with given states; the nodes that copy its states to the outputs of the graph."""
    names = [name for name, _ in layer.states()]
    given = [*node.output, *[""] * (1 + len(names) - len(node.output))]
    inside = [given[0], *(old or f"{name}.inside" for old, name in zip(given[1:], names, strict=True))]
    del node.input[4:]
    node.input.extend(["", *names])  # "" stands for the lengths of the sequences
    del node.output[:]
    node.output.extend(inside)
    return [helper.make_node("Identity", [old], [f"{name}.after"]) for old, name in zip(inside[1:], names, strict=True)]


def _gate_nodes(x: str, layer: Layer) -> list[onnx.NodeProto]:
    """The gates of one step, from the layer's input (1, 1, features) and its output of the step before."""
    name, gates = layer.name, layer.gates()
    rows = f"{name}.gate.rows"
    nodes = [helper.make_node("Squeeze", [x, f"{rows}.axis"], [f"{rows}.x"])]
    nodes += [helper.make_node("Squeeze", [f"{name}.state.output", f"{rows}.axis"], [f"{rows}.h"])]
    for of, operand in (("kernel", "x"), ("recurrent", "h")):
        inputs = [f"{rows}.{operand}", f"{rows}.{of}", f"{rows}.{of}.bias"]
        nodes.append(helper.make_node("Gemm", inputs, [f"{rows}.{of}.sum"], transB=1))
        parts = [f"{gate}.{of}" for gate in gates]
        nodes.append(helper.make_node("Split", [f"{rows}.{of}.sum"], parts, axis=1))
    for gate in gates:
        recurrent = f"{gate}.recurrent"
        if layer.kind == "GRU" and gate.endswith("candidate"):  # the reset gate acts on the recurrent sum
            nodes.append(helper.make_node("Mul", [recurrent, gates[1]], [f"{gate}.reset"]))
            recurrent = f"{gate}.reset"
        nodes.append(helper.make_node("Add", [f"{gate}.kernel", recurrent], [f"{gate}.sum"]))
        nodes.append(helper.make_node("Tanh" if gate.endswith("candidate") else "Sigmoid", [f"{gate}.sum"], [gate]))
    return nodes


def _gate_constants(
    layer: Layer, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray
) -> list[onnx.TensorProto]:
    rows = f"{layer.name}.gate.rows"
    of_kernel, of_recurrent = np.split(bias, 2)
    values = {"kernel": kernel, "recurrent": recurrent, "kernel.bias": of_kernel, "recurrent.bias": of_recurrent}
    values["axis"] = np.array([0], np.int64)
    return [numpy_helper.from_array(np.ascontiguousarray(value), f"{rows}.{name}") for name, value in values.items()]
