"""MNIST's four files: found, checked by their sums, read; or replaced by a stand-in that says what it is.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits". Stand-in: E. Alpaydin, C. Kaynak,
"Optical recognition of handwritten digits", UCI repository, as scikit-learn ships it.
"""

import gzip
import hashlib
import logging
import os
import struct
import tempfile
import warnings
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.data import write_json, write_whole
from pipeline.errors import BadInput

SUMS = {  # SHA-256 of each file, uncompressed
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
SECONDS = 10  # that a mirror may stay silent
AGAIN = "MNIST_DIR=FOLDER dvc repro --force generate@mnist && dvc repro"


def fetch(mirrors: list[str], folder: Path) -> None:
    """Write the four files and dataset.json from the first of: MNIST_DIR, Keras' cache, a mirror, the stand-in."""
    content, dataset = _find(mirrors), "mnist"
    if content is None:
        content, dataset = stand_in(), "uci-digits"
        warnings.warn(
            "MNIST could not be had; the digits that scikit-learn ships stand in for it, as the data set uci-digits; "
            f"once you have MNIST's four files, run `{AGAIN}`.",
            stacklevel=2,
        )
    for name, data in content.items():
        write_whole(folder / name, partial(Path.write_bytes, data=data))
    write_json({"dataset": dataset}, folder / "dataset.json")


def _find(mirrors: list[str]) -> dict[str, bytes] | None:
    named = os.environ.get("MNIST_DIR")
    if named:
        return {name: _checked(name, *_from_folder(Path(named), name)) for name in SUMS}
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets" / "mnist.npz"
    if cache.is_file():
        return {name: _checked(name, data, cache) for name, data in _from_keras(cache).items()}
    for mirror in mirrors:
        try:
            return {name: _from_mirror(mirror, name) for name in SUMS}
        except (OSError, ValueError, BadInput) as error:  # unreachable, or not what it should be: ask the next
            warnings.warn(f"{mirror} did not give MNIST: {str(error)[:300]}", stacklevel=2)
    return None


def _checked(name: str, data: bytes, source: Path | str) -> bytes:
    got = hashlib.sha256(data).hexdigest()
    if got != SUMS[name]:
        raise BadInput(
            f"{source} is not MNIST's {name}: its SHA-256 is {got}, expected {SUMS[name]}; put the right file there."
        )
    return data


def _from_folder(folder: Path, name: str) -> tuple[bytes, Path]:
    plain, zipped = folder / name, folder / f"{name}.gz"
    if plain.is_file():
        return plain.read_bytes(), plain
    if not zipped.is_file():
        raise BadInput(f"MNIST_DIR is {str(folder)!r}, which holds neither {name} nor {name}.gz; put one there.")
    return _unzipped(zipped), zipped


def _unzipped(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"{path} is not a whole gzip file ({error}); put the right file there.") from None


def _from_keras(path: Path) -> dict[str, bytes]:
    with np.load(path, allow_pickle=False) as arrays:
        return {
            "train-images-idx3-ubyte": idx(arrays["x_train"]),
            "train-labels-idx1-ubyte": idx(arrays["y_train"]),
            "t10k-images-idx3-ubyte": idx(arrays["x_test"]),
            "t10k-labels-idx1-ubyte": idx(arrays["y_test"]),
        }


def _from_mirror(mirror: str, name: str) -> bytes:
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        # No known_hash: mirrors zip afresh. The uncompressed file is what the sum is of.
        path = pooch.retrieve(
            f"{mirror.rstrip('/')}/{name}.gz",
            known_hash=None,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=SECONDS),
        )
        return _checked(name, _unzipped(Path(path)), f"{mirror.rstrip('/')}/{name}.gz")


def stand_in() -> dict[str, bytes]:
    """The 1,797 digits of 8 x 8 that scikit-learn ships, made like MNIST's; the last 297 test."""
    from sklearn.datasets import load_digits

    from pipeline.tasks.mnist import fit

    digits = load_digits()
    images = np.stack([fit(image / 16) for image in digits.images])
    labels = digits.target.astype(np.uint8)
    return {
        "train-images-idx3-ubyte": idx(images[:1500]),
        "train-labels-idx1-ubyte": idx(labels[:1500]),
        "t10k-images-idx3-ubyte": idx(images[1500:]),
        "t10k-labels-idx1-ubyte": idx(labels[1500:]),
    }


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the IDX format: 0, 0, 8 for unsigned bytes, the dimensions, their sizes, the data."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def load(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 28, 28) and labels uint8 (n,) of `part`, train or t10k; BadInput names a file and row."""
    image_path, label_path = folder / f"{part}-images-idx3-ubyte", folder / f"{part}-labels-idx1-ubyte"
    images, labels = _read_idx(image_path, 3), _read_idx(label_path, 1)
    _expect(images.shape[1:] == (28, 28), f"{image_path} holds images of {images.shape[1:]}, expected 28 x 28")
    _expect(
        len(images) == len(labels),
        f"{label_path} ends at row {len(labels)}, expected a label for each of {len(images)} images",
    )
    strange = np.flatnonzero(labels > 9)
    if strange.size:
        _expect(False, f"{label_path}, row {strange[0]}: the label is {labels[strange[0]]}, expected 0 to 9")
    return images, labels


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    data = path.read_bytes() if path.is_file() else b""
    start = 4 + 4 * dimensions
    _expect(
        len(data) > start and data[:4] == bytes([0, 0, 8, dimensions]), f"{path} is no IDX file of {dimensions} axes"
    )
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    size = int(np.prod(shape, dtype=object))
    _expect(len(data) - start == size, f"{path} holds {len(data) - start} bytes of data, expected {size} for {shape}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BadInput(f"{otherwise}; make it again with `dvc repro --force generate@mnist`.")
