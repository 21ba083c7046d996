"""The loss and the learning rate against formulas."""

from itertools import pairwise
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.networks import keras_network, loss_and_optimizer
from pipeline.networks.count import CountLogits
from pipeline.recipe import Network
from tests.harness.recipes import recipe


def test_the_loss_is_cross_entropy_over_the_batch() -> None:
    logits = np.array([[0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]], np.float32)
    targets = np.array([1, 2])
    each = np.array([np.log(4), 100.0])

    def value(**changes: object) -> float:
        return float(loss_and_optimizer.loss(recipe(**changes), 4)(tf.constant(targets), tf.constant(logits)))

    assert value(loss_reduction="sum") == pytest.approx(each.sum())
    assert value(loss_reduction="mean") == pytest.approx(each.mean())
    assert value(loss_reduction="mean-over-classes") == pytest.approx(each.mean() / 4)
    assert value(loss_reduction="sum", min_probability=1e-10) == pytest.approx(np.log(4) - np.log(1e-10))


def test_one_cycle_goes_up_and_comes_down() -> None:
    schedule = loss_and_optimizer.one_cycle(0.5, steps=100)
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == rates[20] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0, abs=1e-6)
    assert all(a < b for a, b in pairwise(rates[:21]))
    assert all(a > b for a, b in pairwise(rates[20:]))


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("muon", "Muon"), ("rmsprop", "RMSprop")])
def test_the_optimizer_is_the_one_named_at_the_rate_of_the_schedule(name: str, kind: str) -> None:
    constant = loss_and_optimizer.optimizer(recipe(optimizer=name, learning_rate=0.3), 10)
    assert type(constant).__name__ == kind
    assert float(constant.learning_rate) == pytest.approx(0.3)
    cycle = loss_and_optimizer.optimizer(recipe(optimizer=name, learning_rate=0.5, schedule="one-cycle"), 10)
    assert float(cycle.learning_rate) == pytest.approx(0.02), "at the first step"


def test_the_loss_of_every_step_is_the_mean_over_steps() -> None:
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(3, 5, 4)).astype(np.float32), rng.integers(0, 4, (3, 5))
    compute = loss_and_optimizer.loss(recipe(), 4)
    each = [float(compute(tf.constant(targets[:, t]), tf.constant(logits[:, t]))) for t in range(5)]
    assert float(compute(tf.constant(targets), tf.constant(logits))) == pytest.approx(np.mean(each), rel=1e-5)


def test_the_loss_of_every_step_counts_its_number_to_the_power_of_the_recipe() -> None:
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(3, 5, 4)).astype(np.float32), rng.integers(0, 4, (3, 5))
    compute = loss_and_optimizer.loss(recipe(), 4)
    each = [float(compute(tf.constant(targets[:, t]), tf.constant(logits[:, t]))) for t in range(5)]
    weighted = loss_and_optimizer.loss(recipe(supervise="every-step", step_power=3.0), 4)
    expected = np.average(each, weights=np.arange(1, 6) ** 3)
    assert float(weighted(tf.constant(targets), tf.constant(logits))) == pytest.approx(expected, rel=1e-5)


def test_the_accuracy_of_a_training_is_that_after_the_last_step() -> None:
    accuracy, logits = loss_and_optimizer.Accuracy(), np.eye(3, dtype=np.float32)[[[0, 1], [2, 2], [1, 1], [1, 0]]]
    accuracy.update_state(tf.constant([[0, 1], [0, 2], [1, 0], [0, 0]]), tf.constant(logits))
    assert float(accuracy.result()) == 0.75
    accuracy.reset_state()
    accuracy.update_state(tf.constant([1, 1, 0, 0]), tf.constant(logits[:, -1]))
    assert float(accuracy.result()) == 0.5


def test_adam_is_that_of_keras_in_one_operation_for_each_weight() -> None:
    """An embedding's gradient names the rows that it changes: one twice, if its number is twice in a batch."""
    rows = tf.IndexedSlices(tf.constant([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]]), tf.constant([2, 0, 2]), (3, 2))
    summed = tf.constant([[0.5, 0.0], [0.0, 0.0], [4.0, -1.0]])

    def apply(kind: type[keras.optimizers.Adam], of_embedding: Any) -> tuple[list[np.ndarray], list[str]]:
        """The weights after some steps, and the operations of a step."""
        gradients = [tf.constant([0.5, -3.0]), of_embedding, tf.constant([[1e-9]])]
        variables = [keras.Variable(start, dtype="float32") for start in ([2.0, 2.0], np.ones((3, 2)), [[0.1]])]
        optimizer = kind(loss_and_optimizer.one_cycle(0.1, 10))
        optimizer.build(variables)
        step = tf.function(lambda: optimizer.apply(gradients), autograph=False)
        for _ in range(7):
            step()
        operations = [each.type for each in step.get_concrete_function().graph.get_operations()]
        return [variable.numpy() for variable in variables], operations

    ours, operations = apply(loss_and_optimizer.Adam, rows)
    expected, _ = apply(keras.optimizers.Adam, summed)
    assert operations.count("ResourceApplyAdam") == 3
    for value, reference in zip(ours, expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-5)


