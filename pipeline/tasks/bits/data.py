"""All strings of `length` bits; some of them train, all others test.

"0110" is the number 6, its highest bit read first; its class is 2, the number of ones.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from pipeline.dataset import DatasetInfo, Examples
from pipeline.errors import PipelineError
from pipeline.files import load_parquet, write_parquet
from pipeline.paths import repro
from pipeline.section import Section

AGAIN = repro("generate", "bits", force=True)


class Generate(Section):
    """Keys of tasks.bits.generate."""

    length: Annotated[int, Field(ge=2, le=24)]  # bits of a string; 2^24 strings take some 2 GiB to split


class Split(Section):
    """Keys of tasks.bits.split."""

    train: Annotated[int, Field(ge=1)]  # strings drawn at random; all others test


def generate(params: Generate, source: Path, folder: Path) -> None:
    """Write every string of `length` bits as a number, with its count of ones."""
    import pandas as pd

    numbers = np.arange(2**params.length, dtype=np.uint32)
    write_parquet(pd.DataFrame({"number": numbers, "ones": np.bitwise_count(numbers)}), folder / "strings.parquet")


def split(params: Split, folder: Path, rng: np.random.Generator) -> Examples:
    """Draw the training strings; every other string tests."""
    path = folder / "strings.parquet"
    table = load_parquet(path, AGAIN)
    numbers, ones = table["number"].to_numpy(), table["ones"].to_numpy()
    length = max(len(table) - 1, 1).bit_length()
    if len(table) != 2**length:
        raise PipelineError(f"{path} holds {len(table)} strings, expected a power of two; run `{AGAIN}`.")
    _expect(path, "number", numbers, np.arange(2**length))
    _expect(path, "ones", ones, np.bitwise_count(numbers))
    if params.train >= len(table):
        raise PipelineError(
            f"tasks.bits.split.train is {params.train}, but {path} holds {len(table)} strings and at least one must be "
            "left to test; use a smaller number."
        )
    order = rng.permutation(len(table))
    splits = np.where(np.arange(len(table)) < params.train, "train", "test")
    info = DatasetInfo(
        task="bits",
        dataset=f"bits-{length}",
        stand_in=False,
        shape=(length, 1),
        class_names=[str(count) for count in range(length + 1)],
        eval_split="test",
        autoregressive=False,
        encoding="a string of 0 and 1, first character first; each is one step of one feature, 0.0 or 1.0",
    )
    return Examples(info, numbers[order, None], ones[order], splits)


def _expect(path: Path, column: str, values: np.ndarray, expected: np.ndarray) -> None:
    wrong = np.flatnonzero(values != expected)
    if wrong.size:
        row = wrong[0]
        raise PipelineError(f"{path}, row {row}: {column} is {values[row]}, expected {expected[row]}; run `{AGAIN}`.")
