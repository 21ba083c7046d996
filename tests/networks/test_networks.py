"""Networks against formulas, short NumPy cells, and Keras itself."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest

from pipeline import config
from pipeline.config import Init, Network
from pipeline.networks import keras_network, onnx_network
from tests.harness import project

Cell = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def network(cell: str, units: list[int], dense: int | None = None, dropout: float = 0.0) -> Network:
    return Network.model_validate({"cell": cell, "units": units, "dense": dense, "dropout": dropout})


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def lstm(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Hochreiter and Schmidhuber's cell with a forget gate: x (batch, steps, features) to (batch, steps, units)."""
    h = c = np.zeros((len(x), len(recurrent)))
    outputs = []
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def gru(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Cho's cell, its reset gate after the recurrent product: x (batch, steps, features) to (batch, steps, units)."""
    h = np.zeros((len(x), len(recurrent)))
    outputs = []
    for step in range(x.shape[1]):
        xz, xr, xg = np.split(x[:, step] @ kernel + bias[0], 3, axis=1)
        hz, hr, hg = np.split(h @ recurrent + bias[1], 3, axis=1)
        z = sigmoid(xz + hz)
        h = z * h + (1 - z) * np.tanh(xg + sigmoid(xr + hr) * hg)
        outputs.append(h)
    return np.stack(outputs, axis=1)


CELLS: dict[str, Cell] = {"lstm": lstm, "gru": gru}


def probabilities(network: Network, weights: dict[str, list[np.ndarray]], x: np.ndarray) -> np.ndarray:
    """What the network predicts, in NumPy: (batch, classes)."""
    if network.dense:
        x = x @ weights["dense"][0] + weights["dense"][1]
    for depth in range(1, len(network.units) + 1):
        x = CELLS[network.cell](x, *weights[f"{network.cell}_{depth}"])
    logits = x[:, -1] @ weights["logits"][0] + weights["logits"][1]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("unroll", [False, True], ids=["loop", "unrolled"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("units", "dense", "dropout"),
    [([24], None, 0.0), ([7], 5, 0.0), ([6, 4], None, 0.0), ([6, 4], 3, 0.0), ([6, 4, 9], 3, 0.5)],
)
def test_keras_onnx_and_numpy_agree(
    cell: str, units: list[int], dense: int | None, dropout: float, unroll: bool
) -> None:
    net, shape, classes = network(cell, units, dense, dropout), (6, 4), 5
    model = keras_network.with_probabilities(keras_network.build(net, shape, classes, unroll=unroll))
    rng = np.random.default_rng(1)
    # Keras starts with biases of zero and one, among which a gate in the wrong place could hide.
    model.set_weights([rng.normal(scale=0.7, size=value.shape) for value in model.get_weights()])
    x = rng.normal(size=(9, *shape)).astype(np.float32)
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    expected = probabilities(net, weights, x)
    np.testing.assert_allclose(model(x, training=False), expected, rtol=0, atol=2e-6)
    graph = onnx_network.build(net, weights, shape, classes)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for batch in (1, 9):
        result = session.run(None, {"sequence": x[:batch]})[0]
        np.testing.assert_allclose(result, expected[:batch], rtol=0, atol=2e-6)
    assert [node.op_type for node in graph.graph.node].count(cell.upper()) == len(units)


def test_the_same_weights_give_the_same_onnx_bytes() -> None:
    for cell in ("lstm", "gru"):
        net = network(cell, [3, 2], 4)
        model = keras_network.build(net, (6, 4), 5)
        weights = {layer.name: layer.get_weights() for layer in model.layers}
        first, again = (onnx_network.build(net, weights, (6, 4), 5).SerializeToString() for _ in range(2))
        assert first == again


def lstm_parameters(inputs: int, units: int) -> int:
    return 4 * units * (inputs + units + 1)


def gru_parameters(inputs: int, units: int) -> int:
    return 3 * (units * (inputs + units) + 2 * units)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "published"),
    [
        ("bits-lstm24", (20, 1), 21, 3021),
        ("mnist-lstm256x2", (28, 28), 10, 819_722),
        ("mnist-lstm128", (28, 28), 10, 136_586),
    ],
)
def test_published_networks_have_the_published_number_of_parameters(
    name: str, shape: tuple[int, int], classes: int, published: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.ROOT)
    net = config.load().model(name).network
    assert keras_network.build(net, shape, classes).count_params() == published


@pytest.mark.parametrize(("cell", "formula"), [("lstm", lstm_parameters), ("gru", gru_parameters)])
@pytest.mark.parametrize(("units", "dense"), [([24], None), ([7], 5), ([6, 4, 9], 3)])
def test_the_number_of_parameters_is_that_of_the_formula(
    cell: str, formula: Callable[[int, int], int], units: list[int], dense: int | None
) -> None:
    shape, classes = (6, 4), 5
    width = [dense or shape[1], *units]
    expected = (shape[1] + 1) * (dense or 0)
    expected += sum(formula(before, after) for before, after in pairwise(width))
    expected += (width[-1] + 1) * classes
    assert keras_network.build(network(cell, units, dense), shape, classes).count_params() == expected


def test_every_forget_gate_starts_open() -> None:
    model = keras_network.build(network("lstm", [3, 2]), (4, 1), 2)
    for name, units in (("lstm_1", 3), ("lstm_2", 2)):
        bias = model.get_layer(name).get_weights()[2]
        assert bias.tolist() == [0] * units + [1] * units + [0] * 2 * units


def test_the_dense_layers_start_as_the_recipe_says() -> None:
    keras.utils.set_random_seed(1)
    net = network("lstm", [300], 200)

    def build(**init: Any) -> keras.Model:
        return keras_network.build(net, (2, 50), 100, Init(**init))

    normal = build(kernel="normal", stddev=1.0, bias="normal")
    for name in ("dense", "logits"):
        kernel, bias = normal.get_layer(name).get_weights()
        assert kernel.std() == pytest.approx(1, abs=0.02)
        assert bias.std() == pytest.approx(1, abs=0.2)
    truncated = build(kernel="truncated-normal", stddev=0.1, bias=0.1)
    kernel, bias = truncated.get_layer("logits").get_weights()
    assert np.abs(kernel).max() <= 0.2, "cut at two standard deviations"
    assert np.unique(bias).tolist() == [np.float32(0.1)]
    glorot = build(kernel="glorot-uniform", stddev=None, bias=0.0)
    kernel, bias = glorot.get_layer("logits").get_weights()
    assert np.abs(kernel).max() == pytest.approx(np.sqrt(6 / (300 + 100)), rel=0.01), "Glorot's bound"
    assert not bias.any()


def test_dropout_acts_only_while_training() -> None:
    keras.utils.set_random_seed(1)
    model = keras_network.build(network("gru", [8], dropout=0.5), (4, 1), 2)
    x = np.ones((3, 4, 1), np.float32)
    first, again = (np.asarray(model(x, training=False)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(np.asarray(model(x, training=True)), first)
