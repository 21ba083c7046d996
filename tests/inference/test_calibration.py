"""Temperature and calibration error against their definitions."""

import numpy as np
import pytest

from pipeline.inference import calibration
from tests.harness.examples import info_of, predictions

INFO = info_of()


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_logits_were_multiplied_by_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=2, size=(20_000, 3))
    targets = np.array([rng.choice(3, p=row) for row in softmax(logits)])
    assert calibration.fit_temperature(logits * temperature, targets) == pytest.approx(temperature, rel=0.05)


@pytest.mark.parametrize("examples", [10, 300, 10_000])
def test_however_certain_the_examples_a_probability_is_as_certain_as_their_number_allows(examples: int) -> None:
    targets = np.arange(examples) % 3
    logits = 2.0 * np.eye(3)[targets]  # all right
    temperature = calibration.fit_temperature(logits, targets)
    confidence = softmax(logits / temperature).max(axis=1).mean()
    assert confidence == pytest.approx(examples / (examples + 1), abs=1e-2 / examples)


def error(probability: np.ndarray, right: np.ndarray, of: str = "expected_calibration_error") -> float:
    """The calibration error of predictions with these probabilities, of which these are right."""
    targets = np.zeros(len(right), np.int32)
    made = predictions(INFO, np.zeros((len(right), 1)), targets, np.where(right, 0, 1), probability)
    return float(made.totals.metrics(INFO.class_names)[of])


def test_the_calibration_error_is_the_distance_of_accuracy_from_probability() -> None:
    right = np.arange(1000) % 10 < 7
    assert error(np.full(1000, 0.7), right) == pytest.approx(0, abs=1e-6)
    assert error(np.full(1000, 0.9), right) == pytest.approx(0.2, abs=1e-6)
    both = error(np.repeat([0.95, 0.5], 500), np.tile(np.arange(500) < 250, 2))
    assert both == pytest.approx(0.225, abs=1e-6), "0.45 of one half"


@pytest.mark.parametrize("size", [20, 1000, 10_000])
def test_the_calibration_error_by_chance_is_that_of_predictions_that_are_right_as_often_as_they_say(size: int) -> None:
    rng = np.random.default_rng(size)
    probability = 1 - 0.5 * rng.random(size) ** 4  # most near 1, as of a good model
    draws = [error(probability, rng.random(size) < probability) for _ in range(300)]
    by_chance = error(probability, probability > 0, "expected_calibration_error_by_chance")
    assert by_chance == pytest.approx(np.mean(draws), rel=0.07)


def test_predictions_that_are_certain_have_no_calibration_error_by_chance() -> None:
    assert error(np.ones(50), np.ones(50, bool), "expected_calibration_error_by_chance") == 0
