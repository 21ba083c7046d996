"""What happens inside an exported network, step by step: its forward pass in NumPy.

The weights are those of the exported file, from which ONNX Runtime predicts. The tests compare the two.
Source: the ONNX operators LSTM, GRU and RNN, opset 17.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

Arrays = dict[str, np.ndarray]  # by name
Recur = Callable[[np.ndarray], np.ndarray]  # an output (units,), weighted, with its bias: (gates, units)
Cell = Callable[[np.ndarray, Recur, Arrays], tuple[Arrays, Arrays]]


@dataclass(frozen=True)
class LayerTrace:
    """One recurrent layer at each step; the numbers are float64 where the network reads a count, else float32."""

    name: str
    output: np.ndarray  # (steps, units), -1 to 1
    cell: np.ndarray | None  # (steps, units), any number; None but of an LSTM
    gates: Arrays  # (steps, units), 0 to 1; the candidate -1 to 1


@dataclass(frozen=True)
class Trace:
    """A network that reads one sequence."""

    layers: tuple[LayerTrace, ...]  # first to last
    probabilities: np.ndarray  # (steps, classes): what it would predict if the sequence ended after this step
    count: np.ndarray | None  # (steps,): the number that it has counted, if it reads one


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), 0 to 1."""
    with np.errstate(over="ignore"):  # far below zero, it is 0
        return np.asarray(1 / (1 + np.exp(-x)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, of logits (steps, classes)."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def lstm(wx: np.ndarray, recur: Recur, before: Arrays) -> tuple[Arrays, Arrays]:
    """One step of Hochreiter and Schmidhuber's cell with a forget gate: its states and its gates, (units,).

    wx: the weighted input with its bias, (4, units), a row for each gate in ONNX' order. before: the states of the step
    before.
    """
    z = wx + recur(before["output"])
    i, o, f = sigmoid(z[:3])
    g = np.tanh(z[3])
    c = f * before["cell"] + i * g
    h = o * np.tanh(c)
    return {"output": h, "cell": c}, {"input": i, "output": o, "forget": f, "candidate": g}


def gru(wx: np.ndarray, recur: Recur, before: Arrays) -> tuple[Arrays, Arrays]:
    """One step of Cho's cell, its reset gate after the recurrent product: its state and its gates, (units,).

    wx, before: as of an LSTM, with three rows.
    """
    rh = recur(before["output"])
    z, r = sigmoid(wx[:2] + rh[:2])
    g = np.tanh(wx[2] + r * rh[2])
    h = z * before["output"] + (1 - z) * g
    return {"output": h}, {"update": z, "reset": r, "candidate": g}


def rnn(wx: np.ndarray, recur: Recur, before: Arrays) -> tuple[Arrays, Arrays]:
    """One step of Elman's cell, which has no gates: its state, (units,).

    wx, before: as of an LSTM, with one row.
    """
    return {"output": np.tanh(wx[0] + recur(before["output"])[0])}, {}


# By the name that a cell has in params.yaml, with which its layers' names begin.
CELLS: dict[str, Cell] = {"lstm": lstm, "gru": gru, "rnn": rnn}


def read_weights(path: Path) -> Arrays:
    """The constants of an ONNX file by name, such as lstm_1.kernel."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


class Tracer:
    """Traces sequences with one exported model."""

    def __init__(self, weights: Arrays):
        """Take what `read_weights` read of a file that a manifest or a Session has found undamaged."""
        # As the graph: a count is read in float64.
        kind = np.float64 if "count.kernel" in weights else np.float32
        self._weights = {name: np.asarray(value, kind) for name, value in weights.items()}
        self._layers = [name.removesuffix(".recurrent") for name in weights if name.endswith(".recurrent")]

    def trace(self, sequence: Iterable[np.ndarray], kept: Collection[int] | None = None) -> Trace:
        """Read one sequence, float32 (steps, features). The trace has the steps `kept`, from 0; by default all."""
        states = {name: self._zeros(name) for name in self._layers}
        steps: dict[str, list[tuple[Arrays, Arrays]]] = {name: [] for name in self._layers}
        for number, features in enumerate(sequence):
            x = self._before(features)
            for name in self._layers:
                states[name], gates = self._step(name, x, states[name])
                x = states[name]["output"]  # which the next layer reads
                if kept is None or number in kept:
                    steps[name].append((states[name], gates))
        layers = tuple(_layer(name, steps[name]) for name in self._layers)
        if "count.kernel" not in self._weights:
            return Trace(layers, softmax(self._dense("logits", layers[-1].output)), None)
        count = self._dense("count", np.asarray(layers[-1].cell))  # (steps, 1)
        sharpness, classes = (self._weights[f"logits.{each}"] for each in ("sharpness", "classes"))
        logits = sharpness * (classes - count) ** 2  # the sharpness is negative
        return Trace(layers, softmax(logits), count[:, 0])

    def _zeros(self, name: str) -> Arrays:
        """The states of a layer before the first step."""
        zeros = np.zeros_like(self._weights[f"{name}.recurrent"][0, 0])
        return {"output": zeros, "cell": zeros}

    def _before(self, x: np.ndarray) -> np.ndarray:
        """What the first recurrent layer reads of features (features,)."""
        if "embedding.table" in self._weights:
            x = self._weights["embedding.table"][int(x[0])]
        return self._dense("dense", x) if "dense.kernel" in self._weights else x

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        """A linear layer on x (..., inputs): (..., outputs)."""
        return np.asarray(x @ self._weights[f"{name}.kernel"] + self._weights[f"{name}.bias"])

    def _step(self, name: str, x: np.ndarray, before: Arrays) -> tuple[Arrays, Arrays]:
        """The states and the gates of a layer, (units,) each, after an input (inputs,) and the states before it."""
        cell = CELLS[name.partition("_")[0]]  # lstm_1
        kernel, recurrent, bias = (self._weights[f"{name}.{each}"][0] for each in ("kernel", "recurrent", "bias"))
        of_input, of_output = np.split(bias, 2)
        units = recurrent.shape[1]
        wx = (kernel @ x + of_input).reshape(-1, units)
        return cell(wx, lambda output: (recurrent @ output + of_output).reshape(-1, units), before)


def _layer(name: str, steps: Sequence[tuple[Arrays, Arrays]]) -> LayerTrace:
    states, gates = ({each: np.stack([step[i][each] for step in steps]) for each in steps[0][i]} for i in (0, 1))
    return LayerTrace(name, states["output"], states.get("cell"), gates)
