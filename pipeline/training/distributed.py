"""Synchronous data parallelism: each worker computes its share of every batch, and all apply the same gradients.

TF_CONFIG names the workers, as Kubernetes' training operator, Vertex AI and Ray Train set it. TensorFlow's own server
is not used, since it lets everybody in.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.errors import PipelineError, quoted
from pipeline.files import fits
from pipeline.recipe import Recipe
from pipeline.training.channel import Channel

ADDRESS = re.compile(r"([^\s:]+|\[[0-9a-fA-F:.]+\]):([1-9]\d{0,4})")  # a name or an IP address, and a port
TF_CONFIG = {"cluster": dict[str, list[str]], "task": {"type": str, "index": Any}}


@dataclass(frozen=True)
class Workers:
    """The workers of a training, and which of them this process is."""

    addresses: tuple[str, ...] = ("",)  # HOST:PORT
    index: int = 0  # of this process; that of the chief is 0
    channels: list[Channel] = field(default_factory=list, compare=False)  # one, when all are there

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self.addresses)

    @property
    def chief(self) -> bool:
        """Whether this worker writes the files."""
        return self.index == 0

    def connect(self, facts: dict[str, str]) -> None:
        """Wait until all workers are there. Raises PipelineError unless these facts are equal on all."""
        if self.number > 1:
            self.channels.append(Channel(self.addresses, self.index, facts))

    def share(self, features: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The examples of a batch that this worker computes: every `number`-th one."""
        return features[self.index :: self.number], targets[self.index :: self.number]

    def fraction(self, recipe: Recipe) -> float:
        """The fraction of a batch's examples that this worker computes."""
        return len(range(self.index, recipe.batch_size, self.number)) / recipe.batch_size

    def loss_weight(self, recipe: Recipe) -> float:
        """What this worker's loss of a batch counts in that of the whole batch."""
        return 1.0 if recipe.loss_reduction == "sum" else self.fraction(recipe)

    def sum(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The sums of arrays of one dtype over all workers, added in their order: the same bytes on each."""

        def add(contents: list[bytes]) -> bytes:
            total = np.frombuffer(contents[0], dtype).copy()
            for content in contents[1:]:
                total += np.frombuffer(content, dtype)
            return total.tobytes()

        dtype, shapes = arrays[0].dtype, [array.shape for array in arrays]
        summed = np.frombuffer(self.channels[0].exchange(b"".join(map(np.ndarray.tobytes, arrays)), add), dtype)
        ends = np.cumsum([array.size for array in arrays])
        return [part.reshape(shape) for part, shape in zip(np.split(summed, ends[:-1]), shapes, strict=True)]

    def broadcast(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Send the chief's arrays to all workers. On the others, `arrays` give the shapes and dtypes."""
        arrays = [np.asarray(array) for array in arrays]
        sent = self.channels[0].exchange(b"".join(map(np.ndarray.tobytes, arrays)), lambda contents: contents[0])
        found, start = [], 0
        for array in arrays:
            found.append(np.frombuffer(sent, array.dtype, array.size, start).reshape(array.shape))
            start += array.nbytes
        return found

    def require_equal(self, weights: Sequence[np.ndarray]) -> None:
        """Raise PipelineError unless all workers have the same weights, by their hash."""
        digest = hashlib.sha256(b"".join(array.tobytes() for array in weights)).digest()
        if self.channels[0].exchange(digest, lambda digests: digests[0] * (len(set(digests)) == 1)) != digest:
            raise PipelineError("the workers ended with different weights; use the same kind of processor on all.")

    def optimizer(self, recipe: Recipe, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
        """The optimizer, which applies the gradients of the whole batch: those of all workers, summed."""
        if self.number == 1:
            return optimizer
        workers, weight = self, self.loss_weight(recipe)

        def of_all(*grads: np.ndarray) -> list[np.ndarray]:
            return workers.sum(grads)

        class OfAllWorkers(type(optimizer)):  # type: ignore[misc]
            def apply(self, grads: Any, trainable_variables: Any = None) -> None:
                here = [weight * tf.convert_to_tensor(grad) for grad in grads]
                summed = tf.numpy_function(of_all, here, [grad.dtype for grad in here])
                for total, grad in zip(summed, here, strict=True):
                    total.set_shape(grad.shape)
                super().apply(summed, trainable_variables)

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
        if not fits(content, TF_CONFIG):
            raise ValueError("its values have other names or types")
        chiefs, others = (content["cluster"].get(kind, []) for kind in ("chief", "worker"))
        addresses = [*chiefs, *others]
        matches = [ADDRESS.fullmatch(each) for each in addresses]
        if not all(match and int(match[2]) < 2**16 for match in matches):
            raise ValueError("its workers are not a list of addresses HOST:PORT")
        if len(set(addresses)) < len(addresses):
            raise ValueError("an address is there twice")
        kind, index = content["task"]["type"], content["task"]["index"]
        if not re.fullmatch("[0-9]{1,9}", str(index)):
            raise ValueError("the index of its task is not a whole number")
        if kind not in ("chief", "worker") or int(index) >= len(content["cluster"].get(kind, [])):
            raise ValueError("its task is none of its cluster's workers")
        index = int(index) + (len(chiefs) if kind == "worker" else 0)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise PipelineError(
            f"TF_CONFIG is {quoted(text, 100)}, expected a cluster of workers and a task ({why}); fix it or unset it."
        ) from None
    if len(addresses) > recipe.batch_size:
        raise PipelineError(
            f"{len(addresses)} workers cannot share a batch of {recipe.batch_size}; use a larger batch_size, or fewer."
        )
    return Workers(tuple(addresses), index)


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
        (total,) = self._workers.sum([np.array([logs[name] * weight for name, weight in self._weights.items()])])
        logs |= dict(zip(self._weights, total.tolist(), strict=True))
