"""Ink in the form that MNIST's images have.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": digits are fitted in a box of 20 x
20 pixels and centred by their centre of mass in 28 x 28.
"""

import numpy as np

SIDE = 28  # pixels of an image, each way
BOX = 20  # pixels of the box that the ink is fitted in


def fit(ink: np.ndarray) -> np.ndarray:
    """Ink of 0 to 1, any (height, width), as an image uint8 (28, 28) of 0 to 255."""
    from PIL import Image

    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    resized = Image.fromarray((255 * ink).astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    small = np.clip(np.asarray(resized), 0, 255)
    small = np.rint(255 * small / small.max())
    image = np.zeros((SIDE, SIDE), np.uint8)
    top = _start(small.sum(axis=1))
    left = _start(small.sum(axis=0))
    image[top : top + height, left : left + width] = small
    return image


def _start(mass: np.ndarray) -> int:
    """The pixel at which a strip of this mass starts, so that its centre of mass is pixel 14 of 28, as in MNIST."""
    centre = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return min(max(int(np.floor(SIDE / 2 - centre + 0.5)), 0), SIDE - len(mass))
