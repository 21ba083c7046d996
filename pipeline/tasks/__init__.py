"""One module a task; what the stages ask of each is written down in `Task`.

To add a task, write `pipeline/tasks/NAME.py` with these names and give it a section in params.yaml.
"""

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from pydantic import BaseModel, ConfigDict

from pipeline.errors import BadInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.data import Answers, Card, Examples


class Section(BaseModel):
    """A mapping in params.yaml: its keys are its fields, no others, each of exactly its type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Task(Protocol):
    """What a task's module holds. No function needs TensorFlow; `read` and `features` not even pandas."""

    Generate: type[Section]  # the keys of tasks.NAME.generate
    Split: type[Section]  # the keys of tasks.NAME.split
    EVALUATED: str  # the part whose accuracy counts
    CONTINUES: bool  # whether an answer can be fed back as the last code of the next question

    def generate(self, params: Any, source: Path, folder: Path) -> None:
        """Make the raw data of `source` and write them into `folder`."""

    def split(self, params: Any, folder: Path, rng: np.random.Generator) -> "Examples":
        """Read the raw data in `folder` into checked examples, each in one part."""

    def features(self, codes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Codes (batch, code) as the model reads them: float32 (batch, steps, features)."""

    def read(self, text: str, card: "Card") -> np.ndarray:
        """The code of what a person wrote; BadInput if it cannot be one."""

    def write(self, code: np.ndarray, labels: Sequence[str]) -> str:
        """A code as a person would write it."""

    def metrics(self, answers: "Answers") -> dict[str, float]:
        """Figures of this task beyond accuracy and loss; often none."""

    def draw(self, answers: "Answers") -> "Figure":
        """The picture that shows best where the model errs."""


def names() -> list[str]:
    """The tasks that have a module, sorted; a name with an underscore is a part of another's."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if "_" not in module.name)


def load(name: str) -> Task:
    """The module of task `name`; BadInput if there is none."""
    if name not in names():
        raise BadInput(
            f"there is no task {name!r}: write pipeline/tasks/{name}.py, or name one of {', '.join(names())}."
        )
    return cast(Task, importlib.import_module(f"{__name__}.{name}"))
