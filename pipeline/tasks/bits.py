"""Count the ones in a string of bits: all 2^length strings, a few of which train and the rest test."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from pipeline.data import Answers, Card, Examples, load_parquet, write_parquet
from pipeline.errors import BadInput, quoted
from pipeline.tasks import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENCODING = "a string of 0 and 1, first character first; each is one step of one feature, 0.0 or 1.0"
EVALUATED = "test"
CONTINUES = False


class Generate(Section):
    """Keys of tasks.bits.generate."""

    length: Annotated[int, Field(ge=2, le=24)]  # bits a string; 2^24 strings take some 2 GiB to split


class Split(Section):
    """Keys of tasks.bits.split."""

    train: Annotated[int, Field(ge=1)]  # strings drawn at random; all others test


def generate(params: Generate, source: Path, folder: Path) -> None:
    """Write every string of `length` bits as a number (its first character the highest bit), with its ones."""
    import pandas as pd

    numbers = np.arange(2**params.length, dtype=np.uint32)
    write_parquet(pd.DataFrame({"number": numbers, "ones": np.bitwise_count(numbers)}), folder / "strings.parquet")


def split(params: Split, folder: Path, rng: np.random.Generator) -> Examples:
    """Draw the training strings; every other string tests."""
    path = folder / "strings.parquet"
    table = load_parquet(path, "dvc repro --force generate@bits")
    numbers, ones = table["number"].to_numpy(), table["ones"].to_numpy()
    length = max(len(table) - 1, 1).bit_length()
    if len(table) != 2**length:
        raise BadInput(
            f"{path} holds {len(table)} strings, expected a power of two; `dvc repro --force generate@bits`."
        )
    _expect(path, "number", numbers, np.arange(2**length))
    _expect(path, "ones", ones, np.bitwise_count(numbers))
    if params.train >= len(table):
        raise BadInput(
            f"tasks.bits.split.train asks for {params.train} of the {len(table)} strings in {path}, "
            "and none would be left to test; ask for fewer."
        )
    drawn = rng.permutation(len(table))
    parts = np.where(np.arange(len(table)) < params.train, "train", "test")
    card = Card("bits", f"bits-{length}", (length, 1), [str(count) for count in range(length + 1)], ENCODING)
    return Examples(card, numbers[drawn, None], ones[drawn], parts)


def _expect(path: Path, column: str, got: np.ndarray, expected: np.ndarray) -> None:
    wrong = np.flatnonzero(got != expected)
    if wrong.size:
        row = wrong[0]
        raise BadInput(
            f"{path}, row {row}: {column} is {got[row]}, expected {expected[row]}; make it again with "
            "`dvc repro --force generate@bits`."
        )


def features(codes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Numbers (batch, 1) as bits, float32 (batch, length, 1), the highest first."""
    places = np.arange(shape[0] - 1, -1, -1, dtype=np.uint32)
    return (codes.astype(np.uint32) >> places & 1)[:, :, None].astype(np.float32)


def read(text: str, card: Card) -> np.ndarray:
    """The number (1,) that a string of 0 and 1 stands for."""
    length = card.shape[0]
    strange = sorted(set(text) - {"0", "1"})
    if strange:
        raise BadInput(f"{quoted(text)} holds {strange[0]!r}, expected {length} characters, each 0 or 1; leave it out.")
    if len(text) != length:
        raise BadInput(
            f"{quoted(text)} has {len(text)} bits, expected {length}; give a string of {length} zeros and ones."
        )
    return np.array([int(text, 2)], np.uint32)


def write(code: np.ndarray, labels: Sequence[str]) -> str:
    """The string of bits of a code."""
    return f"{int(code[0]):0{len(labels) - 1}b}"


def metrics(answers: Answers) -> dict[str, float]:
    """Nothing beyond accuracy and loss."""
    return {}


def draw(answers: Answers) -> "Figure":
    """The error for each number of ones, above how many strings have that number."""
    from matplotlib.figure import Figure

    ones = np.arange(len(answers.card.labels))
    strings = np.bincount(answers.classes, minlength=len(ones))
    wrong = np.bincount(answers.classes[answers.wrong], minlength=len(ones))
    share = np.divide(100.0 * wrong, strings, out=np.zeros(len(ones)), where=strings > 0)
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    error, count = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    bars = error.bar(ones, share, color="#c0392b")
    error.bar_label(bars, [f"{w:,}" if w else "" for w in wrong], fontsize=8)
    error.set(ylabel="wrong, %", ylim=(0, max(1.0, share.max()) * 1.12))
    error.set_title(
        f"{answers.wrong.sum():,} of {len(answers.classes):,} strings miscounted (their number above each bar)"
    )
    count.bar(ones, strings, color="#34495e")
    count.set(yscale="symlog", ylabel="strings tested", xlabel="ones in the string", xticks=ones)
    return figure
