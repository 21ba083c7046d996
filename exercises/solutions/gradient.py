"""Exercise 3: the gradient of one unit, by hand."""

import numpy as np


def gradient(xs: np.ndarray, w: float, r: float, b: float) -> tuple[float, float, float]:
    """The derivatives of the last output by w, r and b, of the unit h = tanh(w x + r h' + b) that begins with h = 0.

    xs (steps,): what it reads. Each derivative is a sum over all steps, since each step uses the same w, r and b.
    """
    outputs = [0.0]  # one longer than xs: outputs[t + 1] is the output after xs[t]
    for x in xs:
        outputs.append(float(np.tanh(w * x + r * outputs[-1] + b)))
    of_w = of_r = of_b = 0.0
    of_output = 1.0  # the derivative of the last output by itself
    # gap: go back through the steps, the last one first, and add the share of each to the three sums;
    # the derivative of tanh is 1 - h h; what reaches the output before is multiplied by r
    for x, h, before in zip(xs[::-1], outputs[:0:-1], outputs[-2::-1], strict=True):
        of_sum = of_output * (1 - h * h)
        of_w += of_sum * float(x)
        of_r += of_sum * before
        of_b += of_sum
        of_output = of_sum * r
    # end
    return of_w, of_r, of_b
