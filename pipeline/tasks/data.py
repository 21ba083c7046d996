"""The base of every task's data.py: where the raw data come from, and the examples made of them."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.dataset import Examples, Outline
from pipeline.errors import PipelineError
from pipeline.files import write_bytes
from pipeline.section import Section


class Data(ABC):
    """The raw data of a task and its examples. `split` has no default."""

    Generate: type[Section] = Section  # the keys of tasks.NAME.generate in params.yaml; by default, there are none
    Split: type[Section] = Section  # those of tasks.NAME.split

    def outline(self, generate: Any, split: Any, source: Path) -> Outline | None:
        """What these parameters will make of the source, checked before any stage runs; None if only `split` can tell.

        Raises PipelineError if they do not fit together, or do not fit the source.
        """
        return None

    def generate(self, params: Any, source: Path, folder: Path) -> None:
        """Make the raw data from `source` and write them into `folder`; by default, a copy of the file."""
        if not source.is_file():
            raise PipelineError(f"{source} is not a file; name one in the task's source, or define generate.")
        write_bytes(source.read_bytes(), folder / source.name)

    @abstractmethod
    def split(self, params: Any, folder: Path, rng: np.random.Generator) -> Examples:
        """Read the raw data in `folder`; return the examples, each in one split."""
