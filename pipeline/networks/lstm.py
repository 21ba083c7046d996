"""An LSTM layer for CPUs: Keras' layer with another computation of the same outputs and gradients.

Keras runs one small graph per time step inside a loop and adds up the weights' gradients step by step. Here one
operation of TensorFlow reads the whole sequence, which suits predictions and small layers. Large layers train with a
graph whose steps are unrolled: the product with the inputs, and each gradient of the weights, is one matrix product
over all of them. A linear layer before the LSTM is multiplied into its kernel. `python -m bench` compares all of this
with Keras. On a GPU, Keras' own layer runs, which cuDNN computes.

Source: S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory" (1997); F. Gers et al., "Learning to Forget" (2000).
"""

from typing import Any

import keras
import tensorflow as tf

SMALL = 64  # units of a layer that one operation trains as fast


class LSTM(keras.layers.LSTM):  # type: ignore[misc]  # Keras has no types
    """Keras' LSTM with its weights. `return_cells` returns the cell states (batch, steps, units) instead of outputs."""

    def __init__(self, units: int, return_cells: bool = False, **options: Any):
        super().__init__(units, **options)
        self.return_cells = return_cells
        self.supports_jit = False  # as part of a whole network: XLA does not know the operation of one sequence

    def call(
        self,
        sequences: tf.Tensor,
        linear: Any = None,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Outputs (batch, units), or (batch, steps, units) with `return_sequences`, of (batch, steps, features).

        linear: the kernel and the bias of a `Linear` layer before this one. Its kernel is multiplied with this layer's,
        once for all sequences and steps.
        """
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        if on_gpu and not self.return_cells:
            read = sequences @ linear[0] + linear[1] if linear else sequences
            return super().call(read, initial_state, mask, training)
        compute = unrolled if on_gpu or (training and self.units > SMALL) else whole_sequence
        weights = self.cell.kernel, self.cell.recurrent_kernel, self.cell.bias
        kernel, recurrent_kernel, bias = (tf.convert_to_tensor(each) for each in weights)
        if linear:
            bias += tf.linalg.matvec(kernel, linear[1], transpose_a=True)
            kernel = linear[0] @ kernel
        outputs, cells = compute(sequences, kernel, recurrent_kernel, bias)
        states = cells if self.return_cells else outputs  # (steps, batch, units)
        return tf.transpose(states, [1, 0, 2]) if self.return_sequences else states[-1]

    def build(self, sequences_shape: tuple[int, ...], linear_shape: Any = None) -> None:
        """Make the weights, which read what a linear layer gives, if there is one."""
        super().build((*sequences_shape[:-1], linear_shape[0][-1]) if linear_shape else sequences_shape)

    def compute_output_shape(self, sequences_shape: tuple[int, ...], linear_shape: Any = None) -> Any:
        """One tensor, whichever states it holds."""
        batch, steps = sequences_shape[:2]
        return (batch, steps, self.units) if self.return_sequences else (batch, self.units)


class Linear(keras.layers.Dense):  # type: ignore[misc]  # Keras has no types
    """A dense layer without an activation, which leaves its product to the LSTM that follows it."""

    def call(self, sequences: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Its kernel (features, units) and its bias (units,)."""
        return tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias)

    def compute_output_shape(self, sequences_shape: tuple[int, ...]) -> Any:
        """The shapes of both."""
        return (sequences_shape[-1], self.units), (self.units,)


