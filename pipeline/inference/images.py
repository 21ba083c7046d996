"""The images that a model sees, in the terminal or in a file."""

from pathlib import Path

import numpy as np

from pipeline.files import write_atomic

SHADES = " ░▒▓█"  # from 0 to 255, each printed twice, since a character is twice as high as it is wide
LARGER = 8  # pixels of the file for one of the image


def blocks(image: np.ndarray) -> str:
    """An image uint8 (rows, columns) as lines of blocks: 0 is blank, 255 is full."""
    levels = np.minimum(image.astype(int) * len(SHADES) // 256, len(SHADES) - 1)
    return "\n".join("".join(2 * SHADES[level] for level in row).rstrip() for row in levels)


def save(images: list[np.ndarray], path: Path) -> None:
    """Write images of the same height into one PNG, side by side, enlarged, dark on white."""
    from PIL import Image

    row = np.hstack([np.pad(image, ((1, 1), (1, 1)), constant_values=96) for image in images])
    picture = Image.fromarray(255 - np.kron(row, np.ones((LARGER, LARGER), np.uint8)))
    write_atomic(path, lambda draft: picture.save(draft, "PNG"))
