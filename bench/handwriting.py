"""Pictures of handwritten digits, rendered: strokes of a pen on paper, in bad light, through a camera.

Every picture comes from its seed alone. Its difficulty goes from 1, a scan or a clean drawing, to 3, a photo with
shadows, lined paper and a table's edge.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

Points = list[tuple[float, float]]  # x to the right, y down, each 0 to 1 in the digit's box

# Each digit as people write it, in one or more ways; each way is one or more strokes.
STROKES: dict[int, list[list[Points]]] = {
    0: [
        [[(0.5, 0), (0.12, 0.2), (0.05, 0.55), (0.25, 0.95), (0.6, 1), (0.92, 0.7), (0.9, 0.25), (0.5, 0)]],
        [
            [
                (0.62, 0.03),
                (0.2, 0.1),
                (0.03, 0.5),
                (0.2, 0.92),
                (0.55, 1),
                (0.88, 0.8),
                (0.97, 0.4),
                (0.7, 0.06),
                (0.45, 0.06),
            ]
        ],
    ],
    1: [
        [[(0.5, 0), (0.5, 0.5), (0.48, 1)]],
        [[(0.3, 0.22), (0.42, 0.12), (0.55, 0)], [(0.55, 0), (0.54, 0.5), (0.52, 1)]],
    ],
    2: [
        [
            [(0.1, 0.22), (0.3, 0.02), (0.7, 0.02), (0.88, 0.25), (0.7, 0.52), (0.35, 0.8), (0.08, 0.98)],
            [(0.08, 0.98), (0.5, 0.97), (0.95, 0.96)],
        ],
        [
            [
                (0.12, 0.2),
                (0.4, 0),
                (0.8, 0.12),
                (0.78, 0.42),
                (0.45, 0.75),
                (0.12, 0.95),
                (0.15, 0.8),
                (0.35, 0.85),
                (0.6, 0.97),
                (0.95, 0.92),
            ]
        ],
    ],
    3: [
        [
            [(0.12, 0.12), (0.45, 0), (0.8, 0.12), (0.78, 0.35), (0.4, 0.46)],
            [(0.4, 0.46), (0.85, 0.58), (0.88, 0.82), (0.5, 1), (0.1, 0.88)],
        ],
        [
            [
                (0.15, 0.08),
                (0.5, 0.01),
                (0.82, 0.2),
                (0.6, 0.42),
                (0.38, 0.47),
                (0.7, 0.5),
                (0.9, 0.72),
                (0.6, 0.98),
                (0.1, 0.92),
            ]
        ],
    ],
    4: [
        [
            [(0.4, 0), (0.25, 0.3), (0.08, 0.6)],
            [(0.08, 0.6), (0.5, 0.6), (0.95, 0.58)],
            [(0.68, 0.25), (0.67, 0.6), (0.65, 1)],
        ],
        [
            [(0.7, 0), (0.4, 0.32), (0.05, 0.66)],
            [(0.05, 0.66), (0.5, 0.66), (0.95, 0.64)],
            [(0.7, 0), (0.69, 0.5), (0.68, 1)],
        ],
    ],
    5: [
        [
            [(0.85, 0.02), (0.5, 0.02), (0.22, 0.03)],
            [(0.22, 0.03), (0.19, 0.25), (0.17, 0.45)],
            [(0.17, 0.45), (0.5, 0.36), (0.85, 0.52), (0.85, 0.82), (0.5, 1), (0.1, 0.9)],
        ],
        [
            [(0.3, 0.06), (0.25, 0.25), (0.2, 0.44), (0.55, 0.4), (0.86, 0.6), (0.75, 0.92), (0.35, 1), (0.08, 0.9)],
            [(0.3, 0.06), (0.6, 0.04), (0.92, 0.0)],
        ],
    ],
    6: [
        [
            [
                (0.75, 0),
                (0.4, 0.2),
                (0.12, 0.55),
                (0.15, 0.88),
                (0.5, 1),
                (0.85, 0.82),
                (0.8, 0.58),
                (0.5, 0.48),
                (0.18, 0.68),
            ]
        ],
        [
            [
                (0.6, 0),
                (0.25, 0.3),
                (0.08, 0.7),
                (0.3, 0.98),
                (0.7, 0.97),
                (0.9, 0.72),
                (0.6, 0.53),
                (0.25, 0.62),
                (0.12, 0.78),
            ]
        ],
    ],
    7: [
        [[(0.08, 0.04), (0.5, 0.04), (0.92, 0.03)], [(0.92, 0.03), (0.65, 0.45), (0.4, 1)]],
        [
            [(0.08, 0.05), (0.5, 0.04), (0.92, 0.02)],
            [(0.92, 0.02), (0.65, 0.45), (0.42, 1)],
            [(0.35, 0.5), (0.6, 0.49), (0.85, 0.48)],
        ],
    ],
    8: [
        [
            [
                (0.75, 0.1),
                (0.4, 0),
                (0.18, 0.2),
                (0.5, 0.46),
                (0.85, 0.75),
                (0.55, 1),
                (0.15, 0.8),
                (0.45, 0.5),
                (0.82, 0.22),
                (0.72, 0.06),
            ]
        ],
        [
            [(0.5, 0), (0.2, 0.12), (0.25, 0.4), (0.55, 0.47), (0.8, 0.3), (0.75, 0.08), (0.5, 0)],
            [(0.5, 0.47), (0.12, 0.65), (0.18, 0.95), (0.6, 1), (0.9, 0.78), (0.75, 0.52), (0.5, 0.47)],
        ],
    ],
    9: [
        [
            [(0.8, 0.15), (0.45, 0), (0.14, 0.2), (0.25, 0.48), (0.6, 0.5), (0.82, 0.18)],
            [(0.82, 0.18), (0.8, 0.6), (0.72, 1)],
        ],
        [
            [
                (0.82, 0.2),
                (0.5, 0.02),
                (0.16, 0.2),
                (0.3, 0.5),
                (0.65, 0.45),
                (0.84, 0.12),
                (0.84, 0.5),
                (0.7, 0.9),
                (0.3, 1),
            ]
        ],
    ],
}
FLAGGED: dict[int, list[list[Points]]] = {  # a 1 with a long flag, with a base or without
    1: [
        [[(0.05, 0.42), (0.4, 0.2), (0.7, 0)], [(0.7, 0), (0.7, 0.5), (0.68, 1)]],
        [[(0.0, 0.58), (0.4, 0.3), (0.75, 0)], [(0.75, 0), (0.74, 0.5), (0.72, 1)]],
        [[(0.0, 0.36), (0.4, 0.2), (0.8, 0)], [(0.8, 0), (0.78, 0.5), (0.75, 1)]],
        [[(0.1, 0.3), (0.3, 0.2), (0.52, 0)], [(0.52, 0), (0.52, 0.5), (0.52, 1)], [(0.1, 1), (0.5, 1), (0.9, 0.99)]],
        [
            [(0.05, 0.4), (0.3, 0.25), (0.55, 0)],
            [(0.55, 0), (0.54, 0.5), (0.53, 1)],
            [(0.2, 1), (0.5, 1), (0.85, 0.99)],
        ],
    ]
}
INKS = [(25, 25, 30), (20, 30, 110), (150, 25, 30), (20, 80, 45)]  # black, blue, red, green
PAPERS = [(246, 244, 238), (235, 228, 205), (225, 232, 240), (250, 250, 250), (240, 232, 160)]
TABLES = [(95, 62, 38), (60, 60, 66), (150, 120, 85), (30, 30, 30)]


@dataclass(frozen=True)
class Picture:
    """A rendered picture and what it shows."""

    pixels: np.ndarray  # uint8 (height, width, 3), or (height, width) if grey
    label: str  # the digits, left to right; "" if there is none
    kind: str  # a key of KINDS
    difficulty: int  # 1 to 3
    jpeg_quality: int | None  # as what it should be saved; None: PNG


def photo(digits: str, seed: int, difficulty: int) -> Picture:
    """Pen, pencil or marker on plain, squared or ruled paper; light, shadows, a table's edge; noise and blur."""
    rng = np.random.default_rng([seed, 1])
    size = int(rng.integers(400, 1400))
    shape = (size, int(size * rng.uniform(0.75, 1.5)))
    light: np.ndarray = np.ones(shape, np.float32)
    paper = np.full((*shape, 3), PAPERS[rng.integers(len(PAPERS))], np.float32)
    if difficulty > 1 and rng.random() < 0.5:
        _rule(paper, rng, squared=bool(rng.random() < 0.5))
    _write(paper, digits, rng, _pen(rng, shape))
    if difficulty > 1:
        _table(paper, rng, 0.35 * (difficulty - 1))
        light *= _gradient(shape, rng, 0.25 * difficulty)
        light *= _vignette(shape, rng.uniform(0, 0.2 * difficulty))
    if difficulty > 2:
        light *= _shadow(shape, rng)
    pixels: Any = paper * light[:, :, None] * rng.uniform(0.55 if difficulty > 1 else 0.85, 1.05)
    pixels *= rng.uniform(0.92, 1.08, 3)  # white balance
    pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 0.4 + 0.6 * difficulty) * size / 700)
    pixels += rng.normal(0, rng.uniform(1, 2.5 * difficulty), pixels.shape)
    if difficulty > 1 and rng.random() < 0.15:
        pixels = _pasted_on_white(pixels)
    return Picture(_bytes(pixels), digits, "photo", difficulty, int(rng.integers(95 - 18 * difficulty, 96)))


