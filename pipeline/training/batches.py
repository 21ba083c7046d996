"""Which examples each step trains on, and the input pipeline that makes features of them batch by batch."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from pipeline.recipe import Recipe

Features = Callable[[np.ndarray], np.ndarray]  # encoded (batch, code) to float32 (batch, steps, features)
CHUNK = 4096  # examples whose features are computed at once


class Rows(Protocol):
    """Rows of the training split for each step: a slice of steps is int32 (steps, batch_size)."""

    def __len__(self) -> int: ...
    def __getitem__(self, steps: slice, /) -> np.ndarray: ...


class Schedule:
    """Which examples each step trains on: a slice of it is int32 (steps, batch_size), rows of the training split.

    fixed: the rows in their order, again and again. shuffled: every pass in a new random order. walk: start at one of
    the first rows, go on by `stride` rows, and start anew at the end, as the published programs read a text. A batch
    may span two passes. The order of a pass depends on the seed and its number alone.
    """

    def __init__(self, recipe: Recipe, steps: int, examples: int, stride: int, seed: int):
        self._recipe, self._steps, self._examples, self._seed = recipe, steps, examples, seed
        self._walk = np.zeros(0, np.int32)
        if recipe.order == "walk":
            self._walk = _walk(len(self) * recipe.batch_size, examples, stride, np.random.default_rng(seed))

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, steps: slice, /) -> np.ndarray:
        first, stop, _ = steps.indices(len(self))
        size = self._recipe.batch_size
        return self._rows(first * size, stop * size).reshape(-1, size)

    def _rows(self, first: int, stop: int) -> np.ndarray:
        if len(self._walk):
            return self._walk[first:stop]
        if self._recipe.order == "fixed":
            return (np.arange(first, stop) % self._examples).astype(np.int32)
        starts = range(first - first % self._examples, stop, self._examples)  # of passes
        orders = ((start, _order(self._seed, start // self._examples, self._examples)) for start in starts)
        return np.concatenate([order[max(0, first - start) : stop - start] for start, order in orders])


@lru_cache(maxsize=3)  # the passes that are trained on, and read ahead
def _order(seed: int, number: int, examples: int) -> np.ndarray:
    """The random order of the pass of this number: int32 (examples,)."""
    return np.random.default_rng([seed, number]).permutation(np.arange(examples, dtype=np.int32))


def _walk(size: int, examples: int, stride: int, rng: np.random.Generator) -> np.ndarray:
    rows = np.empty(size, np.int32)
    row = examples
    for i in range(size):
        if row >= examples:
            row = int(rng.integers(min(stride + 1, examples)))
        rows[i] = row
        row += stride
    return rows


def training_batches(
    schedule: Rows, encoded: np.ndarray, targets: np.ndarray, features: Features, first: int = 0
) -> tf.data.Dataset:
    """The batches of a schedule from step `first` on: features float32 (batch, steps, features), targets int32.

    Targets are (examples,), or (examples, steps) if each step has its own. Features are computed a few batches ahead of
    the training, so that only the encoded examples need memory.
    """
    batch_size = schedule[:1].shape[1]
    chunk = max(1, CHUNK // batch_size)  # batches

    def chunks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(first, len(schedule), chunk):
            rows = schedule[start : start + chunk]  # (batches, batch_size)
            x = features(encoded[rows.ravel()])
            yield x.reshape(*rows.shape, *x.shape[1:]), targets[rows].astype(np.int32)

    signature = (
        tf.TensorSpec((None, batch_size, *features(encoded[:1]).shape[1:]), tf.float32),
        tf.TensorSpec((None, batch_size, *targets.shape[1:]), tf.int32),
    )
    batches = _generated(chunks, signature).unbatch()
    return batches.apply(tf.data.experimental.assert_cardinality(len(schedule) - first)).prefetch(2)


def evaluation_batches(
    encoded: np.ndarray, targets: np.ndarray, features: Features, batch_size: int
) -> tf.data.Dataset:
    """All examples in their order, in batches."""

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(encoded), batch_size):
            yield features(encoded[start : start + batch_size]), targets[start : start + batch_size].astype(np.int32)

    signature = (
        tf.TensorSpec((None, *features(encoded[:1]).shape[1:]), tf.float32),
        tf.TensorSpec((None, *targets.shape[1:]), tf.int32),
    )
    dataset = _generated(batches, signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-len(encoded) // batch_size)))


def _generated(batches: Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]], signature: Any) -> tf.data.Dataset:
    """A dataset without autotuning, whose thread delays the end of an iterator, by up to as long as it was there."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(batches, output_signature=signature).with_options(options)
