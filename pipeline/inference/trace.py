"""What happens inside an exported network, step by step: its forward pass in NumPy.

The weights are those of the exported file, from which ONNX Runtime predicts. The tests compare the two.
Source: the ONNX operators LSTM, GRU and RNN, opset 17.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from scipy.special import expit as sigmoid
from scipy.special import softmax

Arrays = dict[str, np.ndarray]  # by name
Cell = Callable[[np.ndarray, np.ndarray, Arrays], tuple[Arrays, Arrays]]


@dataclass(frozen=True)
class LayerTrace:
    """One recurrent layer at each step."""

    name: str
    output: np.ndarray  # float32 (steps, units), -1 to 1
    cell: np.ndarray | None  # float32 (steps, units), any number; None but of an LSTM
    gates: Arrays  # float32 (steps, units), 0 to 1; the candidate -1 to 1


@dataclass(frozen=True)
class Trace:
    """A network that reads one sequence."""

    layers: tuple[LayerTrace, ...]  # first to last
    probabilities: np.ndarray  # float32 (steps, classes): what it would predict if the sequence ended after this step
    count: np.ndarray | None  # float32 (steps,): the number that it has counted, if it reads one


def lstm(wx: np.ndarray, rh: np.ndarray, before: Arrays) -> tuple[Arrays, Arrays]:
    """One step of Hochreiter and Schmidhuber's cell with a forget gate: its states and its gates, float32 (units,).

    wx, rh: weighted input and weighted output of the step before, with biases, float32 (4, units), a row for each gate
    in ONNX' order. before: the states of the step before.
    """
    i, o, f = sigmoid(wx[:3] + rh[:3])
    g = np.tanh(wx[3] + rh[3])
    c = f * before["cell"] + i * g
    h = o * np.tanh(c)
    return {"output": h, "cell": c}, {"input": i, "output": o, "forget": f, "candidate": g}


def gru(wx: np.ndarray, rh: np.ndarray, before: Arrays) -> tuple[Arrays, Arrays]:
    """One step of Cho's cell, its reset gate after the recurrent product: its state and its gates, float32 (units,).

    wx, rh, before: as of an LSTM, with three rows.
    """
    z, r = sigmoid(wx[:2] + rh[:2])
    g = np.tanh(wx[2] + r * rh[2])
    h = z * before["output"] + (1 - z) * g
    return {"output": h}, {"update": z, "reset": r, "candidate": g}


def rnn(wx: np.ndarray, rh: np.ndarray, before: Arrays) -> tuple[Arrays, Arrays]:
    """One step of Elman's cell, which has no gates: its state, float32 (units,).

    wx, rh, before: as of an LSTM, with one row.
    """
    return {"output": np.tanh(wx[0] + rh[0])}, {}


# By the name that a cell has in params.yaml, with which its layers' names begin.
CELLS: dict[str, Cell] = {"lstm": lstm, "gru": gru, "rnn": rnn}


class Tracer:
    """Traces sequences with one exported model."""

    def __init__(self, path: Path):
        """Read the weights of an ONNX file, which a manifest or a Session has found undamaged."""
        self._weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}

    def trace(self, sequence: np.ndarray) -> Trace:
        """Read one sequence, float32 (steps, features)."""
        x, weights = sequence, self._weights
        if "embedding.table" in weights:
            x = weights["embedding.table"][x[:, 0].astype(np.int64)]  # (steps, embedding)
        if "dense.kernel" in weights:
            x = self._dense("dense", x)  # (steps, dense)
        layers = []
        for name in (key.removesuffix(".recurrent") for key in weights if key.endswith(".recurrent")):
            states, gates = self._recurrent(name, x)
            layers.append(LayerTrace(name, states["output"], states.get("cell"), gates))
            x = states["output"]  # (steps, units)
        if "count.kernel" not in weights:
            return Trace(tuple(layers), softmax(self._dense("logits", x), axis=1), None)
        count = self._dense("count", states["cell"])  # (steps, 1)
        logits = weights["logits.sharpness"] * (weights["logits.classes"] - count) ** 2  # the sharpness is negative
        return Trace(tuple(layers), softmax(logits, axis=1), count[:, 0])

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        """A linear layer on x (steps, inputs): (steps, outputs)."""
        return np.asarray(x @ self._weights[f"{name}.kernel"] + self._weights[f"{name}.bias"])

    def _recurrent(self, name: str, x: np.ndarray) -> tuple[Arrays, Arrays]:
        """The states and the gates of a layer on x (steps, inputs): (steps, units) each."""
        cell = CELLS[name.partition("_")[0]]  # lstm_1
        kernel, recurrent, bias = (self._weights[f"{name}.{each}"][0] for each in ("kernel", "recurrent", "bias"))
        of_input, of_output = np.split(bias, 2)
        units = recurrent.shape[1]
        states = {"output": np.zeros(units, np.float32), "cell": np.zeros(units, np.float32)}
        steps = []
        for wx in (x @ kernel.T + of_input).reshape(len(x), -1, units):  # (gates, units)
            rh = (recurrent @ states["output"] + of_output).reshape(-1, units)
            states, gates = cell(wx, rh, states)
            steps.append((states, gates))
        all_states, all_gates = zip(*steps, strict=True)
        return _stacked(all_states), _stacked(all_gates)


def _stacked(steps: Sequence[Arrays]) -> Arrays:
    """The values of all steps by name: (steps, units) each."""
    return {name: np.stack([step[name] for step in steps]) for name in steps[0]}
