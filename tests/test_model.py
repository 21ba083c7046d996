"""Networks against formulas, a short NumPy LSTM, and Keras itself."""

from itertools import pairwise

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from pipeline import config, model, onnx_graph
from tests import tiny


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


def reference(network: config.Network, weights: dict[str, list[np.ndarray]], x: np.ndarray) -> np.ndarray:
    if network.dense:
        x = x @ weights["dense"][0] + weights["dense"][1]
    for depth in range(1, len(network.lstm) + 1):
        x = lstm(x, *weights[f"lstm_{depth}"])
    logits = x[:, -1] @ weights["logits"][0] + weights["logits"][1]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


NETWORKS = [
    config.Network(dense=0, lstm=[24], dropout=0.0),
    config.Network(dense=5, lstm=[7], dropout=0.0),
    config.Network(dense=3, lstm=[6, 4, 9], dropout=0.5),
]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("unroll", [False, True])
def test_keras_onnx_and_numpy_agree(network: config.Network, unroll: bool) -> None:
    keras.utils.set_random_seed(1)
    shape, classes = (6, 4), 5
    made = model.with_probabilities(
        model.build(network, shape, classes, config.Initial(weights="normal", deviation=1.0, bias="normal"), unroll)
    )
    x = np.random.default_rng(1).normal(size=(9, *shape)).astype(np.float32)
    weights = {layer.name: layer.get_weights() for layer in made.layers}
    expected = reference(network, weights, x)
    np.testing.assert_allclose(made(x, training=False), expected, atol=2e-6)
    graph = onnx_graph.build(network, weights, shape, classes)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for batch in (1, 9):
        np.testing.assert_allclose(session.run(None, {"sequence": x[:batch]})[0], expected[:batch], atol=2e-6)
    assert [node.op_type for node in graph.graph.node].count("LSTM") == len(network.lstm)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "published"),
    [
        ("bits-lstm24", (20, 1), 21, 3021),
        ("mnist-lstm256x2", (28, 28), 10, 819_722),
        ("mnist-lstm128", (28, 28), 10, 136_586),
    ],
)
def test_parameters_are_as_many_as_the_formula_says(
    name: str, shape: tuple[int, int], classes: int, published: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.ROOT)
    network = config.load().model(name).network
    width = [network.dense or shape[1], *network.lstm]
    expected = (shape[1] + 1) * network.dense
    expected += sum(4 * units * (before + units + 1) for before, units in pairwise(width))
    expected += (width[-1] + 1) * classes
    assert model.build(network, shape, classes).count_params() == expected == published


def test_every_forget_gate_begins_open() -> None:
    made = model.build(config.Network(dense=0, lstm=[3, 2], dropout=0.0), (4, 1), 2)
    for name, units in (("lstm_1", 3), ("lstm_2", 2)):
        bias = made.get_layer(name).get_weights()[2]
        assert bias.tolist() == [0] * units + [1] * units + [0] * 2 * units


def test_the_dense_layers_begin_as_the_recipe_says() -> None:
    keras.utils.set_random_seed(1)
    network = config.Network(dense=200, lstm=[300], dropout=0.0)
    normal = model.build(network, (2, 50), 100, config.Initial(weights="normal", deviation=1.0, bias="normal"))
    for name in ("dense", "logits"):
        kernel, bias = normal.get_layer(name).get_weights()
        assert kernel.std() == pytest.approx(1, abs=0.02)
        assert bias.std() == pytest.approx(1, abs=0.2)
    cut = model.build(network, (2, 50), 100, config.Initial(weights="truncated-normal", deviation=0.1, bias=0.1))
    kernel, bias = cut.get_layer("logits").get_weights()
    assert np.abs(kernel).max() <= 0.2, "cut at two deviations"
    assert np.unique(bias).tolist() == [np.float32(0.1)]


def recipe(**changes: object) -> config.Recipe:
    plain = {
        "steps": 100, "batch": 2, "order": "fixed", "report": 10, "monitor": "none", "optimizer": "adam", "rate": 0.01,
        "schedule": "constant", "loss": "mean", "clip": 0.0,
        "initial": {"weights": "glorot-uniform", "deviation": None, "bias": 0.0},
    }  # fmt: skip
    return config.Recipe.model_validate(plain | changes)


def test_the_loss_is_cross_entropy_over_the_batch() -> None:
    logits = np.array([[0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]], np.float32)
    true = np.array([1, 2])
    each = np.array([np.log(4), 100.0])

    def value(**changes: object) -> float:
        return float(model.loss(recipe(**changes), 4)(tf.constant(true), tf.constant(logits)))

    assert value(loss="sum") == pytest.approx(each.sum())
    assert value(loss="mean") == pytest.approx(each.mean())
    assert value(loss="mean-over-classes") == pytest.approx(each.mean() / 4)
    assert value(loss="sum", clip=1e-10) == pytest.approx(np.log(4) - np.log(1e-10))


def test_one_cycle_goes_up_and_comes_down() -> None:
    schedule = model.optimizer(recipe(schedule="one-cycle", steps=100, rate=0.5))._learning_rate
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == rates[20] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-6)
    assert all(a < b for a, b in pairwise(rates[:21]))
    assert all(a > b for a, b in pairwise(rates[20:]))
