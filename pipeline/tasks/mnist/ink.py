"""Find the ink of each digit in a picture: a photo of paper, a scan, a drawing in any two colours, or a small crop.

The brightness of the paper is estimated around each pixel and subtracted, so that shadows and a darker corner vanish.
What is left is split in ink and paper by Otsu's threshold (1979), with hysteresis as in J. Canny (1986): faint parts of
a stroke count if they are connected with a dark part.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SMALL = 64  # pixels: a picture of at most this size is a crop, and has too little paper around for an estimate
WINDOW = 0.12  # of the longer side: wider than any stroke, narrower than shadows
WEAK = 0.6  # of Otsu's threshold: what a faint part of a stroke has at least
MIN_CONTRAST = 0.1  # of black on white: below it, there is nothing but paper and noise
NOISE = 6.0  # ink is darker than the paper by this many times the paper's own variation
MAX_INK = 0.45  # share of the picture: more is not writing
SAME_DIGIT = 0.25  # of the longest piece: shorter pieces belong to another one, or are dirt
TALL = 0.5  # of the tallest piece: a digit of its own
AT_BORDER = 0.35  # weight of a piece that touches the border: a table's edge, a shadow


@dataclass(frozen=True)
class Piece:
    """Ink that is connected: where it is, and how much it counts."""

    label: int
    left: int
    top: int
    right: int  # exclusive
    bottom: int  # exclusive
    weight: float

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def length(self) -> int:
        """The longer side, in pixels."""
        return max(self.height, self.width)


def digits(colours: np.ndarray) -> list[np.ndarray]:
    """The ink of each digit of a picture uint8 (height, width, 3), left to right: float32 (height, width) of 0 to 1."""
    grey = _grey(colours)  # 0 to 1
    if max(grey.shape) <= SMALL:
        return _of_crop(grey)
    contrast = _contrast(grey)
    threshold = _threshold(contrast)
    if threshold is None:
        return []
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((contrast > WEAK * threshold).astype(np.uint8))
    strong = np.zeros(count, bool)
    strong[np.unique(labels[contrast > threshold])] = True
    pieces = [_piece(label, boxes[label], grey.shape) for label in range(1, count) if strong[label]]
    groups = _groups(_without_dirt(pieces, grey.shape))
    return [_ink(contrast, labels, group, threshold) for group in groups]


def _grey(colours: np.ndarray) -> np.ndarray:
    """One value per pixel, 0 to 1: brightness, or, where that hardly differs, the colour that differs most."""
    values = colours.astype(np.float32) / 255
    grey = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY)
    spread = np.ptp(grey)
    if spread > 0.5 * max(float(np.ptp(values[:, :, channel])) for channel in range(3)):
        return np.asarray(grey)
    centred = values.reshape(-1, 3) - values.reshape(-1, 3).mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    along = (centred @ axes[:, -1]).reshape(grey.shape)
    return np.asarray((along - along.min()) / max(float(np.ptp(along)), 1e-6))


def _of_crop(grey: np.ndarray) -> list[np.ndarray]:
    """The ink of a small picture, which holds one digit and nothing else: all that differs from its border."""
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    contrast = np.abs(grey - np.median(edge))
    if contrast.max() < MIN_CONTRAST:
        return []
    contrast /= contrast.max()
    return [np.where(contrast < 0.1, 0, contrast).astype(np.float32)]  # below: the grain of the paper


def _contrast(grey: np.ndarray) -> np.ndarray:
    """How much darker each pixel is than the paper around it; of light writing on a dark ground, how much lighter."""
    size = max(3, int(WINDOW * max(grey.shape)) | 1)
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    smooth = cv2.GaussianBlur(grey, (0, 0), max(0.6, max(grey.shape) / 700))
    dark = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, window, borderType=cv2.BORDER_REPLICATE) - smooth
    light = smooth - cv2.morphologyEx(smooth, cv2.MORPH_OPEN, window, borderType=cv2.BORDER_REPLICATE)
    # Writing covers little of a picture: paper is what most pixels are.
    middle = np.median(smooth)
    return dark if np.abs(smooth.min() - middle) >= np.abs(smooth.max() - middle) else light


def _threshold(contrast: np.ndarray) -> float | None:
    """What separates ink from paper, by Otsu; None if there is no ink."""
    highest = float(np.percentile(contrast, 99.9))
    if highest < MIN_CONTRAST:
        return None
    scaled = np.clip(contrast / highest * 255, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    threshold = float(level) / 255 * highest
    paper, ink = contrast[contrast <= threshold], contrast[contrast > threshold]
    if not ink.size or ink.size > MAX_INK * contrast.size:
        return None
    noise = float(np.median(np.abs(paper - np.median(paper)))) * 1.4826  # as a standard deviation
    return threshold if float(np.median(ink)) > max(MIN_CONTRAST, NOISE * noise) else None


def _piece(label: int, box: np.ndarray, shape: tuple[int, ...]) -> Piece:
    left, top, width, height, _ = (int(value) for value in box)
    right, bottom = left + width, top + height
    at_border = left == 0 or top == 0 or right == shape[1] or bottom == shape[0]
    weight = max(width, height) * (AT_BORDER if at_border else 1.0)
    return Piece(label, left, top, right, bottom, weight)


def _without_dirt(pieces: list[Piece], shape: tuple[int, ...]) -> list[Piece]:
    """The pieces that are long enough beside the one that counts most."""
    if not pieces:
        return []
    main = max(pieces, key=lambda piece: piece.weight)
    if main.length < 0.04 * max(shape):
        return []
    return [piece for piece in pieces if piece.weight >= SAME_DIGIT * main.weight and _near(piece, main)]


def _near(piece: Piece, main: Piece) -> bool:
    """Whether a piece lies on the line of the main one: at least half of its height beside that one's."""
    beside = min(piece.bottom, main.bottom) - max(piece.top, main.top)
    above = max(piece.left, main.left) < min(piece.right, main.right)  # such as the bar of a 5
    gap = max(piece.top, main.top) - min(piece.bottom, main.bottom)
    return beside >= 0.5 * min(piece.height, main.height) or (above and gap < 0.25 * main.height)


