"""Which examples each step trains on, and the batches of features that Keras gets."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training import batches
from tests.harness.recipes import recipe


def schedule(examples: int, steps: int, **changes: object) -> np.ndarray:
    return batches.Schedule(recipe(steps=steps, **changes), steps, examples, 4, seed=1)[:]


@given(st.integers(1, 50), st.integers(1, 30), st.integers(1, 20))
def test_every_pass_of_a_shuffled_schedule_holds_each_example_once(examples: int, steps: int, batch_size: int) -> None:
    made = schedule(examples, order="shuffled", steps=steps, batch_size=batch_size)
    assert made.shape == (steps, batch_size)
    rows = made.ravel()
    for start in range(0, len(rows), examples):
        one_pass = rows[start : start + examples].tolist()
        assert len(set(one_pass)) == len(one_pass), "the last pass may be shorter"
        assert set(one_pass) <= set(range(examples))


@given(st.integers(1, 300), st.integers(1, 20), st.data())
def test_steps_are_the_same_in_whatever_order_they_are_asked_for(
    examples: int, batch_size: int, data: st.DataObject
) -> None:
    made = batches.Schedule(recipe(steps=100, batch_size=batch_size), 100, examples, 4, seed=1)
    whole = schedule(examples, steps=100, batch_size=batch_size)
    for _ in range(10):
        first = data.draw(st.integers(0, 99))
        stop = data.draw(st.integers(first + 1, 100))
        np.testing.assert_array_equal(made[first:stop], whole[first:stop])


def test_passes_of_a_shuffled_schedule_differ() -> None:
    first, second = schedule(50, order="shuffled", steps=2, batch_size=50)
    assert sorted(first.tolist()) == sorted(second.tolist())
    assert first.tolist() != second.tolist()


def test_a_fixed_schedule_keeps_the_order() -> None:
    assert schedule(5, order="fixed", steps=4, batch_size=3).tolist() == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]]


@given(st.integers(1, 60))
def test_a_walk_goes_on_by_the_stride_and_starts_anew_past_the_end(examples: int) -> None:
    rows = schedule(examples, order="walk", steps=200, batch_size=1).ravel()
    assert rows.min() >= 0
    assert rows.max() < examples
    assert rows[0] <= 4
    for before, after in pairwise(rows):
        assert after == before + 4 if before + 4 < examples else after <= 4


def test_the_published_walk_starts_at_each_of_the_first_five_rows() -> None:
    rows = schedule(201, order="walk", steps=50_000, batch_size=1).ravel()
    starts = rows[np.flatnonzero(np.diff(rows) < 0) + 1]
    assert sorted(set(starts.tolist())) == [0, 1, 2, 3, 4]
    assert len(set(rows.tolist())) == 201


def features(encoded: np.ndarray) -> np.ndarray:
    """Float32 (batch, steps, 1) of codes (batch, steps)."""
    return np.sqrt(encoded[:, :, None] + np.float32(0.5)).astype(np.float32)


ENCODED = np.random.default_rng(3).integers(0, 1000, (37, 2)).astype(np.int32)
TARGETS = np.random.default_rng(4).integers(0, 9, 37).astype(np.int64)


# Around 4096 examples, where a chunk of features ends; beyond it, where one batch is larger than a chunk.
@given(st.integers(1, 30), st.sampled_from([1, 2, 7, 37, 100, 1000, 2048, 4095, 4096, 4097, 5000]))
@settings(max_examples=25, deadline=None)
def test_training_batches_are_the_features_of_the_scheduled_rows(steps: int, batch_size: int) -> None:
    rows = np.random.default_rng(steps).integers(0, len(ENCODED), (steps, batch_size)).astype(np.int32)
    dataset = batches.training_batches(rows, ENCODED, TARGETS, features)
    assert int(dataset.cardinality()) == steps
    made = list(dataset.as_numpy_iterator())
    assert len(made) == steps
    for (x, targets), batch in zip(made, rows, strict=True):
        assert [x.dtype, targets.dtype] == ["float32", "int32"]
        np.testing.assert_array_equal(x, features(ENCODED[batch]))
        np.testing.assert_array_equal(targets, TARGETS[batch])


@given(st.integers(1, 37), st.integers(1, 50))
@settings(max_examples=25, deadline=None)
def test_evaluation_batches_hold_every_example_once_in_order(examples: int, batch_size: int) -> None:
    dataset = batches.evaluation_batches(ENCODED[:examples], TARGETS[:examples], features, batch_size)
    made = list(dataset.as_numpy_iterator())
    assert int(dataset.cardinality()) == len(made) == -(-examples // batch_size)
    assert all(len(x) == batch_size for x, _ in made[:-1])
    x, targets = (np.concatenate(parts) for parts in zip(*made, strict=True))
    assert [x.dtype, targets.dtype] == ["float32", "int32"]
    np.testing.assert_array_equal(x, features(ENCODED[:examples]))
    np.testing.assert_array_equal(targets, TARGETS[:examples])


@pytest.mark.parametrize("batch_size", [16, 50, 3000, 4096, 6000])
def test_features_are_never_computed_for_many_examples_at_once(batch_size: int) -> None:
    encoded = np.arange(30_000, dtype=np.int32)[:, None]
    sizes: list[int] = []

    def recording(rows: np.ndarray) -> np.ndarray:
        sizes.append(len(rows))
        return features(rows)

    rows = np.resize(np.arange(len(encoded), dtype=np.int32), (len(encoded) // batch_size, batch_size))
    training = batches.training_batches(rows, encoded, encoded[:, 0], recording)
    assert sum(len(targets) for _, targets in training.as_numpy_iterator()) == rows.size
    assert max(sizes) <= max(4096, batch_size)
    sizes.clear()
    list(batches.evaluation_batches(encoded, encoded[:, 0], recording, batch_size).as_numpy_iterator())
    assert max(sizes) <= batch_size


def test_a_training_can_go_on_in_the_middle_of_a_schedule() -> None:
    rows = np.random.default_rng(5).integers(0, len(ENCODED), (40, 500)).astype(np.int32)
    whole, rest = (
        list(batches.training_batches(rows, ENCODED, TARGETS, features, first).as_numpy_iterator()) for first in (0, 13)
    )
    for (x, targets), (expected_x, expected_targets) in zip(rest, whole[13:], strict=True):
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(targets, expected_targets)


def test_no_thread_tunes_the_datasets() -> None:
    """It would sleep for as long as the dataset was read so far, and the end of each epoch would wait for it."""
    encoded, targets = np.zeros((4, 1), np.float32), np.zeros(4, int)
    made = (
        batches.training_batches(np.zeros((1, 2), int), encoded, targets, lambda rows: rows[:, :, None]),
        batches.evaluation_batches(encoded, targets, lambda rows: rows[:, :, None], 2),
    )
    assert [dataset.options().autotune.enabled for dataset in made] == [False, False]
