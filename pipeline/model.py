"""A network from params.yaml as a Keras model, with the loss and the optimizer that teach it."""

from collections.abc import Callable

import keras
import tensorflow as tf

from pipeline.config import Initial, Network, Recipe

KERAS_OWN = Initial(weights="glorot-uniform", deviation=None, bias=0.0)
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def build(
    network: Network, shape: tuple[int, int], classes: int, initial: Initial = KERAS_OWN, unroll: bool = False
) -> keras.Model:
    """The network for examples float32 (batch, steps, features); it gives logits (batch, classes).

    LSTMs are Keras' own, so that cuDNN serves them on a GPU: tanh and sigmoid, forget bias 1. Unrolled, they
    are a graph without a loop, which cuDNN does not serve.
    """
    weights, bias = _initialisers(initial)
    inputs = x = keras.Input(shape, name="sequence")  # (batch, steps, features)
    if network.dense:
        x = keras.layers.Dense(network.dense, kernel_initializer=weights(), bias_initializer=bias(), name="dense")(
            x
        )  # (batch, steps, dense)
    for depth, units in enumerate(network.lstm, start=1):
        last = depth == len(network.lstm)
        x = keras.layers.LSTM(units, return_sequences=not last, unroll=unroll, name=f"lstm_{depth}")(
            x
        )  # last: (batch, units)
        if network.dropout:
            x = keras.layers.Dropout(network.dropout, name=f"dropout_{depth}")(x)
    logits = keras.layers.Dense(classes, kernel_initializer=weights(), bias_initializer=bias(), name="logits")(x)
    return keras.Model(inputs, logits)


def _initialisers(initial: Initial) -> tuple[Callable[[], object], Callable[[], object]]:
    deviation = initial.deviation or 0.0  # params.yaml gives one wherever a normal is drawn
    weights = {
        "glorot-uniform": keras.initializers.GlorotUniform,
        "normal": lambda: keras.initializers.RandomNormal(stddev=deviation),
        "truncated-normal": lambda: keras.initializers.TruncatedNormal(stddev=deviation),
    }[initial.weights]
    if initial.bias == "normal":
        return weights, weights
    constant = initial.bias
    return weights, lambda: keras.initializers.Constant(constant)


def with_probabilities(model: keras.Model) -> keras.Model:
    """The model with a softmax behind its logits: it gives probabilities (batch, classes)."""
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    return keras.Model(model.input, probabilities)


def loss(recipe: Recipe, classes: int) -> Loss:
    """Softmax cross-entropy of classes (batch,) and logits (batch, classes), over the batch as the recipe says."""

    def cross_entropy(true: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        true = tf.cast(tf.reshape(true, [-1]), tf.int32)
        if recipe.clip:
            chosen = tf.gather(tf.nn.softmax(logits), true, batch_dims=1)
            each = -tf.math.log(tf.clip_by_value(chosen, recipe.clip, 1.0))
        else:
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(true, logits)
        if recipe.loss == "sum":
            return tf.reduce_sum(each)
        return tf.reduce_mean(each) / (classes if recipe.loss == "mean-over-classes" else 1)

    return cross_entropy


def optimizer(recipe: Recipe) -> keras.optimizers.Optimizer:
    """Adam or RMSprop, at a constant rate or along one cycle: up for a fifth of the steps, then down a half cosine."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.rate
    if recipe.schedule == "one-cycle":
        warmup = recipe.steps // 5
        rate = keras.optimizers.schedules.CosineDecay(
            recipe.rate / 25, recipe.steps - warmup, alpha=0.0, warmup_target=recipe.rate, warmup_steps=warmup
        )
    return {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}[recipe.optimizer](rate)
