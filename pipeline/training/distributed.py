"""Synchronous data parallelism: each worker computes its share of every batch, and all apply the same gradients.

TF_CONFIG names the workers, as Kubernetes' training operator, Vertex AI and Ray Train set it.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.errors import PipelineError, quoted
from pipeline.recipe import Recipe

ADDRESS = re.compile(r"([^\s:]+|\[[0-9a-fA-F:.]+\]):([1-9]\d{0,4})")  # a name or an IP address, and a port


@dataclass(frozen=True)
class Workers:
    """The workers of a training, and which of them this process is."""

    number: int = 1
    index: int = 0  # of this process; that of the chief is 0

    @property
    def chief(self) -> bool:
        """Whether this worker writes the files."""
        return self.index == 0

    @cached_property
    def _strategy(self) -> tf.distribute.Strategy:
        return tf.distribute.MultiWorkerMirroredStrategy()

    def connect(self) -> None:
        """Wait until all workers are there. Call it before any other operation of TensorFlow."""
        if self.number > 1:
            _ = self._strategy

    def share(self, features: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The examples of a batch that this worker computes: every `number`-th one."""
        return features[self.index :: self.number], targets[self.index :: self.number]

    def fraction(self, recipe: Recipe) -> float:
        """The fraction of a batch's examples that this worker computes."""
        return len(range(self.index, recipe.batch_size, self.number)) / recipe.batch_size

    def loss_weight(self, recipe: Recipe) -> float:
        """What this worker's loss of a batch counts in that of the whole batch."""
        return 1.0 if recipe.loss_reduction == "sum" else self.fraction(recipe)

    def sum(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The sums of tensors over all workers."""
        if self.number == 1:
            return list(tensors)

        def in_replica(*values: tf.Tensor) -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            here = [tf.identity(value) for value in values]  # on the replica's device
            return list(context.all_reduce(tf.distribute.ReduceOp.SUM, here))

        return list(self._strategy.run(in_replica, args=tuple(tensors)))

    def broadcast(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Send the chief's arrays to all workers. On the others, `arrays` give the shapes and dtypes."""
        # Floats as they are; integers of any kind as int64, which collectives know.
        wide = [array if array.dtype.kind == "f" else array.astype(np.int64) for array in map(np.asarray, arrays)]
        sums = self.sum([tf.constant(array if self.chief else np.zeros_like(array)) for array in wide])
        return [value.numpy().astype(np.asarray(array).dtype) for value, array in zip(sums, arrays, strict=True)]

    def require_equal(self, weights: Sequence[np.ndarray]) -> None:
        """Raise PipelineError unless all workers have the same weights, by their hash."""
        digest = np.frombuffer(hashlib.sha256(b"".join(array.tobytes() for array in weights)).digest(), np.uint8)
        (chiefs,) = self.broadcast([digest])
        if not np.array_equal(digest, chiefs):
            raise PipelineError(
                f"worker {self.index} ended with other weights than the chief; use the same libraries and the same "
                "kind of processor on all workers."
            )

    def optimizer(self, recipe: Recipe, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
        """The optimizer, which applies the gradients of the whole batch: those of all workers, summed."""
        if self.number == 1:
            return optimizer
        workers, weight = self, self.loss_weight(recipe)

        class OfAllWorkers(type(optimizer)):  # type: ignore[misc]
            def apply(self, grads: Any, trainable_variables: Any = None) -> None:
                super().apply(workers.sum([weight * tf.convert_to_tensor(grad) for grad in grads]), trainable_variables)

        optimizer.__class__ = OfAllWorkers
        return optimizer


def from_environment(recipe: Recipe) -> Workers:
    """The workers that TF_CONFIG names; without it, this process alone.

    Raises PipelineError if TF_CONFIG is not valid, or if a batch has fewer examples than there are workers.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return Workers()
    try:
        content = json.loads(text)
        chiefs, others = (content["cluster"].get(kind, []) for kind in ("chief", "worker"))
        addresses = [*chiefs, *others]
        matches = [ADDRESS.fullmatch(str(each)) for each in addresses]
        if not all(match and int(match[2]) < 2**16 for match in matches):
            raise ValueError("its workers are not a list of addresses HOST:PORT")
        if len(set(addresses)) < len(addresses):
            raise ValueError("an address is there twice")
        kind, index = content["task"]["type"], content["task"]["index"]
        if type(index) is not int and not (isinstance(index, str) and index.isdecimal()):
            raise ValueError("the index of its task is not a whole number")
        index = int(index)
        index += len(chiefs) if kind == "worker" else 0
        if kind not in ("chief", "worker") or not 0 <= index < len(addresses):
            raise ValueError("its task is none of its cluster's workers")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PipelineError(
            f"TF_CONFIG is {quoted(text, 100)}, expected a cluster of workers and a task ({error}); fix it or unset it."
        ) from None
    if len(addresses) > recipe.batch_size:
        raise PipelineError(
            f"{len(addresses)} workers cannot share a batch of {recipe.batch_size}; use a larger batch_size, or fewer."
        )
    return Workers(len(addresses), index)


class OfWholeBatches(keras.callbacks.Callback):  # type: ignore[misc]
    """Makes the loss and the accuracy of each log those of all workers; Keras computes them of one worker's share."""

    def __init__(self, workers: Workers, recipe: Recipe):
        super().__init__()
        self._workers = workers
        self._weights = {"loss": workers.loss_weight(recipe), "accuracy": workers.fraction(recipe)}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Replace them, before the callbacks that follow read them."""
        if not logs:
            return
        local = [tf.constant(logs[name] * weight, tf.float64) for name, weight in self._weights.items()]
        logs |= dict(zip(self._weights, (float(value) for value in self._workers.sum(local)), strict=True))
