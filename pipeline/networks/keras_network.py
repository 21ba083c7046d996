"""A network of params.yaml as a Keras model."""

from collections.abc import Callable

import keras
import tensorflow as tf

from pipeline.networks.count import CountLogits
from pipeline.networks.lstm import LSTM, Linear
from pipeline.recipe import Init, Network, Recipe

LOGITS = "logits"  # the name of the last layer
CELLS = {"gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}  # beside our own LSTM; rnn: Elman's, with tanh


def build(
    network: Network,
    recipe: Recipe,
    shape: tuple[int, int],
    classes: int,
    every_step: bool = False,
    unroll: bool = False,
) -> keras.Model:
    """The network for examples float32 (batch, steps, features) of this shape; it returns logits (batch, classes).

    every_step: logits (batch, steps, classes), as if the sequence had ended at each step. unroll: recurrent layers are
    a graph without a loop.
    """
    init = recipe.init
    kernel, bias = _initializers(init)
    inputs = x = keras.Input(shape, name="sequence")  # (batch, steps, features)
    if network.embedding:
        x = keras.layers.Reshape((shape[0],))(x)
        x = keras.layers.Embedding(classes, network.embedding, name="embedding")(x)  # (batch, steps, embedding)
    width, linear = x.shape[-1], None  # linear: the weights of a dense layer that an LSTM multiplies with its own
    if network.dense:
        merged = network.cell == "lstm" and network.dense >= width  # a narrow layer costs less by itself
        layer = Linear if merged else keras.layers.Dense
        dense = layer(network.dense, kernel_initializer=kernel(), bias_initializer=bias(), name="dense")(x)
        linear, x = (dense, x) if merged else (None, dense)
        width = network.dense
    for depth, units in enumerate(network.units, start=1):
        last = depth == len(network.units)
        options = {"return_sequences": every_step or not last, "name": network.layer_names[depth - 1]}
        if network.cell == "lstm":
            first = _recurrent_initializers(init, width, units)
            counts = last and recipe.readout == "count"
            x = LSTM(units, return_cells=counts, **first, **options)(x, linear=linear)
        else:
            x = CELLS[network.cell](units, unroll=unroll, **options)(x)
        width, linear = units, None
        # (batch, steps, units); without every_step, the last layer gives (batch, units)
        if recipe.dropout:
            x = keras.layers.Dropout(recipe.dropout, name=f"dropout_{depth}")(x)
    if recipe.readout == "count":
        number = keras.layers.Dense(1, kernel_initializer=kernel(), bias_initializer=bias(), name="count")(x)
        logits = CountLogits(classes, name=LOGITS)(number)
    else:
        logits = keras.layers.Dense(classes, kernel_initializer=kernel(), bias_initializer=bias(), name=LOGITS)(x)
    return keras.Model(inputs, logits)


class InHalves(keras.Model):  # type: ignore[misc]  # Keras has no types
    """A network that computes the two halves of each batch at the same time, one on each of two threads.

    Small matrix products gain little from a second thread; two independent chains of them do. The number of halves
    does not depend on the machine, so neither do the weights.
    """

    def __init__(self, network: keras.Model):
        super().__init__()
        self.network = network

    def call(self, sequence: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The network's outputs for sequences (batch, steps, features)."""
        if (sequence.shape[0] or 2) < 2 or tf.config.list_logical_devices("GPU"):
            return self.network(sequence, training=training)
        half = tf.shape(sequence)[0] // 2
        halves = sequence[:half], sequence[half:]
        return tf.concat([self.network(each, training=training) for each in halves], axis=0)


def with_probabilities(model: keras.Model) -> keras.Model:
    """The model with a softmax after its logits: it returns probabilities (batch, classes)."""
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    return keras.Model(model.input, probabilities)


def divide_logits(model: keras.Model, temperature: float) -> None:
    """Divide all logits that the model will give by `temperature`: above 1, its probabilities are less extreme."""
    layer = model.get_layer(LOGITS)  # its logits are proportional to its weights
    layer.set_weights([weights / temperature for weights in layer.get_weights()])


def _initializers(init: Init) -> tuple[Callable[[], object], Callable[[], object]]:
    """Functions that make a fresh kernel initializer and a fresh bias initializer: Keras seeds each one."""
    stddev = init.stddev or 0.0  # params.yaml has one wherever a normal distribution is used
    kernel = {
        "glorot-uniform": keras.initializers.GlorotUniform,
        "normal": lambda: keras.initializers.RandomNormal(stddev=stddev),
        "truncated-normal": lambda: keras.initializers.TruncatedNormal(stddev=stddev),
    }[init.kernel]
    if init.bias == "normal":
        return kernel, kernel
    constant = init.bias
    return kernel, lambda: keras.initializers.Constant(constant)


def _recurrent_initializers(init: Init, features: int, units: int) -> dict[str, object]:
    """The initializers of an LSTM that are not Keras' own."""
    first: dict[str, object] = {}
    if init.recurrent == "tensorflow-1":
        limit = (3 / (features + units)) ** 0.5
        for name in ("kernel_initializer", "recurrent_initializer"):
            first[name] = keras.initializers.RandomUniform(-limit, limit)
    elif init.recurrent == "zeros":
        first["recurrent_initializer"] = "zeros"
    if init.forget_bias != 1.0:
        first |= {"unit_forget_bias": False, "bias_initializer": _forget_bias(init.forget_bias, units)}
    return first


def _forget_bias(value: float, units: int) -> Callable[..., tf.Tensor]:
    def initializer(shape: tuple[int, ...], dtype: object = None) -> tf.Tensor:
        return tf.concat([tf.zeros(units), tf.fill([units], value), tf.zeros(2 * units)], axis=0)

    return initializer
