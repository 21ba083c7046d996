"""Datasets that the repository does not hold. A test skips where one is missing, and fails where it is required.

MNIST: the folder that MNIST_DIR names, or Keras' cache; required if REQUIRE_MNIST is set.
The published story: the file that FABLE_TEXT names; required if REQUIRE_FABLE is set.
"""

import gzip
import os
import struct
from functools import cache
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

# Read when this module is imported: the tests run without these variables.
MNIST_DIR = os.environ.get("MNIST_DIR")
KERAS_CACHE = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets" / "mnist.npz"
FABLE_TEXT = os.environ.get("FABLE_TEXT")

MNIST = {  # each of MNIST's files, and its array in Keras' cache
    "train-images-idx3-ubyte": "x_train",
    "train-labels-idx1-ubyte": "y_train",
    "t10k-images-idx3-ubyte": "x_test",
    "t10k-labels-idx1-ubyte": "y_test",
}


@cache
def mnist() -> dict[str, bytes]:
    """The contents of MNIST's four files by name, uncompressed."""
    if MNIST_DIR:
        return {name: _read(Path(MNIST_DIR), name) for name in MNIST}
    if not KERAS_CACHE.is_file():
        _missing("REQUIRE_MNIST", "MNIST is not here; set MNIST_DIR to the folder of its four files")
    with np.load(KERAS_CACHE) as arrays:
        return {name: _idx(arrays[key]) for name, key in MNIST.items()}


def mnist_array(name: str) -> np.ndarray:
    """One of MNIST's files as an array uint8: images (n, 28, 28) or labels (n,)."""
    content = mnist()[name]
    start = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def published_text() -> str:
    """The story that the published programs learned."""
    if not FABLE_TEXT:
        _missing("REQUIRE_FABLE", "the published story is not here; set FABLE_TEXT to its file")
    return Path(FABLE_TEXT).read_text(encoding="utf-8")


def _read(folder: Path, name: str) -> bytes:
    plain = folder / name
    return plain.read_bytes() if plain.is_file() else gzip.decompress((folder / f"{name}.gz").read_bytes())


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def _missing(required: str, reason: str) -> NoReturn:
    if os.environ.get(required):
        pytest.fail(f"{reason} ({required} is set)")
    pytest.skip(reason)