def scan(digits: str, seed: int, difficulty: int) -> Picture:
    """White paper, even light, grey or colour, some dust."""
    rng = np.random.default_rng([seed, 2])
    shape = (int(rng.integers(250, 900)), int(rng.integers(250, 900)))
    paper: np.ndarray = np.full((*shape, 3), 255 - rng.integers(0, 12), np.float32)
    _write(paper, digits, rng, _pen(rng, shape))
    for _ in range(3 * (difficulty - 1)):
        cv2.circle(paper, (int(rng.integers(shape[1])), int(rng.integers(shape[0]))), 1, (120, 120, 120), -1)
    paper = cv2.GaussianBlur(paper, (0, 0), 0.7) + rng.normal(0, difficulty, paper.shape)
    return Picture(_bytes(paper), digits, "scan", difficulty, None)


def drawing(digits: str, seed: int, difficulty: int) -> Picture:
    """A screenshot of a drawing: any two colours, thick or thin, off-centre."""
    rng = np.random.default_rng([seed, 3])
    shape = (int(rng.integers(100, 600)),) * 2
    ground, ink = _two_colours(rng)
    canvas = np.full((*shape, 3), ground, np.float32)
    low, high = ((0.05, 0.1), (0.03, 0.14), (0.02, 0.18))[difficulty - 1]
    _write(canvas, digits, rng, Pen(tuple(ink), rng.uniform(low, high), 1.0, False))
    return Picture(_bytes(canvas), digits, "drawing", difficulty, None)


