"""Picture files of digits: photos, scans, drawings; any size, any two colours."""

import io
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, quoted, shortened, standard_error_to
from pipeline.tasks import inputs
from pipeline.tasks.mnist.raw.image import SIDE, fit

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")  # Pillow opens others with programs such as Ghostscript
MAX_PIXELS, MAX_SIDE = 50_000_000, 20_000  # of a picture file
MAX_WEBP = 25_000_000  # pixels of a WebP, which takes several times the memory
MAX_SCANS = 100  # of a JPEG, each of which takes the time of a whole picture; cameras and programs write about ten
ENOUGH = 1000  # pixels: a larger picture is read at this size
_no_lines = logging.NullHandler()
_standard_error = threading.Lock()  # of a process that predicts in several threads


class Inputs(inputs.Inputs):
    """A picture file, and each digit in it as 28 x 28 pixels."""

    help = "the path of a picture of a digit, such as docs/seven.png"
    reads_files = True
    several = True

    def encode(self, given: str | bytes, info: DatasetInfo) -> np.ndarray:
        """The pixels, uint8 (784,), of the only digit in a picture file."""
        digits = self.encode_all(given, info)
        if len(digits) > 1:
            raise PipelineError(
                f"{_name(given)} shows {len(digits)} digits, expected one; use --digits to read all of them."
            )
        return digits[0]

    def encode_all(self, given: str | bytes, info: DatasetInfo) -> list[np.ndarray]:
        """The pixels, uint8 (784,), of each digit in a picture file, left to right; at least one. A Drawing has one."""
        from pipeline.tasks.mnist import ink

        found = ink.digits(_colours(_open(given)), all_ink=isinstance(given, inputs.Drawing))
        if not found:
            raise PipelineError(
                f"no digit found in {_name(given)}; give a picture of a digit, dark on light or light on dark."
            )
        return [fit(digit).reshape(-1) for digit in found]

    def image(self, code: np.ndarray, info: DatasetInfo) -> np.ndarray:
        """The image uint8 (28, 28) that a code (784,) stands for: what the model sees."""
        return code.reshape(SIDE, SIDE)


def _colours(picture: "Image") -> np.ndarray:
    """The colours uint8 (height, width, 3) of a picture of at most 1000 pixels; what is transparent becomes paper."""
    if picture.mode[0] in "IF":  # grey of more than 8 bits
        return _of_deep_grey(picture.convert("F"))
    if "A" not in picture.mode and "transparency" not in picture.info:
        picture = picture.convert("RGB")
        picture.thumbnail((ENOUGH, ENOUGH))
        return np.asarray(picture)
    picture = picture.convert("RGBA")
    picture.thumbnail((ENOUGH, ENOUGH))
    layers = np.asarray(picture, np.float64)
    colours, alpha = layers[:, :, :3], layers[:, :, 3:] / 255
    if alpha.max() == 0:
        return colours.astype(np.uint8)
    paper = 255.0 if np.average(colours.mean(axis=2), weights=alpha[:, :, 0]) < 127.5 else 0.0  # of the other shade
    return np.rint(colours * alpha + paper * (1 - alpha)).astype(np.uint8)


def _of_deep_grey(picture: "Image") -> np.ndarray:
    """Grey of any range, spread over 0 to 255."""
    picture.thumbnail((ENOUGH, ENOUGH), reducing_gap=None)
    grey = np.nan_to_num(np.asarray(picture, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = grey.min(), grey.max()
    scaled = 255 * (grey - low) / max(high - low, 1e-9)
    return np.repeat(np.rint(scaled).astype(np.uint8)[:, :, None], 3, axis=2)


def _name(given: str | bytes) -> str:
    return quoted(given, 200) if isinstance(given, str) else "the file"


@contextmanager
def _without_lines_of_libtiff(picture: "Image") -> Iterator[None]:
    """While a TIFF is decoded, drop what the C library writes to standard error beside the error that Pillow raises."""
    if picture.format != "TIFF":
        yield
        return
    with _standard_error, Path(os.devnull).open("wb") as nowhere, standard_error_to(nowhere):
        yield


def _scans(given: str | bytes) -> int:
    """How many scans a JPEG has: its markers of their beginnings, which compressed data cannot contain."""
    content = Path(given).read_bytes() if isinstance(given, str) else given
    return content.count(b"\xff\xda")


def _open(given: str | bytes) -> "Image":
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = _name(given)
    try:
        if isinstance(given, str) and Path(given).exists() and not Path(given).is_file():  # a folder; a pipe, to block
            raise PipelineError(f"{name} is not a file; give the path of a picture of one digit.")
        logging.getLogger("PIL").addHandler(_no_lines)  # else it prints what is wrong with a TIFF
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, for which the limit below is stricter, and of damage
            with Image.open(given if isinstance(given, str) else io.BytesIO(given), formats=FORMATS) as picture:
                most = MAX_WEBP if picture.format == "WEBP" else MAX_PIXELS
                if picture.width * picture.height > most or max(picture.size) > MAX_SIDE:
                    raise PipelineError(
                        f"{name} has more than {most:,} pixels, or a side of more than {MAX_SIDE:,}; make it smaller."
                    )
                if picture.format in ("JPEG", "MPO") and _scans(given) > MAX_SCANS:  # MPO: several JPEGs in one file
                    raise PipelineError(f"{name} has more than {MAX_SCANS} scans; save it as a PNG.")
                picture.draft("RGB", (ENOUGH, ENOUGH))  # a JPEG is decoded at a smaller size
                with _without_lines_of_libtiff(picture):
                    picture.load()
                return ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise PipelineError(f"{name} does not exist; give the path of a picture of one digit.") from None
    except Image.DecompressionBombError:  # twice the pixels of Pillow's own limit
        raise PipelineError(f"{name} has more than {MAX_PIXELS:,} pixels; make it smaller.") from None
    except UnidentifiedImageError:
        size = Path(given).stat().st_size if isinstance(given, str) else len(given)
        content = f"is not a picture ({size} bytes)" if size else "is empty"
        raise PipelineError(f"{name} {content}; give a PNG, JPEG, GIF, BMP, TIFF or WebP of one digit.") from None
    except PipelineError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of any class for a damaged file
        reason = getattr(error, "strerror", None) or shortened(str(error), 100)
        raise PipelineError(
            f"{name} could not be read as a picture ({reason}); give an undamaged picture of one digit."
        ) from None
