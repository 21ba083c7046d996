"""How many rendered pictures of digits are read right; see bench/handwriting.py."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from bench import handwriting
from bench.handwriting import Picture
from pipeline.inference import predict
from pipeline.inference.predict import Options, Prediction

MODELS = ("mnist-lstm256x2", "mnist-lstm128")
SEED = 2027  # of pictures that neither the reader nor a test was tuned on


def accuracy(full: bool) -> dict[str, Any]:
    """The share of pictures read right, by model, kind and difficulty; blank pages and numbers, too."""
    pictures = handwriting.collection(1800 if full else 360, SEED) + handwriting.hard(1200 if full else 240, SEED)
    nothing = {kind: [make(SEED * 1000 + i) for i in range(60)] for kind, make in handwriting.WITHOUT.items()}
    numbers = [handwriting.scan(str(10_000 + 7_919 * i % 90_000), SEED + i, 1 + i % 3) for i in range(60)]
    counted = [len(label) == 5 for label in _labels(MODELS[0], numbers, Options(digits=True))]
    return {
        "models": [_by_group(model, pictures) for model in MODELS],
        "refused": {
            kind: float(np.mean([not label for label in _labels(MODELS[0], n)])) for kind, n in nothing.items()
        },
        "five_digits_counted": float(np.mean(counted)),
    }


def _by_group(model: str, pictures: list[Picture]) -> dict[str, Any]:
    right: Counter[tuple[str, int]] = Counter()
    total: Counter[tuple[str, int]] = Counter()
    for picture, label in zip(pictures, _labels(model, pictures), strict=True):
        key = picture.kind, picture.difficulty
        total[key] += 1
        right[key] += label == picture.label
    groups = [{"kind": k, "difficulty": d, "pictures": total[k, d], "right": right[k, d]} for k, d in sorted(total)]
    return {"model": model, "pictures": len(pictures), "accuracy": right.total() / len(pictures), "groups": groups}


def _labels(model: str, pictures: list[Picture], options: Options = predict.DEFAULT) -> list[str]:
    """What `pipeline predict` answers for each picture; "" if it refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(handwriting.save(picture, Path(folder), str(i))) for i, picture in enumerate(pictures)]
        results = predict.load(model).predict(paths, options)
        return [result.label if isinstance(result, Prediction) else "" for result in results]