def crop(digits: str, seed: int, difficulty: int) -> Picture:
    """A small grey crop of one digit, as other datasets have them."""
    rng = np.random.default_rng([seed, 4])
    shape = (160, 160)
    canvas = np.full((*shape, 3), 245.0, np.float32)
    _write(canvas, digits, rng, Pen((20.0, 20.0, 20.0), rng.uniform(0.07, 0.13), 1.0, False), fill=(0.6, 0.8))
    grey = cv2.GaussianBlur(canvas.mean(axis=2), (0, 0), 1.0 + difficulty)
    side = int(rng.integers(24, 65))
    grey = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA) + rng.normal(0, 2 * difficulty, (side, side))
    return Picture(_bytes(255 - grey if rng.random() < 0.5 else grey), digits, "crop", difficulty, None)


def tight(digits: str, seed: int, difficulty: int) -> Picture:
    """A photo or a scan of one digit, cut out so closely that strokes touch the border, or are cut by it."""
    rng = np.random.default_rng([seed, 6])
    tall = int(rng.integers(70, 800))
    shape = (2 * tall, 2 * tall)
    pen = _pen(rng, shape)
    mask = np.pad(_mask(shape, digits, rng, pen, (0.5, 0.5)), tall)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    low, high = ((0.02, 0.1), (0.0, 0.06), (-0.03, 0.02))[difficulty - 1]
    above, below, before, after = (rng.uniform(low, high, 4) * tall).astype(int)
    cut = mask[rows[0] - above : rows[-1] + 1 + below, columns[0] - before : columns[-1] + 1 + after]
    canvas = np.full((*cut.shape, 3), PAPERS[rng.integers(len(PAPERS))], np.float32)
    _paint(canvas, cut, pen)
    quality = None
    if rng.random() < 0.6:
        light = _gradient(cut.shape, rng, 0.2 * difficulty) * _vignette(cut.shape, rng.uniform(0, 0.2))
        canvas *= light[:, :, None] * rng.uniform(0.6, 1.05) * rng.uniform(0.92, 1.08, 3)
        canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.004, 0.008) * tall)
        quality = int(rng.integers(60, 96))
    canvas += rng.normal(0, rng.uniform(0.5, 1.5 * difficulty), canvas.shape)
    return Picture(_bytes(canvas), digits, "tight", difficulty, quality)