def _groups(pieces: list[Piece]) -> list[list[Piece]]:
    """The pieces of each digit, left to right: a low piece joins the nearest tall one, as does one above another."""
    if not pieces:
        return []
    tallest = max(piece.height for piece in pieces)
    groups: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda piece: piece.left):
        if piece.height >= TALL * tallest:
            group = next((group for group in groups if _overlap(piece, group) > 0.4), None)
            if group is None:
                groups.append([piece])
            else:
                group.append(piece)
    for piece in pieces:
        if piece.height < TALL * tallest:
            min(groups, key=lambda group: _gap(piece, group)).append(piece)
    return groups


def _overlap(piece: Piece, group: list[Piece]) -> float:
    """How much of the narrower one's width is above or below the other one, 0 to 1."""
    left, right = min(p.left for p in group), max(p.right for p in group)
    shared = min(piece.right, right) - max(piece.left, left)
    return shared / min(piece.width, right - left)


def _gap(piece: Piece, group: list[Piece]) -> float:
    left, right = min(p.left for p in group), max(p.right for p in group)
    return max(left - piece.right, piece.left - right, 0) + 0.01 * abs((left + right - piece.left - piece.right) / 2)


def _ink(contrast: np.ndarray, labels: np.ndarray, group: list[Piece], threshold: float) -> np.ndarray:
    """The pixels of a group, cut out; ink as dark as most of the digit is 1."""
    rows = slice(min(p.top for p in group), max(p.bottom for p in group))
    columns = slice(min(p.left for p in group), max(p.right for p in group))
    member = np.isin(labels[rows, columns], [piece.label for piece in group])
    values = np.where(member, contrast[rows, columns], 0)
    full = float(np.median(values[values > threshold]))
    return np.clip(values / full, 0, 1).astype(np.float32)
