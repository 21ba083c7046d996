"""The tables of learn.md, from the committed results and the solutions of the exercises: `make docs` writes them."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from exercises.solutions.counter import weights
from exercises.solutions.forget import kept, longest
from exercises.solutions.step import sigmoid, step
from pipeline.paths import ModelPaths
from pipeline.tasks.fable.data import tokenize

BITS = "bits-lstm24"
DIGITS = ("mnist-lstm256x2", "mnist-lstm128")
STORY = Path("data/fable/belling_the_cat_retold.txt")
CONTEXT = 3  # words
SMALL = 0.001  # per cent


def _table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return f"\n{tabulate(rows, headers, 'pipe', disable_numparse=True)}\n\n"


def _metrics(model: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(ModelPaths(model).metrics.read_text(encoding="utf-8"))
    return content


def counter() -> str:
    """The gates and the states of the counter by hand, after each bit of a string."""
    kernel, recurrent, bias = weights()
    h, c, rows = np.zeros(1), np.zeros(1), []
    for bit in "01101":
        x = np.array([float(bit)])
        z = x @ kernel + h @ recurrent + bias
        i, f, o = (float(sigmoid(z[gate])) for gate in (0, 1, 3))
        h, c = step(x, h, c, kernel, recurrent, bias)
        rows.append([bit, *(f"{value:.3f}" for value in (i, f, np.tanh(z[2]), o, c[0], h[0]))])
    return _table(["x", "i", "f", "g", "o", "c", "h"], rows)


def forgetting() -> str:
    """What a bias of the forget gate keeps, and how far a count gets with it."""
    rows = []
    for bias in (0.0, 1.0, 2.0, 5.0, 10.0, 40.0):
        left = (100 * kept(bias, steps) for steps in (1, 20, 1000))
        shares = [_share(share) for share in left]
        rows.append([f"{bias:g}", *shares, f"{longest(bias):,}{' or more' if longest(bias) == 1_000_000 else ''}"])
    return _table(["bias", "left after 1 step", "after 20", "after 1,000", "ones that are counted"], rows)


def _share(percent: float) -> str:
    """A share with as many digits as tell it from 0 and from 100 %."""
    if percent <= SMALL:
        return f"less than {SMALL} %"
    near = 100 - percent
    return f"{percent:.3f} %" if 0.001 <= near < 0.1 else "100 %" if near < 0.001 else f"{percent:.3g} %"


def lengths() -> str:
    """How often the trained counter is right, by length."""
    metrics = _metrics(BITS)
    rows = [
        ["1 to 19, all strings", "100.000%" if not metrics["wrong_shorter"] else f"{metrics['wrong_shorter']} wrong"]
    ]
    rows.append([f"20, the {metrics['examples']:,} strings that training did not use", f"{metrics['accuracy']:.3%}"])
    rows += [[f"{bits:,}, random strings", f"{metrics[f'accuracy_{bits}_bits']:.3%}"] for bits in (100, 1000, 10_000)]
    rows.append([f"up to {metrics['certified_steps']:,}, all strings", "proven"])
    return _table(["bits", "right"], rows)


def rows_read() -> str:
    """How often a digit is recognised after some of its rows."""
    table = []
    for model in DIGITS:
        metrics = _metrics(model)
        early = [f"{metrics[f'accuracy_after_{steps}_steps']:.1%}" for steps in (7, 14, 21)]
        table.append([f"`{model}`", *early, f"{metrics['accuracy']:.2%}"])
    return _table(["model", "7 rows", "14 rows", "21 rows", "28 rows"], table)


def followers() -> str:
    """The contexts of the story that more than one word follows."""
    tokens = tokenize(STORY.read_text(encoding="utf-8"))
    after: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for place in range(len(tokens) - CONTEXT):
        after[tuple(tokens[place : place + CONTEXT])].append(tokens[place + CONTEXT])
    ambiguous = {context: words for context, words in after.items() if len(set(words)) > 1}
    rows = [
        [f"`{' '.join(context)}`", ", ".join(f"`{word}`" for word in words)] for context, words in ambiguous.items()
    ]
    return _table([f"{len(ambiguous)} of {len(after)} contexts", "followed by"], rows)


def calibration() -> str:
    """The calibration error of each model, beside its value by chance."""
    names = sorted(path.parent.name for path in Path("models").glob("*/metrics.json"))
    rows = []
    for model in names:
        metrics = _metrics(model)
        errors = (metrics[f"expected_calibration_error{each}"] for each in ("", "_by_chance"))
        rows.append([f"`{model}`", f"{metrics['accuracy']:.2%}", *(f"{error:.2%}" for error in errors)])
    return _table(["model", "accuracy", "calibration error", "the same by chance"], rows)
