"""The ink of a picture, and ink in the form that MNIST's images have.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": digits are fitted in a box of 20 x
20 pixels and centred by their centre of mass in 28 x 28.
"""

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 28  # pixels of an image, each way
BOX = 20  # pixels of the box that the ink is fitted in


def ink(picture: "Image", name: str) -> np.ndarray:
    """How much ink each pixel holds, float (height, width) of 0 to 1, whichever of ink and paper is darker.

    Raises PipelineError, with the picture's `name`, if it has only one colour.
    """
    alpha = np.asarray(picture.convert("RGBA"), float)[:, :, 3] / 255
    grey = np.asarray(picture if picture.mode[0] in "IF" else picture.convert("RGB").convert("L"), float)
    if alpha.min() < 1 and alpha.max() > 0:  # behind a transparent picture: paper of the other shade
        paper = 255.0 if np.average(grey, weights=alpha) < 127.5 else 0.0
        grey = grey * alpha + paper * (1 - alpha)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    contrast = np.abs(grey - np.median(edge))
    if not np.isfinite(contrast).all() or contrast.max() == 0:
        raise PipelineError(f"{name} has only one colour; give a picture of one digit, dark on light or light on dark.")
    grain = contrast < 0.1 * contrast.max()  # of the paper
    return np.where(grain, 0, contrast / contrast.max())


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
