"""Which examples each step trains on, and the input pipeline that makes features of them batch by batch."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from pipeline.config import Recipe

Features = Callable[[np.ndarray], np.ndarray]  # encoded (batch, code) to float32 (batch, steps, features)
CHUNK = 4096  # examples whose features are computed at once


def batch_schedule(recipe: Recipe, examples: int, stride: int, rng: np.random.Generator) -> np.ndarray:
    """Which examples each step trains on: int32 (steps, batch_size), rows of the training split.

    fixed: the rows in their order, again and again. shuffled: every pass in a new random order. walk: start at one of
    the first rows, go on by `stride` rows, and start anew at the end, as the published programs read a text. A batch
    may span two passes.
    """
    size = recipe.total_steps * recipe.batch_size
    if recipe.order == "walk":
        rows = _walk(size, examples, stride, rng)
    else:
        passes = -(-size // examples)
        order = rng.permutation if recipe.order == "shuffled" else np.arange
        rows = np.concatenate([order(examples) for _ in range(passes)])[:size]
    return rows.astype(np.int32).reshape(recipe.total_steps, recipe.batch_size)


def _walk(size: int, examples: int, stride: int, rng: np.random.Generator) -> np.ndarray:
    rows: list[int] = []
    row = examples
    while len(rows) < size:
        if row >= examples:
            row = int(rng.integers(min(stride + 1, examples)))
        rows.append(row)
        row += stride
    return np.array(rows)


def training_batches(
    schedule: np.ndarray, encoded: np.ndarray, targets: np.ndarray, features: Features
) -> tf.data.Dataset:
    """The batches of a schedule (steps, batch_size): features float32 (batch, steps, features), targets int32.

    Targets are (examples,), or (examples, steps) if each step has its own. Features are computed a few batches ahead of
    the training, so that only the encoded examples need memory.
    """
    batch_size = schedule.shape[1]
    chunk = max(1, CHUNK // batch_size)  # batches

    def chunks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(schedule), chunk):
            rows = schedule[start : start + chunk]  # (batches, batch_size)
            x = features(encoded[rows.ravel()])
            yield x.reshape(*rows.shape, *x.shape[1:]), targets[rows].astype(np.int32)

    signature = (
        tf.TensorSpec((None, batch_size, *features(encoded[:1]).shape[1:]), tf.float32),
        tf.TensorSpec((None, batch_size, *targets.shape[1:]), tf.int32),
    )
    batches = tf.data.Dataset.from_generator(chunks, output_signature=signature).unbatch()
    return batches.apply(tf.data.experimental.assert_cardinality(len(schedule))).prefetch(2)


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
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(-(-len(encoded) // batch_size)))
