"""Find the ink of each digit in a picture: a photo of paper, a scan, a drawing in any two colours, or a small crop.

The brightness of the paper is estimated around each pixel and subtracted, so that shadows and a darker corner vanish.
What is left is split in ink and paper by Otsu's threshold (1979), with hysteresis as in J. Canny (1986): faint parts of
a stroke count if they are connected with a dark part.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.tasks.mnist.raw.image import BOX

NARROW = 20  # pixels: too few for a digit in a picture with paper around it
FRAME = 0.97  # brightness: a frame that a program drew is white
SMALL = 64  # pixels: a picture of at most this size is a crop, which holds one digit and nothing else
FAINT = 0.1  # of the darkest ink of a crop: below is the grain of the paper
WINDOW = 0.2  # of the longer side: wider than most strokes, narrower than shadows
WIDE = 0.5  # of the longer side: wider than the strokes of any digit that fills a crop
WEAK = 0.6  # of Otsu's threshold: what a faint part of a stroke has at least
MIN_CONTRAST = 0.1  # of black on white: below it, there is nothing but paper and noise
NOISE = 6.0  # ink is darker than the paper by this many times the paper's own variation
DARKER = 2.5  # times as dark as the lines of the paper: ink on them
MAX_INK = 0.65  # share of the picture: more is not writing
SAME_DIGIT = 0.25  # of the longest piece: shorter pieces belong to another one, or are dirt
TALL = 0.5  # of the tallest piece: a digit of its own
SPANS = 0.75  # of the height and of the width of a picture: a digit that was cut out, and may touch the border
APART = 0.2  # of the longer side: beside such a piece, what spans the picture is no digit
CORNERED = 0.6  # of each of two sides: what lies along them is a table that the paper lies on
ALONG_BORDER = 0.3  # of a side: a smaller piece that touches the border for so long is a table's edge or a shadow
AT_BORDER = 0.35  # weight of another piece that touches the border
FILLED = 0.9  # of its box: a blot, or the field between the lines of squared paper, not strokes
STROKE = 2.6  # pixels of MNIST's box of 20: the width of a stroke there
THICK = 4.5  # pixels of that box: thicker strokes would run into each other
RANGE = (1.5, 6.5)  # pixels of that box: the strokes of nearly all of MNIST's own images
FINE = 200  # pixels that a digit has at least while its strokes are measured
PEN = 0.55  # variation of the width of strokes, as a share of it: more is the shape of a thing, not written with a pen
OUTLINE = 7.5  # times the longer side: a longer outline is that of a texture or a pattern


@dataclass(frozen=True)
class Piece:
    """Ink that is connected: where it is, and how much it counts."""

    label: int
    left: int
    top: int
    right: int  # exclusive
    bottom: int  # exclusive
    weight: float
    spans: bool  # the picture, and touches its border: a digit that was cut out, or lines of the paper

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


def digits(colours: np.ndarray, all_ink: bool = False) -> list[np.ndarray]:
    """The ink of each digit of a picture uint8 (height, width, 3), left to right: float32 (height, width) of 0 to 1.

    Strokes are about as thick as MNIST's. With `all_ink`, nothing is guessed: all that differs from the ground is one
    digit, as on a drawing pad.
    """
    grey = _grey(colours)  # 0 to 1
    if all_ink:
        return _of_drawing(grey)
    if max(grey.shape) <= SMALL:
        return _of_crop(grey)
    grey = _without_frame(grey)
    if min(grey.shape) < NARROW:
        return []
    found = _of_page(grey, WINDOW)
    if found is None:
        return []
    if not found or any(_stroke(ink) > WINDOW / 2 * max(grey.shape) for ink in found):  # a wider one passes for paper
        found = _of_page(grey, 2 * WINDOW) or found
    return [redrawn(ink) for ink in found] if all(map(_is_written, found)) else []  # else it is a picture of things


def _of_page(grey: np.ndarray, window: float) -> list[np.ndarray] | None:
    """The ink of each digit whose strokes are narrower than the window, a share of the longer side; None if no ink."""
    contrast = _contrast(grey, window)
    threshold = _threshold(contrast)
    if threshold is None:
        return None
    count, labels, boxes, _ = cv2.connectedComponentsWithStats((contrast > WEAK * threshold).astype(np.uint8))
    strong = np.zeros(count, bool)
    strong[np.unique(labels[contrast > threshold])] = True
    pieces = [_piece(label, boxes[label], labels) for label in range(1, count) if strong[label]]
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
    return np.asarray((along - along.min()) / max(float(np.ptp(along)), MIN_CONTRAST))


def _of_drawing(grey: np.ndarray) -> list[np.ndarray]:
    """The ink of a drawing: all that differs from the ground, which covers most of it."""
    contrast = np.abs(grey - np.median(grey))
    return [redrawn((contrast / contrast.max()).astype(np.float32))] if contrast.max() >= MIN_CONTRAST else []


def _of_crop(grey: np.ndarray) -> list[np.ndarray]:
    """The ink of a small picture, which holds one digit: all that differs from its border and is no gradient of light.

    Strokes as thin or as thick as some of MNIST's stay as they are.
    """
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    window = _disc(int(WIDE * max(grey.shape)) | 1)
    contrast = np.abs(grey - np.median(edge))
    contrast = cv2.morphologyEx(contrast, cv2.MORPH_TOPHAT, window, borderType=cv2.BORDER_REPLICATE)
    threshold = _threshold(contrast)
    if threshold is None:
        return []
    ink = contrast / contrast.max()
    _, labels = cv2.connectedComponents((ink > FAINT).astype(np.uint8))
    drawn = (ink > FAINT) & np.isin(labels, labels[contrast > threshold])
    return [redrawn(np.where(drawn, ink, 0).astype(np.float32), *RANGE)]


def _without_frame(grey: np.ndarray) -> np.ndarray:
    """The picture without a white frame around it, as a photo has that was pasted on a white square."""
    inside = grey < FRAME
    rows, columns = np.flatnonzero(inside.mean(axis=1) > 0.5), np.flatnonzero(inside.mean(axis=0) > 0.3)
    if not rows.size or not columns.size:
        return grey
    margin = 1 + max(grey.shape) // 200  # of pixels that are part frame, part photo
    cut = grey[rows[0] + margin : rows[-1] + 1 - margin, columns[0] + margin : columns[-1] + 1 - margin]
    return cut if 2 * min(cut.shape, default=0) > max(grey.shape) and np.median(cut) < FRAME else grey


def _contrast(grey: np.ndarray, window: float) -> np.ndarray:
    """How much darker each pixel is than the paper around it, or lighter, where the writing is light: 0 to 1.

    It is the share of the paper's light that is missing: a stroke in a shadow counts as much as one in the sun.
    """
    smooth = cv2.GaussianBlur(grey, (0, 0), max(0.6, max(grey.shape) / 700))
    if _is_light_on_dark(smooth):
        smooth = 1 - smooth
    paper = np.maximum(_paper(smooth, window), 0.05)
    return np.asarray(np.clip(1 - smooth / paper, 0, 1))


def _paper(grey: np.ndarray, window: float) -> np.ndarray:
    """The brightness of the paper at each pixel: dark strokes are closed with what is around them.

    The edge of a table or a hard shadow stays where it is: what is lost of the light side there is no ink.
    """
    small = _shrink(grey, 300)
    size = max(3, int(window * max(small.shape)) | 1)
    light = cv2.dilate(small, _disc(size), borderType=cv2.BORDER_REPLICATE)
    closed = cv2.erode(light, _disc(size + 4), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(cv2.GaussianBlur(closed, (0, 0), 1), grey.shape[::-1]))


def _disc(size: int) -> np.ndarray:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))


def _shrink(grey: np.ndarray, longest: int) -> np.ndarray:
    """The picture with sides of at most so many pixels."""
    scale = min(1.0, longest / max(grey.shape))
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA))


def _is_light_on_dark(grey: np.ndarray) -> bool:
    """Whether the writing is lighter than the paper: lighter than what is around it, and most of a picture is dark."""
    small = _shrink(grey, 100)
    height, width = small.shape
    edge = min(1 + max(small.shape) // 20, (min(small.shape) - 1) // 2)  # where a table may show
    around = cv2.medianBlur(np.rint(255 * small).astype(np.uint8), 2 * (max(small.shape) // 6) + 1) / 255
    deviation = (small - around)[edge : height - edge, edge : width - edge]
    darkest, most, lightest = np.percentile(small, (1, 50, 99))
    return float((deviation**3).mean()) > 0 and most - darkest < lightest - most


def _threshold(contrast: np.ndarray) -> float | None:
    """What separates ink from paper, by Otsu, or from lines of the paper, too faint for ink; None if no ink."""
    highest = float(np.percentile(contrast, 99.9))
    if highest < MIN_CONTRAST:
        return None
    threshold, darkness = 0.0, 0.0
    for _ in ("paper", "lines"):
        least = max(MIN_CONTRAST, DARKER * darkness)
        threshold = _otsu(contrast[contrast > threshold], highest)
        paper, ink = contrast[contrast <= threshold], contrast[contrast > threshold]
        if not ink.size or ink.size > MAX_INK * contrast.size:
            return None
        noise = float(np.median(np.abs(paper - np.median(paper)))) * 1.4826  # as a standard deviation
        darkness = float(np.median(ink))
        if darkness > max(least, NOISE * noise):
            return threshold
    return None


def _otsu(values: np.ndarray, highest: float) -> float:
    """The value that parts values of 0 to `highest` best in two groups."""
    scaled = np.clip(values / highest * 255, 0, 255).astype(np.uint8)
    level, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return float(level) / 255 * highest


def _piece(label: int, box: np.ndarray, labels: np.ndarray) -> Piece:
    left, top, width, height, area = (int(value) for value in box)
    right, bottom = left + width, top + height
    picture_height, picture_width = labels.shape
    sides = [labels[0], labels[-1], labels[:, 0], labels[:, -1]]
    second, along = sorted(float((side == label).mean()) for side in sides)[2:]  # shares of a side of the picture
    spans = along > 0 and height > SPANS * picture_height and width > SPANS * picture_width
    if spans:
        factor = 1.0 if second < CORNERED else 0.0
    else:
        across = (left == 0 and right == picture_width) or (top == 0 and bottom == picture_height)
        filled = area > FILLED * width * height and max(width, height) < 2 * min(width, height)
        factor = 0.0 if across or filled or along > ALONG_BORDER else AT_BORDER if along else 1.0
    return Piece(label, left, top, right, bottom, factor * max(width, height), spans)


def _without_dirt(pieces: list[Piece], shape: tuple[int, ...]) -> list[Piece]:
    """The pieces that are long enough beside the one that counts most."""
    pieces = [piece for piece in pieces if piece.weight]
    if any(not piece.spans and piece.length > APART * max(shape) for piece in pieces):
        pieces = [piece for piece in pieces if not piece.spans]
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


def _is_written(ink: np.ndarray) -> bool:
    """Whether ink may come from a pen: strokes are about as wide everywhere, and their outline is not too long."""
    inside = np.pad((_fine(_trimmed(ink)) > 0.5).astype(np.uint8), 1)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    ridge = distance[(distance == cv2.dilate(distance, np.ones((3, 3)))) & (distance > 1)]  # the middle of the strokes
    outlines, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outline = sum(cv2.arcLength(each, closed=True) for each in outlines)
    return bool(ridge.size and ridge.std() < PEN * ridge.mean() and outline < OUTLINE * max(inside.shape))


def _trimmed(ink: np.ndarray) -> np.ndarray:
    """Ink without the empty rows and columns around it."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _fine(ink: np.ndarray) -> np.ndarray:
    """Ink at least FINE pixels long, in which the width of a stroke can be measured."""
    larger = max(1.0, FINE / max(ink.shape))
    return np.asarray(cv2.resize(ink, None, fx=larger, fy=larger, interpolation=cv2.INTER_LINEAR))


def _stroke(ink: np.ndarray) -> float:
    """The width of the strokes, in pixels; 0 without any."""
    inside = np.pad((ink > 0.5).astype(np.uint8), 1)
    # In a stroke of width w, the distance to its edge is w / 4 on average.
    return 4 * float(cv2.distanceTransform(inside, cv2.DIST_L2, 5)[inside > 0].mean()) if inside.any() else 0.0


def redrawn(ink: np.ndarray, least: float = STROKE, most: float = THICK) -> np.ndarray:
    """Ink with strokes of at least and at most so many pixels of MNIST's box.

    Thinner ones would vanish in 20 x 20 pixels, thicker ones run into each other.
    """
    ink = _trimmed(ink)
    fine = _fine(ink)
    width, pixel = _stroke(fine), max(fine.shape) / BOX
    more, less = round((least * pixel - width) / 2), round((width - most * pixel) / 2)  # pixels at each side
    if width and more >= 1:
        return np.asarray(cv2.dilate(np.pad(fine, more), _disc(2 * more + 1)))
    if less >= 1:
        return np.asarray(cv2.erode(np.pad(fine, 1), _disc(2 * less + 1)))
    return ink
