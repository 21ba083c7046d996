"""Exercise 3: the gradient of one unit, by hand."""

import numpy as np


def gradient(xs: np.ndarray, w: float, r: float, b: float) -> tuple[float, float, float]:
    """The derivatives of the last output by w, r and b, of the unit h = tanh(w x + r h' + b) that begins with h = 0.

    xs (steps,): what it reads.
    """
    outputs = [0.0]
    for x in xs:
        outputs.append(float(np.tanh(w * x + r * outputs[-1] + b)))
    of_w = of_r = of_b = 0.0
    of_output = 1.0  # the derivative of the last output by itself
    # Fill the gap: go back through the steps; the derivative of tanh is 1 - h h; what reaches h before is times r.
    raise NotImplementedError
    return of_w, of_r, of_b
