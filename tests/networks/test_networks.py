"""Networks against formulas, the forward pass in NumPy, and Keras itself."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from pipeline import config
from pipeline.inference.trace import Tracer, read_weights
from pipeline.networks import keras_network, onnx_network
from pipeline.networks.lstm import LSTM, SMALL
from pipeline.recipe import Network
from tests.harness import project
from tests.harness.recipes import CELLS, recipe


def network(cell: str, units: list[int], dense: int | None = None, embedding: int | None = None) -> Network:
    return Network.model_validate({"cell": cell, "units": units, "dense": dense, "embedding": embedding})


@pytest.mark.parametrize("unroll", [False, True], ids=["loop", "unrolled"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("units", "dense", "dropout"),
    [([24], None, 0.0), ([7], 5, 0.0), ([6, 4], None, 0.0), ([6, 4], 3, 0.0), ([6, 4, 9], 5, 0.5)],
)
def test_keras_onnx_and_numpy_agree(
    cell: str, units: list[int], dense: int | None, dropout: float, unroll: bool, tmp_path: Path
) -> None:
    net, teach, shape, classes = network(cell, units, dense), recipe(dropout=dropout), (6, 4), 5
    model = keras_network.with_probabilities(keras_network.build(net, teach, shape, classes, unroll=unroll))
    rng = np.random.default_rng(1)
    # Keras starts with biases of zero and one, among which a gate in the wrong place could hide.
    scale = 0.2 if cell == "rnn" else 0.7  # with larger weights, a layer without gates is chaotic: rounding grows
    model.set_weights([rng.normal(scale=scale, size=value.shape) for value in model.get_weights()])
    x = rng.normal(size=(9, *shape)).astype(np.float32)
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    graph = onnx_network.build(net, teach, weights, shape, classes)
    onnx.save(graph, tmp_path / "model.onnx")
    tracer = Tracer(read_weights(tmp_path / "model.onnx"))
    expected = np.stack([tracer.trace(sequence).probabilities[-1] for sequence in x])
    np.testing.assert_allclose(model(x, training=False), expected, rtol=0, atol=2e-6)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for batch in (1, 9):
        result = session.run(None, {"sequence": x[:batch]})[0]
        np.testing.assert_allclose(result, expected[:batch], rtol=0, atol=2e-6)
    assert sum(node.op_type in ("LSTM", "GRU", "RNN", "Scan") for node in graph.graph.node) == len(units)


def test_the_same_weights_give_the_same_onnx_bytes() -> None:
    for cell in CELLS:
        net = network(cell, [3, 2], 4)
        model = keras_network.build(net, recipe(), (6, 4), 5)
        weights = {layer.name: layer.get_weights() for layer in model.layers}
        first, again = (onnx_network.build(net, recipe(), weights, (6, 4), 5).SerializeToString() for _ in range(2))
        assert first == again


def lstm_parameters(inputs: int, units: int) -> int:
    return 4 * units * (inputs + units + 1)


def gru_parameters(inputs: int, units: int) -> int:
    return 3 * (units * (inputs + units) + 2 * units)


def rnn_parameters(inputs: int, units: int) -> int:
    return units * (inputs + units + 1)


@pytest.mark.results
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
    assert keras_network.build(net, recipe(), shape, classes).count_params() == published


@pytest.mark.parametrize(
    ("cell", "formula"), zip(CELLS, (lstm_parameters, gru_parameters, rnn_parameters), strict=True)
)
@pytest.mark.parametrize(("units", "dense"), [([24], None), ([7], 5), ([6, 4, 9], 3)])
def test_the_number_of_parameters_is_that_of_the_formula(
    cell: str, formula: Callable[[int, int], int], units: list[int], dense: int | None
) -> None:
    shape, classes = (6, 4), 5
    width = [dense or shape[1], *units]
    expected = (shape[1] + 1) * (dense or 0)
    expected += sum(formula(before, after) for before, after in pairwise(width))
    expected += (width[-1] + 1) * classes
    assert keras_network.build(network(cell, units, dense), recipe(), shape, classes).count_params() == expected


def test_every_forget_gate_starts_open() -> None:
    model = keras_network.build(network("lstm", [3, 2]), recipe(), (4, 1), 2)
    for name, units in (("lstm_1", 3), ("lstm_2", 2)):
        bias = model.get_layer(name).get_weights()[2]
        assert bias.tolist() == [0] * units + [1] * units + [0] * 2 * units


def test_the_dense_layers_start_as_the_recipe_says() -> None:
    keras.utils.set_random_seed(1)
    net = network("lstm", [300], 200)

    def build(**init: Any) -> keras.Model:
        return keras_network.build(net, recipe(init=init), (2, 50), 100)

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
    model = keras_network.build(network("gru", [8]), recipe(dropout=0.5), (4, 1), 2)
    x = np.ones((3, 4, 1), np.float32)
    first, again = (np.asarray(model(x, training=False)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(np.asarray(model(x, training=True)), first)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("units", [6, SMALL + 1])
@pytest.mark.parametrize("steps", [1, 5])
def test_our_lstm_matches_keras_in_outputs_and_gradients(steps: int, units: int, training: bool) -> None:
    """Within 1e-5, with the same weights."""
    rng = np.random.default_rng(steps)
    x = tf.constant(rng.normal(size=(7, steps, 3)), tf.float32)
    results = []
    for layer in (keras.layers.LSTM(units, return_sequences=True), LSTM(units, return_sequences=True)):
        layer.build(x.shape)
        weights, scale = np.random.default_rng(1), 0.5 * np.sqrt(6 / units)
        layer.set_weights([weights.normal(scale=scale, size=value.shape) for value in layer.get_weights()])
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, training=training)
            loss = tf.reduce_sum(tf.sin(3 * outputs)) * 6 / units  # gradients are as large with any number of units
        results.append([outputs, *tape.gradient(loss, [x, *layer.trainable_variables])])
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("units", [6, SMALL + 1])
def test_a_wide_linear_layer_is_multiplied_into_an_lstm_with_the_same_outputs_and_gradients(
    units: int, training: bool
) -> None:
    """The weights are read once for all sequences: nothing of the size (sequences, steps, dense) is computed."""
    net, teach, classes, dense = network("lstm", [units], dense=40), recipe(), 5, 40
    model = keras_network.build(net, teach, (6, 4), classes)
    inputs = keras.Input((6, 4))
    read = keras.layers.Dense(classes)(keras.layers.LSTM(units)(keras.layers.Dense(dense)(inputs)))
    reference = keras.Model(inputs, read)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(scale=0.3, size=value.shape) for value in model.get_weights()])
    reference.set_weights(model.get_weights())
    x = rng.normal(size=(7, 6, 4)).astype(np.float32)
    results = []
    for each in (model, reference):
        with tf.GradientTape() as tape:
            outputs = each(x, training=training)
            loss = tf.reduce_mean(tf.sin(3 * outputs))
        results.append([outputs, *tape.gradient(loss, each.trainable_variables)])
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)
    graph = tf.function(lambda x: model(x, training=training)).get_concrete_function(tf.TensorSpec((7, 6, 4))).graph
    wide = [op.name for op in graph.get_operations() if op.type == "BatchMatMulV2" or (7, 6, dense) in shapes(op)]
    assert not wide


def shapes(op: tf.Operation) -> list[tuple[int | None, ...]]:
    """Those of the outputs of an operation, as far as they are known."""
    return [tuple(each.shape) for each in op.outputs if each.shape.rank is not None]


@pytest.mark.parametrize("units", [6, SMALL + 1])
def test_the_gradient_through_the_cell_states_is_that_of_small_differences(units: int) -> None:
    x = tf.constant(np.random.default_rng(1).normal(size=(4, 5, 3)), tf.float32)
    layer = LSTM(units, return_cells=True, return_sequences=True)
    layer.build(x.shape)
    scale = 0.5 * np.sqrt(6 / units)
    start = [np.random.default_rng(2).normal(scale=scale, size=value.shape) for value in layer.get_weights()]

    def loss(weights: list[np.ndarray]) -> tf.Tensor:
        layer.set_weights(weights)
        return tf.reduce_sum(tf.sin(2 * layer(x, training=True)))

    with tf.GradientTape() as tape:
        value = loss(start)
    gradients = tape.gradient(value, layer.trainable_variables)
    for which, gradient in enumerate(gradients):
        for place in (0, 7, 17):
            up, down = ([part.copy() for part in start] for _ in range(2))
            up[which].flat[place] += 1e-2
            down[which].flat[place] -= 1e-2
            slope = (float(loss(up)) - float(loss(down))) / 2e-2
            assert np.ravel(gradient)[place] == pytest.approx(slope, rel=0.01, abs=2e-3)


def test_two_halves_of_a_batch_give_what_the_whole_batch_gives() -> None:
    model = keras_network.build(network("lstm", [8]), recipe(), (4, 3), 5)
    halves = keras_network.InHalves(model)
    for size in (1, 2, 7):
        x = np.random.default_rng(size).normal(size=(size, 4, 3)).astype(np.float32)
        np.testing.assert_allclose(halves(x), model(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("units", [[8], [8, 6]])
def test_a_counter_takes_no_memory_for_a_step_but_what_its_next_layer_reads(units: list[int]) -> None:
    net, teach = network("lstm", units), recipe(readout="count", supervise="every-step")
    model = keras_network.build(net, teach, (6, 1), 7)
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    exported = onnx_network.build(net, teach, weights, (6, 1), 7)
    values = onnx.shape_inference.infer_shapes(exported).graph.value_info
    sizes = {value.name: [size.dim_param for size in value.type.tensor_type.shape.dim] for value in values}
    of_each_step = [name for name, of_value in sizes.items() if "steps" in of_value]
    assert of_each_step == ["steps_first", "float64", *(f"lstm_{layer}.all" for layer in range(1, len(units)))]
    x = np.random.default_rng(4).integers(0, 2, (5, 6, 1)).astype(np.float32)
    (found,) = onnxruntime.InferenceSession(exported.SerializeToString()).run(["probabilities"], {"sequence": x})
    np.testing.assert_allclose(found, keras_network.with_probabilities(model)(x), rtol=0, atol=1e-5)


def counter(every_step: bool = True) -> tuple[keras.Model, onnxruntime.InferenceSession]:
    """A network that reads a count, with random weights: as Keras model and as ONNX session."""
    net, teach = network("lstm", [8]), recipe(readout="count", supervise="every-step")
    model = keras_network.build(net, teach, (6, 1), 7, every_step=every_step)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if layer.name != keras_network.LOGITS:
            layer.set_weights([rng.normal(size=value.shape) for value in layer.get_weights()])
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    graph = onnx_network.build(net, teach, weights, (6, 1), 7)
    return model, onnxruntime.InferenceSession(graph.SerializeToString())


def test_a_count_is_read_from_the_cell_state_after_every_step() -> None:
    model, session = counter()
    x = np.random.default_rng(2).integers(0, 2, (9, 6, 1)).astype(np.float32)
    logits = np.asarray(model(x))
    assert logits.shape == (9, 6, 7)
    for steps in range(1, 7):
        probabilities, count = session.run(["probabilities", "count"], {"sequence": x[:, :steps]})
        powers = np.exp(logits[:, steps - 1])
        np.testing.assert_allclose(probabilities, powers / powers.sum(axis=1, keepdims=True), rtol=0, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), np.clip(np.rint(count[:, 0]), 0, 6))


def test_dividing_logits_divides_logits() -> None:
    for model, x in (
        (counter()[0], np.ones((2, 6, 1), np.float32)),
        (keras_network.build(network("lstm", [4]), recipe(), (6, 1), 3), np.ones((2, 6, 1), np.float32)),
    ):
        before = np.asarray(model(x))
        keras_network.divide_logits(model, 2.5)
        np.testing.assert_allclose(model(x), before / 2.5, rtol=1e-5)


def test_an_embedding_gives_each_number_a_vector_in_keras_and_onnx() -> None:
    net = network("lstm", [5], embedding=3)
    model = keras_network.build(net, recipe(), (4, 1), 6)
    assert model.get_layer("embedding").get_weights()[0].shape == (6, 3)
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    session = onnxruntime.InferenceSession(onnx_network.build(net, recipe(), weights, (4, 1), 6).SerializeToString())
    x = np.random.default_rng(1).integers(0, 6, (9, 4, 1)).astype(np.float32)
    result = session.run(["probabilities"], {"sequence": x})[0]
    np.testing.assert_allclose(result, keras_network.with_probabilities(model)(x), rtol=0, atol=1e-6)


def test_first_values_as_tensorflow_1_had_them() -> None:
    keras.utils.set_random_seed(1)
    model = keras_network.build(network("lstm", [200]), recipe(init={"recurrent": "tensorflow-1"}), (4, 100), 2)
    kernel, recurrent, bias = model.get_layer("lstm_1").get_weights()
    for part in (kernel, recurrent):
        assert np.abs(part).max() == pytest.approx(np.sqrt(3 / 300), rel=0.01)
        assert part.std() == pytest.approx(np.sqrt(3 / 300) / np.sqrt(3), rel=0.02)
    assert bias[200:400].tolist() == [1.0] * 200


def test_first_values_of_a_cell_that_forgets_nothing() -> None:
    model = keras_network.build(
        network("lstm", [3]), recipe(init={"recurrent": "zeros", "forget_bias": 8.0}), (4, 1), 2
    )
    _, recurrent, bias = model.get_layer("lstm_1").get_weights()
    assert not recurrent.any()
    assert bias.tolist() == [0] * 3 + [8] * 3 + [0] * 6
