"""Exercise 2: an LSTM of one unit that counts ones, with weights that you set by hand."""

import numpy as np


def weights() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A kernel (1, 4), recurrent (1, 4) and bias (4,) of one unit: input gate, forget gate, candidate, output gate.

    After a string of zeros and ones, the cell state is the number of its ones.
    """
    # gap: make c = f c + i g become c = c + x, with gates of 0 or 1: sigmoid(40) and tanh(40) are 1,
    # sigmoid(-40) is 0, sigmoid(0) is 0.5. A gate's sum is kernel * x + recurrent * h + bias
    kernel = np.array([[80.0, 0.0, 0.0, 0.0]])  # the input gate opens for a one: 80 - 40
    recurrent = np.zeros((1, 4))
    bias = np.array([-40.0, 40.0, 40.0, 0.0])  # the forget gate stays open; the candidate is tanh(40) = 1
    return kernel, recurrent, bias
    # end
