"""How many rendered pictures of digits are read right; see bench/handwriting.py."""

import io
from collections import Counter
from typing import Any

import numpy as np
from PIL import Image

from bench import handwriting
from bench.measure import ROOT
from pipeline.inference.onnx_session import Session
from pipeline.tasks.mnist import ink
from pipeline.tasks.mnist.image import fit

MODELS = ("mnist-lstm256x2", "mnist-lstm128")
SEED = 2027  # of pictures that neither the reader nor a test was tuned on


def accuracy(full: bool) -> dict[str, Any]:
    """The share of pictures read right, by model, kind and difficulty; blank pages and numbers, too."""
    pictures = handwriting.collection(1800 if full else 360, SEED)
    images = [_images(picture) for picture in pictures]
    table = []
    for model in MODELS:
        session = Session(ROOT / "models" / model / "export" / "model.onnx", "dvc repro")
        right: Counter[tuple[str, int]] = Counter()
        total: Counter[tuple[str, int]] = Counter()
        for picture, found in zip(pictures, images, strict=True):
            key = picture.kind, picture.difficulty
            total[key] += 1
            right[key] += _label(session, found) == picture.label
        overall = sum(right.values()) / len(pictures)
        groups = [{"kind": k, "difficulty": d, "pictures": total[k, d], "right": right[k, d]} for k, d in sorted(total)]
        table.append({"model": model, "pictures": len(pictures), "accuracy": overall, "groups": groups})
    blank = [not _images(handwriting.without_digit(SEED * 1000 + i)) for i in range(60)]
    numbers = [handwriting.KINDS["scan"](str(10_000 + 7_919 * i % 90_000), SEED + i, 1 + i % 3) for i in range(60)]
    counted = [len(_images(number)) == 5 for number in numbers]
    return {"models": table, "blank_refused": float(np.mean(blank)), "five_digits_counted": float(np.mean(counted))}


def _label(session: Session, images: list[np.ndarray]) -> str:
    if not images:
        return ""
    features = np.stack(images).astype(np.float32) / 255
    return "".join(str(digit) for digit in session.probabilities(features).argmax(axis=1))


def _images(picture: handwriting.Picture) -> list[np.ndarray]:
    """What a model sees of a picture, after JPEG where the picture came so."""
    image = Image.fromarray(picture.pixels)
    if picture.jpeg_quality:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=picture.jpeg_quality)
        image = Image.open(file)
    image.thumbnail((1000, 1000))
    return [fit(digit) for digit in ink.digits(np.asarray(image.convert("RGB")))]
