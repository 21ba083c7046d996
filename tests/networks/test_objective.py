"""The loss and the learning rate against formulas."""

from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf

from pipeline.networks import loss_and_optimizer
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


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("rmsprop", "RMSprop")])
def test_the_optimizer_is_the_one_named_at_the_rate_of_the_schedule(name: str, kind: str) -> None:
    constant = loss_and_optimizer.optimizer(recipe(optimizer=name, learning_rate=0.3))
    assert type(constant).__name__ == kind
    assert float(constant.learning_rate) == pytest.approx(0.3)
    cycle = loss_and_optimizer.optimizer(recipe(optimizer=name, learning_rate=0.5, schedule="one-cycle"))
    assert float(cycle.learning_rate) == pytest.approx(0.02), "at the first step"
