"""MNIST's four files: find them, check them by their SHA-256, read them.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

import gzip
import hashlib
import logging
import os
import struct
import tempfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError, shortened
from pipeline.files import damaged, write_atomic
from pipeline.formats import write_json
from pipeline.paths import repro
from pipeline.tasks.mnist.raw.image import SIDE
from pipeline.tasks.mnist.raw.stand_in import DATASET as STAND_IN
from pipeline.tasks.mnist.raw.stand_in import stand_in

log = logging.getLogger(__name__)

SHA256 = {  # of each file, uncompressed
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FEWEST = 2  # images: one trains, one validates
TIMEOUT = 10  # seconds that a mirror may stay silent
AGAIN = repro("generate", "mnist", force=True)


def fetch(mirrors: list[str], folder: Path) -> None:
    """Write the four files and dataset.json from the first of: MNIST_DIR, Keras' cache, a mirror, the stand-in."""
    content, dataset = _find(mirrors), "mnist"
    if content is None:
        content, dataset = {name: idx(array) for name, array in stand_in().items()}, STAND_IN
        log.warning(
            "MNIST is not available; the digits that scikit-learn ships take its place, as the dataset %s; once you "
            "have MNIST's four files, run `MNIST_DIR=FOLDER %s && dvc repro`.",
            dataset,
            AGAIN,
        )
    for name, data in content.items():
        write_atomic(folder / name, partial(Path.write_bytes, data=data))
    write_json({"dataset": dataset, "stand_in": dataset == STAND_IN}, folder / "dataset.json")


def _find(mirrors: list[str]) -> dict[str, bytes] | None:
    folder = os.environ.get("MNIST_DIR")
    if folder:
        return {name: _check(name, *_from_folder(Path(folder), name)) for name in SHA256}
    home = os.path.expanduser("~")  # noqa: PTH111  # Path.home() raises an error for a user without a home
    cache = Path(os.environ.get("KERAS_HOME") or f"{home}/.keras") / "datasets" / "mnist.npz"
    if cache.is_file():
        try:
            return {name: _check(name, data, cache) for name, data in _from_keras(cache).items()}
        except Exception as error:  # NumPy's, of a file that is damaged or half loaded, have no class in common
            log.warning("could not read %s: %s", cache, shortened(str(error), 300))
    for mirror in mirrors:
        try:
            return {name: _from_mirror(mirror, name) for name in SHA256}
        except (OSError, ValueError, PipelineError) as error:  # unreachable, or not MNIST: try the next
            log.warning("could not get MNIST from %s: %s", mirror, shortened(str(error), 300))
    return None


def _check(name: str, data: bytes, source: Path | str) -> bytes:
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256[name]:
        raise PipelineError(
            f"{source} is not MNIST's {name}: its SHA-256 is {digest}, expected {SHA256[name]}; replace the file."
        )
    return data


def _from_folder(folder: Path, name: str) -> tuple[bytes, Path]:
    plain, zipped = folder / name, folder / f"{name}.gz"
    if plain.is_file():
        return plain.read_bytes(), plain
    if not zipped.is_file():
        raise PipelineError(f"MNIST_DIR is {str(folder)!r}, which contains neither {name} nor {name}.gz; add one.")
    return _unzip(zipped), zipped


def _unzip(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise PipelineError(f"{path} is not a complete gzip file ({error}); replace it.") from None


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
        # No known_hash: each mirror compresses in its own way. The hash is that of the uncompressed file.
        path = pooch.retrieve(
            f"{mirror.rstrip('/')}/{name}.gz",
            known_hash=None,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT),
        )
        return _check(name, _unzip(Path(path)), f"{mirror.rstrip('/')}/{name}.gz")


def idx(array: np.ndarray) -> bytes:
    """An array of bytes in the IDX format: 0, 0, 8 for unsigned bytes, the dimensions, their sizes, the data."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def load(folder: Path, subset: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 28, 28) and labels uint8 (n,) of `subset`, train or t10k, as `fetch` wrote them.

    Raises PipelineError if they are damaged.
    """
    images, labels = (folder / f"{subset}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    pixels = np.frombuffer(images.read_bytes()[16:], np.uint8)  # after the sizes of three dimensions
    digits = np.frombuffer(labels.read_bytes()[8:], np.uint8)
    if len(digits) < FEWEST or len(pixels) != len(digits) * SIDE * SIDE:
        raise damaged(images, AGAIN, f"{len(pixels)} pixels, {len(digits)} labels")
    return pixels.reshape(-1, SIDE, SIDE), digits