def pad(digits: str, seed: int, difficulty: int) -> Picture:
    """A drawing pad of 280 pixels and its pen of 20: the smaller the digit, the thicker its strokes."""
    rng = np.random.default_rng([seed, 7])
    canvas = np.full((280, 280, 3), 255.0, np.float32)
    low, high = ((0.3, 0.6), (0.2, 0.3), (0.15, 0.2))[difficulty - 1]
    tall = 280 * rng.uniform(low, high)
    _write(canvas, digits, rng, Pen((0.0, 0.0, 0.0), 20 / tall, 1.0, False), fill=(tall / 280, tall / 280))
    return Picture(_bytes(255 - canvas if rng.random() < 0.2 else canvas), digits, "pad", difficulty, None)


def flag(digits: str, seed: int, difficulty: int) -> Picture:
    """A 1 with a long flag, drawn or on a scan; other digits are written as ever."""
    rng = np.random.default_rng([seed, 8])
    side = int(rng.integers(120, 700))
    canvas = np.full((side, side, 3), 250.0, np.float32)
    _write(canvas, digits, rng, _pen(rng, (side, side)), fill=(0.35, 0.75), ways=STROKES | FLAGGED)
    canvas += rng.normal(0, difficulty, canvas.shape)
    return Picture(_bytes(canvas), digits, "flag", difficulty, None)


def thin(digits: str, seed: int, difficulty: int) -> Picture:
    """A picture of 28 to 64 pixels with strokes of about one, with a margin or without, dark or light."""
    rng = np.random.default_rng([seed, 9])
    side = 28 if rng.random() < 0.5 else int(rng.integers(28, 65))
    tall = side * rng.uniform(0.45, 0.95)
    pen = Pen((), rng.uniform(*((1.0, 2.0), (0.7, 1.2), (0.4, 0.8))[difficulty - 1]) / tall, 1.0, False)
    large = 8  # times
    mask = np.pad(_mask((2 * large * side,) * 2, digits, rng, pen, (tall / side / 2,) * 2), large * side)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top = rows[0] - int(rng.uniform(0, max(1, large * side - (rows[-1] - rows[0] + 1))))
    left = columns[0] - int(rng.uniform(0, max(1, large * side - (columns[-1] - columns[0] + 1))))
    cut = mask[top : top + large * side, left : left + large * side]
    cut = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)
    grey = 245 - rng.uniform(100, 235) * cut + rng.normal(0, 1.5 * (difficulty - 1), cut.shape)
    quality = int(rng.integers(75, 96)) if rng.random() < 0.3 else None
    return Picture(_bytes(255 - grey if rng.random() < 0.5 else grey), digits, "thin", difficulty, quality)


KINDS: dict[str, Callable[[str, int, int], Picture]] = {
    "photo": photo,
    "scan": scan,
    "drawing": drawing,
    "crop": crop,
    "tight": tight,
    "pad": pad,
    "flag": flag,
    "thin": thin,
}


def save(picture: Picture, folder: Path, name: str) -> Path:
    """Write a picture as the file that a user would have, JPEG or PNG."""
    image = Image.fromarray(picture.pixels)
    path = folder / f"{name}.{'jpg' if picture.jpeg_quality else 'png'}"
    if picture.jpeg_quality:
        image.save(path, quality=picture.jpeg_quality)
    else:
        image.save(path)
    return path