@pytest.mark.parametrize("readout", ["softmax", "count"])
def test_muon_changes_hidden_kernels_by_orthogonal_matrices_and_all_else_as_adam_does(readout: str) -> None:
    """All singular values of a change are about equal; Adam's first step changes all numbers by the learning rate."""
    net = Network.model_validate({"units": [8, 6], "dense": 7, "embedding": 5})
    model = keras_network.build(net, recipe(readout=readout), (3, 1), 9)
    optimizer = loss_and_optimizer.optimizer(recipe(optimizer="muon", learning_rate=0.01), 10)
    before = [np.asarray(variable) for variable in model.trainable_variables]
    rng = np.random.default_rng(1)
    gradients = [tf.constant(rng.normal(size=value.shape), tf.float32) for value in before]
    optimizer.apply(gradients, model.trainable_variables)
    hidden = []
    for variable, value in zip(model.trainable_variables, before, strict=True):
        change = np.asarray(variable) - value
        if np.ptp(np.abs(change)) < 1e-4:
            np.testing.assert_allclose(np.abs(change), 0.01, rtol=0.01)
            continue
        hidden.append(variable.path)
        lengths = np.linalg.svd(change, compute_uv=False) / (0.01 * 0.2 * np.sqrt(max(change.shape)))
        assert 0.6 < lengths.min() <= lengths.max() < 1.3
    kernels = [f"lstm_{depth}/lstm_cell/{name}" for depth in (1, 2) for name in ("kernel", "recurrent_kernel")]
    assert [path.replace("lstm_cell_1", "lstm_cell") for path in hidden] == ["dense/kernel", *kernels]


def test_rmsprop_as_tensorflow_1_had_it_starts_with_mean_squares_of_one() -> None:
    variable = tf.Variable([2.0, 2.0])
    optimizer = loss_and_optimizer.optimizer(recipe(optimizer="rmsprop-tensorflow-1", learning_rate=0.1), 10)
    optimizer.build([variable])
    gradient, mean_square, expected = np.array([0.5, -3.0]), np.ones(2), np.array([2.0, 2.0])
    for _ in range(3):
        optimizer.apply_gradients([(tf.constant(gradient, tf.float32), variable)])
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        expected = expected - 0.1 * gradient / np.sqrt(mean_square + 1e-10)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)


def test_a_gradient_longer_than_its_limit_is_shortened_as_one_vector() -> None:
    variable = tf.Variable([0.0, 0.0])
    changes = {"optimizer": "rmsprop-tensorflow-1", "learning_rate": 0.1, "global_clipnorm": 1.0}
    optimizer = loss_and_optimizer.optimizer(recipe(**changes), 10)
    optimizer.apply_gradients([(tf.constant([30.0, 40.0]), variable)])
    clipped = np.array([0.6, 0.8])
    np.testing.assert_allclose(variable.numpy(), -0.1 * clipped / np.sqrt(0.9 + 0.1 * clipped**2), rtol=1e-4)


def test_the_squared_error_of_a_count_is_that_of_its_number() -> None:
    numbers, targets = np.array([[0.5], [2.0], [-1.25]], np.float32), np.array([1, 2, 0])
    logits = CountLogits(4)(tf.constant(numbers))
    value = float(loss_and_optimizer.loss(recipe(readout="count", loss="squared-error"), 4)(targets, logits))
    assert value == pytest.approx(np.mean((numbers[:, 0] - targets) ** 2))


def test_a_squared_error_needs_numbers() -> None:
    with pytest.raises(ValueError, match="a squared-error is one of numbers, which readout: count gives"):
        recipe(loss="squared-error")


@pytest.mark.parametrize("schedule", ["constant", "one-cycle"])
@pytest.mark.parametrize("name", sorted(loss_and_optimizer.OPTIMIZERS))
def test_a_proximal_step_moves_recurrent_weights_towards_zero_and_stops_there(name: str, schedule: str) -> None:
    layer = keras.layers.SimpleRNN(2)
    layer.build((None, 3, 1))
    starts: dict[str, Any] = {
        "kernel": [[0.5, -0.5]],
        "recurrent_kernel": [[0.5, -0.5], [0.004, -0.004]],
        "bias": [0.5, -0.5],
    }
    variables = layer.trainable_variables
    for variable in variables:
        variable.assign(starts[variable.name])
    changes: dict[str, Any] = {"optimizer": name, "learning_rate": 0.1, "schedule": schedule}
    plain, proximal = (
        loss_and_optimizer.optimizer(recipe(**changes, **more), steps=10) for more in ({}, {"proximal_l1": 0.2})
    )
    rate = float(proximal.learning_rate)  # of the first step
    zero = [tf.zeros_like(variable) for variable in variables]
    plain.apply(zero, variables)
    assert all(np.asarray(variable).tolist() == np.float32(starts[variable.name]).tolist() for variable in variables)
    proximal.apply(zero, variables)
    after = {variable.name: np.asarray(variable) for variable in variables}
    assert after["kernel"].tolist() == starts["kernel"], "only recurrent kernels are thresholded"
    assert after["bias"].tolist() == starts["bias"]
    expected = np.sign(starts["recurrent_kernel"]) * np.maximum(np.abs(starts["recurrent_kernel"]) - 0.2 * rate, 0)
    np.testing.assert_allclose(after["recurrent_kernel"], expected, rtol=1e-6)
