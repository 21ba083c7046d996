"""The loss and the optimizer of a recipe."""

from collections.abc import Callable

import keras
import tensorflow as tf

from pipeline.config import Recipe

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def loss(recipe: Recipe, classes: int) -> Loss:
    """Softmax cross-entropy of targets (batch,) and logits (batch, classes) in nats, reduced as the recipe says."""

    def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        targets = tf.cast(tf.reshape(targets, [-1]), tf.int32)
        if recipe.min_probability:
            probability = tf.gather(tf.nn.softmax(logits), targets, batch_dims=1)
            losses = -tf.math.log(tf.clip_by_value(probability, recipe.min_probability, 1.0))
        else:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        if recipe.loss_reduction == "sum":
            return tf.reduce_sum(losses)
        return tf.reduce_mean(losses) / (classes if recipe.loss_reduction == "mean-over-classes" else 1)

    return cross_entropy


def optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Adam or RMSprop with a constant learning rate, or with one cycle.

    One cycle rises to the peak in a fifth of the steps and falls to zero along half a cosine. Source: L. Smith, N.
    Topin, "Super-Convergence" (2018).
    """
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.learning_rate
    if recipe.schedule == "one-cycle":
        rate = one_cycle(recipe.learning_rate, recipe.steps)
    return {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}[recipe.optimizer](rate)


def one_cycle(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate at each of `steps` steps: from peak / 25 up to peak, then down to zero."""
    warmup = steps // 5
    return keras.optimizers.schedules.CosineDecay(
        peak / 25, steps - warmup, alpha=0.0, warmup_target=peak, warmup_steps=warmup
    )