def without_digit(seed: int) -> Picture:
    """A photo of paper, lined or not, that nobody wrote on."""
    return photo("", seed, int(np.random.default_rng([seed, 5]).integers(1, 4)))


def noise(seed: int) -> Picture:
    """Grains of any size and contrast."""
    rng = np.random.default_rng([seed, 10])
    shape = (*_sides(rng, 28, 600), 3)
    grains = cv2.GaussianBlur(rng.normal(0, 1, shape), (0, 0), rng.uniform(0.3, 4))
    return Picture(_bytes(128 + rng.uniform(5, 60) * grains / grains.std()), "", "noise", 1, None)


def text(seed: int) -> Picture:
    """Lines of printed words."""
    rng = np.random.default_rng([seed, 11])
    page = np.full((*_sides(rng, 200, 700), 3), 245, np.uint8)
    height = int(rng.integers(12, 40))
    for base in range(2 * height, len(page) - height, 2 * height):
        words = ("".join(chr(97 + i) for i in rng.integers(0, 26, rng.integers(2, 9))) for _ in range(12))
        cv2.putText(
            page, " ".join(words), (height, base), int(rng.integers(4)), height / 25, (30, 30, 30), 1, cv2.LINE_AA
        )
    return Picture(_bytes(page + rng.normal(0, 2, page.shape)), "", "text", 1, None)


def table(seed: int) -> Picture:
    """Paper that nobody wrote on, and the table below it at several sides."""
    rng = np.random.default_rng([seed, 12])
    shape = _sides(rng, 100, 900)
    paper = np.full((*shape, 3), PAPERS[rng.integers(5)], np.float32)
    colour = TABLES[rng.integers(len(TABLES))]
    for _ in range(rng.integers(1, 4)):
        _table(paper, rng, 1, (0.01, 0.15), [colour])
    paper *= _gradient(shape, rng, 0.5)[:, :, None]
    return Picture(_bytes(paper + rng.normal(0, 3, paper.shape)), "", "table", 1, int(rng.integers(60, 96)))


def shadow(seed: int) -> Picture:
    """Paper that nobody wrote on, and shadows with soft or hard edges."""
    rng = np.random.default_rng([seed, 13])
    shape = _sides(rng, 100, 900)
    paper = np.full((*shape, 3), PAPERS[rng.integers(5)], np.float32)
    for _ in range(rng.integers(1, 4)):
        paper *= _shadow(shape, rng)[:, :, None]
    return Picture(_bytes(paper + rng.normal(0, 3, paper.shape)), "", "shadow", 1, int(rng.integers(60, 96)))


def scene(seed: int) -> Picture:
    """Things of many colours and sizes in front of each other, as in a photograph."""
    rng = np.random.default_rng([seed, 14])
    height, width = _sides(rng, 100, 900)
    canvas = np.full((height, width, 3), rng.integers(0, 256, 3), np.float32)
    for _ in range(rng.integers(8, 60)):
        centre, axes = rng.uniform(0, (width, height)), rng.uniform(0.02, 0.4, 2) * max(height, width)
        place, size = [int(c) for c in centre], [int(a) for a in axes]
        corners = cv2.ellipse2Poly(place, size, int(rng.integers(180)), 0, 360, int(rng.choice([10, 90, 120])))
        cv2.fillPoly(canvas, [np.array(corners)], [float(value) for value in rng.integers(0, 256, 3)], cv2.LINE_AA)
    canvas = cv2.GaussianBlur(canvas * _gradient((height, width), rng, 0.6)[:, :, None], (0, 0), rng.uniform(0.5, 4))
    return Picture(_bytes(canvas + rng.normal(0, 4, canvas.shape)), "", "scene", 1, int(rng.integers(60, 96)))


def photograph(seed: int) -> Picture:
    """A part of a photograph of a temple or a flower, which scikit-learn has."""
    rng = np.random.default_rng([seed, 15])
    whole = load_sample_image(["china.jpg", "flower.jpg"][seed % 2])
    side = int(rng.integers(80, 420))
    top, left = (int(rng.integers(0, length - side)) for length in whole.shape[:2])
    part = whole[top : top + side, left : left + side]
    return Picture(part, "", "photograph", 1, int(rng.integers(60, 96)))


