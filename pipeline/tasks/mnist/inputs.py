"""Picture files of digits: photos, scans, drawings; any size, any two colours."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, quoted
from pipeline.tasks import inputs
from pipeline.tasks.mnist.raw.image import SIDE, fit

DECODER = Path(__file__).with_name("decode.py")
LARGEST = 400_000_000  # bytes of a file


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

        found = ink.digits(_colours(_pixels(given)), all_ink=isinstance(given, inputs.Drawing))
        if not found:
            raise PipelineError(
                f"no digit found in {_name(given)}; give a picture of a digit, dark on light or light on dark."
            )
        return [fit(digit).reshape(-1) for digit in found]

    def measures(self, code: np.ndarray, info: DatasetInfo) -> dict[str, float | str]:
        """The share of the image that is ink, and how far the digit leans: its columns' shift for each row down."""
        image = code.reshape(SIDE, SIDE) / 255.0
        rows, columns = np.indices(image.shape)
        ink = max(float(image.sum()), 1e-9)
        row, column = (rows * image).sum() / ink, (columns * image).sum() / ink
        spread = max(float(((rows - row) ** 2 * image).sum()), 1e-9)
        return {"ink": ink / image.size, "slant": float(((rows - row) * (columns - column) * image).sum()) / spread}

    def image(self, code: np.ndarray, info: DatasetInfo) -> np.ndarray:
        """The image uint8 (28, 28) that a code (784,) stands for: what the model sees."""
        return code.reshape(SIDE, SIDE)


def _name(given: str | bytes) -> str:
    return quoted(given, 200) if isinstance(given, str) else "the file"


def _pixels(given: str | bytes) -> np.ndarray:
    """A picture, at most 1000 pixels wide and high: uint8 (height, width, 3 or 4), or float32 (height, width) of grey.

    Raises PipelineError if it can't be read.
    """
    name = _name(given)
    content = given if isinstance(given, bytes) else _content(given, name)
    decoded = subprocess.run([sys.executable, "-P", DECODER], input=content, capture_output=True, check=False)
    line, _, values = decoded.stdout.partition(b"\n")
    if decoded.returncode:  # it was stopped at its limits, or crashed
        raise PipelineError(f"{name} could not be decoded in 10 seconds and 2 GB; save it as a PNG.")
    head = json.loads(line)
    if "problem" in head:
        raise PipelineError(f"{name} {head['problem']}")
    width, height = head["size"]
    if head["mode"] == "F":
        return np.frombuffer(values, np.float32).reshape(height, width)
    return np.frombuffer(values, np.uint8).reshape(height, width, -1)


def _content(path: str, name: str) -> bytes:
    try:
        if Path(path).exists() and not Path(path).is_file():  # a folder; a pipe, which would block
            raise PipelineError(f"{name} is not a file; give the path of a picture of one digit.")
        if Path(path).stat().st_size > LARGEST:
            raise PipelineError(f"{name} has more than {LARGEST // 10**6} MB; make the picture smaller.")
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise PipelineError(f"{name} does not exist; give the path of a picture of one digit.") from None
    except (OSError, ValueError) as error:  # ValueError: no path can be this
        reason = getattr(error, "strerror", None) or error
        raise PipelineError(f"{name} could not be read ({reason}); give the path of a picture of one digit.") from None


def _colours(pixels: np.ndarray) -> np.ndarray:
    """The colours uint8 (height, width, 3) of pixels; deep grey is spread over 0 to 255, transparency becomes paper."""
    if pixels.ndim == 2:
        grey = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        low, high = grey.min(), grey.max()
        scaled = 255 * (grey - low) / max(high - low, 1e-9)
        return np.repeat(np.rint(scaled).astype(np.uint8)[:, :, None], 3, axis=2)
    colours, alpha = pixels[:, :, :3], pixels[:, :, 3:] / 255
    if not alpha.size or alpha.max() == 0:
        return colours
    paper = 255.0 if np.average(colours.mean(axis=2), weights=alpha[:, :, 0]) < 127.5 else 0.0  # of the other shade
    return np.rint(colours * alpha + paper * (1 - alpha)).astype(np.uint8)
