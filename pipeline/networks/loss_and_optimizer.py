"""The loss and the optimizer of a recipe."""

from collections.abc import Callable

import keras
import tensorflow as tf

from pipeline.networks.count import SHARPNESS
from pipeline.recipe import Recipe

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def loss(recipe: Recipe, classes: int) -> Loss:
    """Softmax cross-entropy in nats, or the squared error of a count, reduced as the recipe says.

    Of targets (batch,) and logits (batch, classes), or of (batch, steps) and (batch, steps, classes). Weights of steps
    have a mean of 1.
    """

    def reduced(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(targets)
        targets = tf.cast(tf.reshape(targets, [-1]), tf.int32)
        logits = tf.reshape(logits, [-1, classes])
        if recipe.loss == "squared-error":
            losses = tf.gather(logits, targets, batch_dims=1) / -SHARPNESS  # of logits -sharpness (class - number)^2
        elif recipe.min_probability:
            probability = tf.gather(tf.nn.softmax(logits), targets, batch_dims=1)
            losses = -tf.math.log(tf.clip_by_value(probability, recipe.min_probability, 1.0))
        else:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        if recipe.step_power:
            weights = tf.range(1, shape[1] + 1, dtype=tf.float32) ** recipe.step_power
            losses *= tf.tile(weights / tf.reduce_mean(weights), shape[:1])
        if recipe.loss_reduction == "sum":
            return tf.reduce_sum(losses)
        return tf.reduce_mean(losses) / (classes if recipe.loss_reduction == "mean-over-classes" else 1)

    return reduced


class Accuracy(keras.metrics.SparseCategoricalAccuracy):  # type: ignore[misc]  # Keras has no types
    """The accuracy after the last step, of targets and logits as those of the loss."""

    def update_state(self, targets: tf.Tensor, logits: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Count a batch."""
        last = (targets[:, -1], logits[:, -1]) if logits.shape.rank == 3 else (targets, logits)
        super().update_state(*last, sample_weight)


def optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with a constant learning rate, or with one cycle over so many steps.

    One cycle rises to the peak in a fifth of the steps and falls to zero along half a cosine. Source: L. Smith, N.
    Topin, "Super-Convergence" (2018).
    """
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.learning_rate
    if recipe.schedule == "one-cycle":
        rate = one_cycle(recipe.learning_rate, steps)
    kind = OPTIMIZERS[recipe.optimizer]
    if recipe.proximal_l1:
        kind = _with_proximal_step(kind, recipe.proximal_l1)
    return kind(rate, global_clipnorm=recipe.global_clipnorm)


def _with_proximal_step(kind: type[keras.optimizers.Optimizer], strength: float) -> type[keras.optimizers.Optimizer]:
    """The optimizer with an L1 proximal step on the recurrent kernels after each of its own.

    The step is the exact solution for a penalty strength * |w|: each weight w moves by strength * learning rate towards
    zero, and stops there. A gradient step for that penalty would go past it. Source: N. Parikh, S. Boyd, "Proximal
    Algorithms" (2014), section 6.5.2, soft thresholding.
    """

    class Proximal(kind):  # type: ignore[misc]  # Keras has no types
        def apply(self, grads: list[tf.Tensor], trainable_variables: list[keras.Variable] | None = None) -> None:
            threshold = self._get_current_learning_rate() * strength
            super().apply(grads, trainable_variables)
            for weights in self._trainable_variables:
                if weights.name == "recurrent_kernel":
                    weights.assign(tf.sign(weights) * tf.maximum(tf.abs(weights) - threshold, 0.0))

    return Proximal


class Adam(keras.optimizers.Adam):  # type: ignore[misc]  # Keras has no types
    """Keras' Adam, whose step of each weight is one operation of TensorFlow, where Keras has a dozen."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Change a weight and its two moments."""
        index, step = self._get_variable_index(variable), tf.cast(self.iterations, tf.float32) + 1
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.convert_to_tensor(gradient),  # an embedding's has a row for each number read: here they are added
        )


class Muon(keras.optimizers.Muon):  # type: ignore[misc]  # Keras has no types
    """The kernels of hidden layers change by orthogonal matrices; biases, embeddings and the readout as with Adam.

    An orthogonal change has the same length in all directions, where a few directions rule Adam's. Source: K. Jordan et
    al., "Muon: An optimizer for hidden layers" (2024); J. Liu et al., "Muon is Scalable for LLM Training" (2025), whose
    scale lets the learning rates of Adam serve.
    """

    def __init__(self, learning_rate: object, **options: object):
        no_decay = {"weight_decay": None, "adam_weight_decay": None}
        super().__init__(learning_rate, exclude_layers=["logits", "count"], **no_decay, **options)


class TensorFlow1RMSprop(keras.optimizers.RMSprop):  # type: ignore[misc]  # Keras has no types
    """RMSprop as TensorFlow 1 had it: its mean squares start at one, so that the first steps are short."""

    def __init__(self, learning_rate: object, **options: object):
        super().__init__(learning_rate, epsilon=1e-10, **options)

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the state, and set the mean squares to one."""
        built = self.built
        super().build(variables)
        if not built:
            for mean_square in self._velocities:
                mean_square.assign(tf.ones_like(mean_square))


OPTIMIZERS = {
    "adam": Adam,
    "muon": Muon,
    "rmsprop": keras.optimizers.RMSprop,
    "rmsprop-tensorflow-1": TensorFlow1RMSprop,
}


def one_cycle(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate at each of `steps` steps: from peak / 25 up to peak, then down to zero."""
    warmup = steps // 5
    return keras.optimizers.schedules.CosineDecay(
        peak / 25, steps - warmup, alpha=0.0, warmup_target=peak, warmup_steps=warmup
    )