def _sides(rng: np.random.Generator, least: int, most: int) -> tuple[int, int]:
    height, width = rng.integers(least, most, 2)
    return int(height), int(width)


WITHOUT: dict[str, Callable[[int], Picture]] = {
    "paper": without_digit,
    "noise": noise,
    "text": text,
    "table": table,
    "shadow": shadow,
    "scene": scene,
    "photograph": photograph,
}


def collection(count: int, seed: int) -> list[Picture]:
    """Pictures of one digit each, of every kind and difficulty; half of them are photos."""
    kinds = ["photo", "scan", "photo", "drawing", "photo", "crop"]
    return [KINDS[kinds[i % 6]](str((i + i // 6) % 10), seed * 100_000 + i, i // 6 % 3 + 1) for i in range(count)]


def hard(count: int, seed: int) -> list[Picture]:
    """Pictures of one digit each, cut out closely or of a pen too thick or too thin, and 1s with a long flag."""
    kinds = ["tight", "pad", "flag", "thin"]
    labels = ["1" if i % 8 == 2 else str((i + i // 4) % 10) for i in range(count)]
    return [KINDS[kinds[i % 4]](label, seed * 100_000 + i, i // 4 % 3 + 1) for i, label in enumerate(labels)]


@dataclass(frozen=True)
class Pen:
    """What a stroke looks like."""

    colour: tuple[float, ...]  # 0 to 255
    width: float  # of the digit's height
    opacity: float
    rough: bool  # as a pencil on paper


def _pen(rng: np.random.Generator, shape: tuple[int, int]) -> Pen:
    kind = rng.integers(3)
    if kind == 0:
        return Pen((70.0, 70.0, 75.0), rng.uniform(0.03, 0.05), rng.uniform(0.6, 0.85), True)  # pencil
    colour = tuple(float(value) for value in INKS[rng.integers(len(INKS))])
    if kind == 1:
        return Pen(colour, rng.uniform(0.025, 0.05), rng.uniform(0.85, 1), False)  # ball pen
    return Pen(colour, rng.uniform(0.07, 0.15), rng.uniform(0.9, 1), False)  # marker


def _write(
    canvas: np.ndarray,
    digits: str,
    rng: np.random.Generator,
    pen: Pen,
    fill: tuple[float, float] = (0.3, 0.6),
    ways: dict[int, list[list[Points]]] = STROKES,
) -> None:
    """Write digits somewhere on the canvas, float32 (height, width, 3), in place."""
    if digits:
        _paint(canvas, _mask(canvas.shape[:2], digits, rng, pen, fill, ways), pen)


def _paint(canvas: np.ndarray, mask: np.ndarray, pen: Pen) -> None:
    cover = (mask * pen.opacity)[:, :, None]
    canvas *= 1 - cover
    canvas += cover * np.array(pen.colour, np.float32)


def _mask(
    shape: tuple[int, ...],
    digits: str,
    rng: np.random.Generator,
    pen: Pen,
    fill: tuple[float, float],
    ways: dict[int, list[list[Points]]] = STROKES,
) -> np.ndarray:
    """How much of each pixel the pen covers, float32 (height, width) of 0 to 1."""
    height, width = shape
    tall = rng.uniform(*fill) * min(height, 1.4 * width / (0.9 * len(digits)))
    space = 0.62 * tall * rng.uniform(1.0, 1.25)  # from one digit to the next
    line = tall + (len(digits) - 1) * space
    x0 = rng.uniform(0.06 * width, max(0.94 * width - line, 0.061 * width))
    y0 = rng.uniform(0.08 * height, 0.92 * height - tall)
    slant, turn = rng.uniform(-0.25, 0.3), np.radians(rng.uniform(-7, 7))
    mask = np.zeros((height, width), np.float32)
    for position, digit in enumerate(digits):
        wide = tall * rng.uniform(0.45, 0.62)
        for stroke in ways[int(digit)][rng.integers(len(ways[int(digit)]))]:
            points = _curve(np.array(stroke) + rng.normal(0, 0.018, (len(stroke), 2)))
            points = (points - 0.5) * (wide, tall)
            points[:, 0] -= slant * points[:, 1]
            points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
            points += (x0 + tall / 2 + position * space, y0 + tall / 2)
            thick = max(1, round(pen.width * tall))
            cv2.polylines(mask, [np.rint(points * 16).astype(np.int32)], False, (1.0,), thick, cv2.LINE_AA, shift=4)
    if pen.rough:
        grain = cv2.GaussianBlur(rng.normal(0, 1, mask.shape).astype(np.float32), (0, 0), 1.0)
        mask *= np.clip(0.8 + 0.6 * grain, 0.25, 1)
    return mask


def _curve(points: np.ndarray) -> np.ndarray:
    """A smooth line through the points, by Catmull and Rom: float (n, 2)."""
    before, after = 2 * points[0] - points[1], 2 * points[-1] - points[-2]
    padded = np.vstack([before, points, after])
    t = np.linspace(0, 1, 12, endpoint=False)[:, None]
    parts = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        parts.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.vstack([*parts, points[-1:]])


def _rule(paper: np.ndarray, rng: np.random.Generator, squared: bool) -> None:
    height, width = paper.shape[:2]
    step = int(rng.uniform(0.06, 0.14) * height)
    colour = tuple(float(value) for value in rng.uniform(165, 205, 3))
    thick = max(1, height // 500)
    for y in range(int(rng.integers(step)), height, step):
        cv2.line(paper, (0, y), (width, y), colour, thick, cv2.LINE_AA)
    if squared:
        for x in range(int(rng.integers(step)), width, step):
            cv2.line(paper, (x, 0), (x, height), colour, thick, cv2.LINE_AA)


def _table(
    paper: np.ndarray,
    rng: np.random.Generator,
    chance: float,
    depth: tuple[float, float] = (0.01, 0.05),
    colours: list[tuple[int, int, int]] = TABLES,
) -> None:
    """Cover a strip at one side with the table that the paper lies on."""
    if rng.random() > chance:
        return
    height, width = paper.shape[:2]
    a, b = rng.uniform(*depth, 2)
    colour = tuple(float(value) for value in colours[rng.integers(len(colours))])
    side = rng.integers(4)
    if side < 2:
        corners = np.array([(0, 0), (width, 0), (width, a * height), (0, b * height)])
        corners = corners if side else np.array([0, height]) + corners * (1, -1)
    else:
        corners = np.array([(0, 0), (0, height), (a * width, height), (b * width, 0)])
        corners = corners if side == 2 else np.array([width, 0]) + corners * (-1, 1)
    cv2.fillPoly(paper, [np.rint(corners).astype(np.int32)], colour, cv2.LINE_AA)


def _gradient(shape: tuple[int, int], rng: np.random.Generator, strength: float) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray((1 - strength * (1 + np.cos(angle) * x + np.sin(angle) * y) / 2.5).astype(np.float32).clip(0.2))


def _vignette(shape: tuple[int, int], strength: float) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray((1 - strength * (x**2 + y**2) / 2).astype(np.float32))


def _shadow(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Of a hand or a telephone: a darker part with a soft edge."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    angle, offset, soft = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5), rng.uniform(0.05, 0.3)
    edge = 1 / (1 + np.exp(-(np.cos(angle) * x + np.sin(angle) * y - offset) / soft))
    return np.asarray((1 - rng.uniform(0.25, 0.55) * edge).astype(np.float32))


def _pasted_on_white(pixels: np.ndarray) -> np.ndarray:
    side = int(1.15 * max(pixels.shape))
    square = np.full((side, side, 3), 255.0, np.float32)
    top, left = (side - pixels.shape[0]) // 2, (side - pixels.shape[1]) // 2
    square[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return square


def _two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two colours that people can tell apart."""
    while True:
        ground, ink = rng.integers(0, 256, (2, 3)).astype(np.float64)
        if np.abs(ground - ink).max() > 110:
            return ground, ink


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(np.clip(pixels, 0, 255)).astype(np.uint8))
