"""Digits that take MNIST's place where it cannot be had.

Source: E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI repository, as scikit-learn ships it.
"""

import numpy as np

from pipeline.tasks.mnist.raw.image import fit

DATASET = "uci-digits"
TRAIN = 1500  # of the 1,797 digits; the last 297 test


def stand_in() -> dict[str, np.ndarray]:
    """uint8 arrays by MNIST's file names: images (digits, 28, 28), made of 8 x 8 pixels like MNIST's, and labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.stack([fit(image / 16) for image in digits.images])
    labels = digits.target.astype(np.uint8)
    return {
        "train-images-idx3-ubyte": images[:TRAIN],
        "train-labels-idx1-ubyte": labels[:TRAIN],
        "t10k-images-idx3-ubyte": images[TRAIN:],
        "t10k-labels-idx1-ubyte": labels[TRAIN:],
    }
