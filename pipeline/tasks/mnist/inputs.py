"""Picture files of one digit: any size, dark on light or light on dark."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, quoted
from pipeline.tasks.mnist.image import fit, ink

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000  # of a picture file


def encode(text: str, info: DatasetInfo) -> np.ndarray:
    """The pixels, uint8 (784,), of the digit in the picture file `text`."""
    return fit(ink(_open(text), quoted(text, 200))).reshape(-1)


def _open(path: str) -> "Image":
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = quoted(path, 200)
    try:
        if Path(path).exists() and not Path(path).is_file():  # a folder, or a pipe, which would block
            raise PipelineError(f"{name} is not a file; give the path of a picture of one digit.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is stricter
            with Image.open(path) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                picture.load()
                return ImageOps.exif_transpose(picture)
    except FileNotFoundError:
        raise PipelineError(f"{name} does not exist; give the path of a picture of one digit.") from None
    except Image.DecompressionBombError:
        raise PipelineError(f"{name} has more than {MAX_PIXELS:,} pixels; make it smaller.") from None
    except UnidentifiedImageError:
        size = Path(path).stat().st_size
        content = f"is not a picture ({size} bytes)" if size else "is empty"
        raise PipelineError(f"{name} {content}; give a PNG, JPEG, GIF, BMP, TIFF or WebP of one digit.") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for a damaged file
        raise PipelineError(
            f"{name} could not be read as a picture ({error}); give an undamaged picture of one digit."
        ) from None
