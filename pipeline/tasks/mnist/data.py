"""MNIST: 28 x 28 pixels of a handwritten digit, and which digit it is.

Where MNIST cannot be had, the digits that scikit-learn ships take its place, under a dataset name of their own.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from pipeline.dataset import DatasetInfo, Examples, Outline
from pipeline.errors import PipelineError
from pipeline.files import load_json
from pipeline.section import Section
from pipeline.tasks import data
from pipeline.tasks.mnist.raw import idx_files
from pipeline.tasks.mnist.raw.image import SIDE

TRAIN = 60_000  # training images of MNIST


def _without_credentials(address: str) -> str:
    if "@" in address or "?" in address:
        raise PipelineError(
            "params.yaml: tasks.mnist.generate.mirrors: an address contains a user name or a query, and parameters are "
            "recorded for everyone to read; remove it, download the files, and set MNIST_DIR to their folder."
        )
    return address


class Data(data.Data):
    """MNIST, or its stand-in."""

    class Generate(Section):
        """Keys of tasks.mnist.generate."""

        # Addresses of folders that hold the four files, gzipped.
        mirrors: Annotated[list[Annotated[str, AfterValidator(_without_credentials)]], Field(min_length=1)]

    class Split(Section):
        """Keys of tasks.mnist.split."""

        validation: Annotated[int, Field(ge=1, lt=TRAIN)]  # the last training images; a stand-in keeps the same share

    def outline(self, generate: Generate, split: Split, source: Path) -> Outline:
        """Images of 28 rows of 28 pixels, in three splits."""
        return Outline((SIDE, SIDE), ("train", "validation", "test"))

    def generate(self, params: Generate, source: Path, folder: Path) -> None:
        """Write the four IDX files of MNIST, or of its stand-in, and dataset.json, which says which of them it is."""
        idx_files.fetch(params.mirrors, folder)

    def split(self, params: Split, folder: Path, rng: np.random.Generator) -> Examples:
        """The training images in their order, the last of them for validation; then the test images."""
        raw = load_json(folder / "dataset.json", idx_files.AGAIN, {"dataset": str, "stand_in": bool})
        train, train_targets = idx_files.load(folder, "train")
        test, test_targets = idx_files.load(folder, "t10k")
        # At least one image trains, and at least one validates.
        held_out = int(np.clip(round(params.validation * len(train) / TRAIN), 1, len(train) - 1))
        sizes = {"train": len(train) - held_out, "validation": held_out, "test": len(test)}
        info = DatasetInfo(
            task="mnist",
            dataset=raw["dataset"],
            stand_in=raw["stand_in"],
            shape=(SIDE, SIDE),
            class_names=[str(digit) for digit in range(10)],
            eval_split="test",
            autoregressive=False,
            encoding="a picture of one digit, its strokes fitted in 20 x 20 and centred by mass in 28 x 28; each row "
            "is one step of 28 features, 0.0 for background to 1.0 for ink",
            splits=sizes,
        )
        encoded = np.concatenate([train, test]).reshape(-1, SIDE * SIDE)
        return Examples(info, encoded, np.concatenate([train_targets, test_targets]))
