"""The readout of a class that is a number: class 3 of "how many ones" lies between 2 and 4.

A softmax layer learns nothing about a class that it hardly saw. Here the cell state gives one number v, and the logit
of class k is -s (k - v)^2: the nearest number wins, and every example teaches all classes. The sharpness s stays as it
is while training; if it grew, the loss would no longer punish small deviations, which add up in longer sequences.
"""

import keras
import tensorflow as tf

SHARPNESS = 5.0


class CountLogits(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Numbers (..., 1) to logits (..., classes); its weight is the sharpness."""

    def __init__(self, classes: int, **options: object):
        super().__init__(**options)
        self.classes = classes

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Create the weight, which is not trained."""
        start = keras.initializers.Constant(SHARPNESS)
        self.sharpness = self.add_weight(name="sharpness", shape=(), initializer=start, trainable=False)

    def call(self, numbers: tf.Tensor) -> tf.Tensor:
        """Minus the squared distance to each class's number, times the sharpness."""
        distance = tf.range(self.classes, dtype=numbers.dtype) - numbers
        return -self.sharpness * distance * distance

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The last axis becomes the classes."""
        return (*input_shape[:-1], self.classes)
