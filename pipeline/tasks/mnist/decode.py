"""A program: decode the picture on standard input, within limits of time and memory.

A picture file may be made to take hours or all memory, and decoders written in C crash on damaged ones. In a process of
its own, either ends that process alone. `inputs.py` runs it.

Writes a line of JSON, and then the bytes of the pixels: {"mode": "RGB", "RGBA" or "F", "size": [width, height]}. If the
picture can't be read, the line is {"problem": the sentence that says why, after the name of the file}.
"""

import contextlib
import io
import json
import logging
import resource
import sys
import warnings
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")  # Pillow opens others with programs such as Ghostscript
MAX_PIXELS, MAX_SIDE = 50_000_000, 20_000
SECONDS, GIGABYTES = 10, 2  # of processor time and of memory
ENOUGH = 1000  # pixels: a larger picture is read at this size
TOO_LARGE = f"has more than {MAX_PIXELS:,} pixels, or a side of more than {MAX_SIDE:,}; make it smaller."


def decode(file: BinaryIO) -> Image.Image:
    """The first picture of a file, upright, at most 1000 pixels wide and high. Raises ValueError if it can't be."""
    try:
        with _opened(file) as picture:
            if picture.width * picture.height > MAX_PIXELS or max(picture.size) > MAX_SIDE:
                raise ValueError(TOO_LARGE)
            picture.draft("RGB", (ENOUGH, ENOUGH))  # a JPEG is decoded at a smaller size
            return _small(_loaded(picture))
    except Image.DecompressionBombError:  # twice the pixels of Pillow's own limit
        raise ValueError(TOO_LARGE) from None
    except UnidentifiedImageError:
        size = file.seek(0, io.SEEK_END)
        content = f"is not a picture ({size} bytes)" if size else "is empty"
        raise ValueError(f"{content}; give a PNG, JPEG, GIF, BMP, TIFF or WebP of one digit.") from None


def _opened(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except (ValueError, OverflowError, SyntaxError) as error:  # what stands before the pixels is damaged, or too long
        raise _damaged(error) from None


def _damaged(error: Exception) -> ValueError:
    reason = getattr(error, "strerror", None) or str(error)[:100]
    return ValueError(f"could not be read as a picture ({reason}); give an undamaged picture of one digit.")


def _loaded(picture: Image.Image) -> Image.Image:
    try:
        picture.load()
        return ImageOps.exif_transpose(picture)
    except MemoryError:  # which ends this process, as more time does
        raise
    except Exception as error:  # Pillow's decoders raise errors of any class for a damaged file
        raise _damaged(error) from None


def _small(picture: Image.Image) -> Image.Image:
    if picture.mode[0] in "IF":  # grey of more than 8 bits
        picture = picture.convert("F")
        picture.thumbnail((ENOUGH, ENOUGH), reducing_gap=None)
    else:
        picture = picture.convert("RGBA" if "A" in picture.mode or "transparency" in picture.info else "RGB")
        picture.thumbnail((ENOUGH, ENOUGH))
    return picture


def main() -> None:
    """Read standard input, write standard output; what libraries say of damage is dropped."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    with contextlib.suppress(ValueError):  # macOS refuses it, and so does Linux above a limit that is set already
        resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
    try:
        picture = decode(io.BytesIO(sys.stdin.buffer.read()))
        head, pixels = {"mode": picture.mode, "size": picture.size}, picture.tobytes()
    except ValueError as error:
        head, pixels = {"problem": str(error)}, b""
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + pixels)


if __name__ == "__main__":
    main()
