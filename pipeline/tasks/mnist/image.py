"""Ink in the form that MNIST's images have.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": digits are fitted in a box of 20 x
20 pixels and centred by their centre of mass in 28 x 28.
"""

import numpy as np

SIDE = 28  # pixels of an image, each way
BOX = 20  # pixels of the box that the ink is fitted in
STROKE = 2.6  # pixels of that box: the width of a stroke in MNIST
FINE = 200  # pixels that a digit has at least while its strokes are measured


def thicken(ink: np.ndarray) -> np.ndarray:
    """Ink with strokes as thick as MNIST's; those of a thin pen would vanish in 20 x 20 pixels."""
    import cv2

    larger = FINE / max(ink.shape)
    if larger > 1:
        ink = cv2.resize(ink, None, fx=larger, fy=larger, interpolation=cv2.INTER_LINEAR)
    pixels = np.pad((ink > 0.5).astype(np.uint8), 1)
    if not pixels.any():
        return ink
    # In a stroke of width w, the distance to its edge is w / 4 on average.
    width = 4 * float(cv2.distanceTransform(pixels, cv2.DIST_L2, 5)[pixels > 0].mean())
    wanted = STROKE * max(ink.shape) / BOX
    more = round((wanted - width) / 2)  # pixels at each side
    if more < 1:
        return ink
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * more + 1, 2 * more + 1))
    return np.asarray(cv2.dilate(np.pad(ink, more), brush))


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