def whole_sequence(inputs: tf.Tensor, kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor) -> Any:
    """Outputs and cell states, each (steps, batch, units), from zero states.

    inputs (batch, steps, features), `steps` known when the graph is built; kernel (features, 4 units), recurrent_kernel
    (units, 4 units) and bias (4 units,) with the gates in Keras' order: input, forget, candidate, output.
    """
    steps, units = inputs.shape[1], recurrent_kernel.shape[0]
    states, no_peepholes = tf.zeros([tf.shape(inputs)[0], units]), tf.zeros([units])
    # The operation's order of gates: input, candidate, forget, output. That of BlockLSTMV2 is Keras', but TensorFlow
    # 2.21 registers a gradient for it that takes the weights in this one.
    i, f, g, o = tf.split(tf.concat([kernel, recurrent_kernel, bias[None]], axis=0), 4, axis=1)
    weights = tf.concat([i, g, f, o], axis=1)
    computed = tf.raw_ops.BlockLSTM(
        seq_len_max=tf.constant(steps, tf.int64),
        x=tf.transpose(inputs, [1, 0, 2]),
        cs_prev=states,
        h_prev=states,
        w=weights[:-1],
        wci=no_peepholes,
        wcf=no_peepholes,
        wco=no_peepholes,
        b=weights[-1],
        forget_bias=0.0,  # not added to the bias
        cell_clip=0.0,  # not clipped
    )
    return computed.h, computed.cs


@tf.custom_gradient  # type: ignore[untyped-decorator]
def unrolled(inputs: tf.Tensor, kernel: tf.Tensor, recurrent_kernel: tf.Tensor, bias: tf.Tensor) -> Any:
    """The same as `whole_sequence`."""
    steps, features = inputs.shape[1], inputs.shape[2]
    batch = tf.shape(inputs)[0]
    rows = tf.reshape(tf.transpose(inputs, [1, 0, 2]), [-1, features])  # (steps batch, features)
    projected = tf.split(tf.nn.bias_add(rows @ kernel, bias), steps)  # steps of (batch, 4 units)
    gates: list[list[tf.Tensor]] = []  # each (batch, units), as are those of the next three lists
    cells: list[tf.Tensor] = []
    squashed: list[tf.Tensor] = []  # tanh of the cells
    outputs: list[tf.Tensor] = []
    for step in range(steps):
        z = projected[step] + outputs[-1] @ recurrent_kernel if step else projected[0]
        i, f, g, o = tf.split(z, 4, axis=1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        gates.append([i, f, g, o])
        cells.append(f * cells[-1] + i * g if step else i * g)
        squashed.append(tf.tanh(cells[-1]))
        outputs.append(o * squashed[-1])

    def gradient(of_outputs: tf.Tensor, of_cells: tf.Tensor) -> tuple[tf.Tensor, ...]:
        of_outputs, of_cells = tf.unstack(of_outputs), tf.unstack(of_cells)
        of_z: list[tf.Tensor] = [None] * steps  # each (batch, 4 units)
        through = tf.zeros_like(of_cells[-1])  # of a cell, through the one after it
        for step in reversed(range(steps)):
            (i, f, g, o), tanh_c = gates[step], squashed[step]
            of_output = of_outputs[step]
            if step + 1 < steps:
                of_output += tf.matmul(of_z[step + 1], recurrent_kernel, transpose_b=True)
            of_cell = of_cells[step] + tf.raw_ops.TanhGrad(y=tanh_c, dy=of_output * o) + through
            of_gates = [
                tf.raw_ops.SigmoidGrad(y=i, dy=of_cell * g),
                tf.raw_ops.SigmoidGrad(y=f, dy=of_cell * cells[step - 1]) if step else tf.zeros_like(f),
                tf.raw_ops.TanhGrad(y=g, dy=of_cell * i),
                tf.raw_ops.SigmoidGrad(y=o, dy=of_output * tanh_c),
            ]
            of_z[step], through = tf.concat(of_gates, axis=1), of_cell * f
        of_rows_z = tf.concat(of_z, axis=0)  # (steps batch, 4 units)
        of_rows = tf.reshape(tf.matmul(of_rows_z, kernel, transpose_b=True), [steps, batch, features])
        of_recurrent = tf.zeros_like(recurrent_kernel)
        if steps > 1:
            of_recurrent = tf.matmul(tf.concat(outputs[:-1], axis=0), of_rows_z[batch:], transpose_a=True)
        return (
            tf.transpose(of_rows, [1, 0, 2]),
            tf.matmul(rows, of_rows_z, transpose_a=True),
            of_recurrent,
            tf.reduce_sum(of_rows_z, axis=0),
        )

    return (tf.stack(outputs), tf.stack(cells)), gradient
