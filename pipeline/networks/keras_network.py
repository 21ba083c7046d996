"""A network of params.yaml as a Keras model."""

from collections.abc import Callable

import keras

from pipeline.config import Init, Network

KERAS_INIT = Init(kernel="glorot-uniform", stddev=None, bias=0.0)

# Keras' own layers with Keras' own defaults, so that cuDNN runs them on a GPU: tanh and sigmoid, an LSTM's forget bias
# of 1, a GRU that applies its reset gate after the recurrent product.
CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def build(
    network: Network, shape: tuple[int, int], classes: int, init: Init = KERAS_INIT, unroll: bool = False
) -> keras.Model:
    """The network for examples float32 (batch, steps, features) of this shape; it returns logits (batch, classes).

    Unrolled, recurrent layers are a graph without a loop, which cuDNN does not run.
    """
    kernel, bias = _initializers(init)
    inputs = x = keras.Input(shape, name="sequence")  # (batch, steps, features)
    if network.dense:
        dense = keras.layers.Dense(network.dense, kernel_initializer=kernel(), bias_initializer=bias(), name="dense")
        x = dense(x)  # (batch, steps, dense)
    for depth, units in enumerate(network.units, start=1):
        last = depth == len(network.units)
        name = network.layer_names[depth - 1]
        layer = CELLS[network.cell](units, return_sequences=not last, unroll=unroll, name=name)
        x = layer(x)  # (batch, steps, units); the last layer: (batch, units)
        if network.dropout:
            x = keras.layers.Dropout(network.dropout, name=f"dropout_{depth}")(x)
    logits = keras.layers.Dense(classes, kernel_initializer=kernel(), bias_initializer=bias(), name="logits")(x)
    return keras.Model(inputs, logits)


def with_probabilities(model: keras.Model) -> keras.Model:
    """The model with a softmax after its logits: it returns probabilities (batch, classes)."""
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    return keras.Model(model.input, probabilities)


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
