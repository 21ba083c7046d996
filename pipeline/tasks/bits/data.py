"""All strings of `length` bits; some of them train, all others test.

A string is drawn as the number that it writes: "0110" is 6. Its class is 2, the number of ones. No table of all strings
is made: the strings that test are the numbers below 2^length that do not train.
"""

from math import comb
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from pipeline.dataset import DatasetInfo, Examples, Outline, binary
from pipeline.errors import PipelineError
from pipeline.files import damaged, load_json
from pipeline.formats import write_json
from pipeline.paths import repro
from pipeline.section import Section
from pipeline.tasks import data

AGAIN = repro("generate", "bits", force=True)
LONGEST = 30  # bits
PERMUTED = 20  # bits, up to which all strings are permuted to draw some
SHARE = 50  # of longer strings, at most one of so many may train: to draw more of them takes memory for all


class Data(data.Data):
    """Strings of bits: those that train are drawn, all others test."""

    class Generate(Section):
        """Keys of tasks.bits.generate."""

        length: Annotated[int, Field(ge=2, le=LONGEST)]  # bits of a string; docs/limits.md says what many bits cost

    class Split(Section):
        """Keys of tasks.bits.split."""

        train: Annotated[int, Field(ge=1, le=50_000_000)]  # strings drawn at random; all others test

    def outline(self, generate: Generate, split: Split, source: Path) -> Outline:
        """Strings of `length` steps of one bit; the test split is implicit.

        Raises PipelineError if too many train.
        """
        _require_fewer(split.train, generate.length)
        return Outline((generate.length, 1), ("train",))

    def generate(self, params: Generate, source: Path, folder: Path) -> None:
        """Write which strings there are: their length, and their number."""
        write_json({"length": params.length, "strings": 2**params.length}, folder / "strings.json")

    def split(self, params: Split, folder: Path, rng: np.random.Generator) -> Examples:
        """Draw the training strings; every other string tests."""
        path = folder / "strings.json"
        length = load_json(path, AGAIN, {"length": int})["length"]
        if not 2 <= length <= LONGEST:
            raise damaged(path, AGAIN, f"length is {length}")
        strings = 2**length
        _require_fewer(params.train, length)
        if length <= PERMUTED:
            numbers = rng.permutation(strings)[: params.train]
        else:  # without memory for all strings
            numbers = rng.choice(strings, params.train, replace=False)
        ones = np.bitwise_count(numbers)
        info = DatasetInfo(
            task="bits",
            dataset=f"bits-{length}",
            stand_in=False,
            shape=(length, 1),
            class_names=[str(count) for count in range(length + 1)],
            eval_split="test",
            autoregressive=False,
            encoding="a string of 0 and 1, first character first; each is one step of one feature, 0.0 or 1.0",
            splits={"train": params.train, "test": strings - params.train},
            implicit_split=True,
        )
        of_all = np.array([comb(length, count) for count in range(length + 1)])
        test = of_all - np.bincount(ones, minlength=length + 1)
        return Examples(info, binary(numbers, length), ones, test)


def _require_fewer(train: int, length: int) -> None:
    strings = 2**length
    if train >= strings:
        raise PipelineError(
            f"tasks.bits.split.train is {train}, but there are {strings} strings of {length} bits and at least one "
            "must be left to test; use a smaller number."
        )
    if length > PERMUTED and train > strings // SHARE:
        raise PipelineError(
            f"tasks.bits.split.train is {train:,}, of {length} bits at most {strings // SHARE:,} strings can train; "
            "use a smaller number."
        )
