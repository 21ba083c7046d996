"""Fetch MNIST from the mirrors of params.yaml, and fail if none of them has it: `python .ci/fetch_mnist.py FOLDER`."""

import sys
from pathlib import Path

from pipeline import config
from pipeline.files import load_json
from pipeline.tasks.mnist.data import Data
from pipeline.tasks.mnist.raw import idx_files


def main(folder: Path) -> None:
    """Write the four files into `folder`, which MNIST_DIR may name afterwards."""
    params: Data.Generate = config.load().task("mnist").params.generate
    idx_files.fetch(params.mirrors, folder)
    if load_json(folder / "dataset.json", idx_files.AGAIN)["stand_in"]:
        sys.exit("error: no mirror of params.yaml has MNIST; see the warnings above.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
