"""One folder for each task. Each of its files has a base beside this one, which says what it must define.

    data.py        `Data`: the raw data, and the examples made of them; decides the weights
    features.py    `features`: encoded examples as floats; decides the weights
    inputs.py      `Inputs`: what a user types or names, encoded; may be left out
    evaluation.py  `Evaluation`: the task's own metrics and its picture of errors; may be left out
    about.py       `About`: where the data come from, for the card of the dataset; may be left out

A stage imports only the files that it needs, so an edited picture retrains nothing. To add a task, add a folder and a
section in params.yaml; see docs/extending.md.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

import numpy as np

from pipeline.errors import PipelineError
from pipeline.tasks.about import About
from pipeline.tasks.data import Data
from pipeline.tasks.evaluation import Evaluation
from pipeline.tasks.inputs import Inputs

Base = TypeVar("Base", Data, Inputs, Evaluation, About)
FromEncoded = Callable[..., np.ndarray]  # of (encoded, info)


@dataclass(frozen=True)
class Task:
    """The code of one task. Each file of its folder is imported when it is first used; none needs TensorFlow."""

    name: str

    @property
    def data(self) -> Data:
        """What `generate` and `split` run."""
        return self._own(Data)  # type: ignore[type-abstract]  # `_own` refuses what is abstract

    @property
    def inputs(self) -> Inputs:
        """How a user's input becomes an encoded example."""
        return self._own(Inputs)

    @property
    def evaluation(self) -> Evaluation:
        """What `evaluate` measures and draws beside what it does for each task."""
        return self._own(Evaluation)

    @property
    def about(self) -> About:
        """Where the data come from."""
        return self._own(About)

    @property
    def features(self) -> FromEncoded:
        """Encoded examples (batch, code) and their DatasetInfo to float32 (batch, steps, features), for the model."""
        function: FromEncoded | None = getattr(self._file("features"), "features", None)
        if not callable(function):
            raise PipelineError(f"{self._path('features')} does not define the function features; add it.")
        return function

    @property
    def step_targets(self) -> FromEncoded | None:
        """Encoded examples and their DatasetInfo to the class after each step: integers (batch, steps).

        None unless the task defines it, as one does whose every prefix has a class of its own.
        """
        return getattr(self._file("features"), "step_targets", None)

    def check(self) -> None:
        """Raise PipelineError unless every file that must exist defines what it must."""
        _ = self.data, self.features, self.inputs, self.evaluation, self.about

    def _own(self, base: type[Base]) -> Base:
        """The task's subclass of a base, under the same name; the base itself if the task has none."""
        file = base.__module__.rpartition(".")[2]
        own = getattr(self._file(file), base.__name__, base)
        if not (isinstance(own, type) and issubclass(own, base)):
            raise PipelineError(f"{self._path(file)}: {base.__name__} does not subclass {base.__module__}'s; fix it.")
        for name in sorted(getattr(own, "__abstractmethods__", ())):
            raise PipelineError(f"{self._path(file)} does not define {base.__name__}.{name}; add it.")
        return own()

    def _path(self, file: str) -> str:
        return f"pipeline/tasks/{self.name}/{file}.py"

    def _file(self, file: str) -> ModuleType:
        """A file of the task's folder; an empty module if there is none."""
        module = f"{__name__}.{self.name}.{file}"
        try:
            return importlib.import_module(module)
        except SyntaxError as error:
            raise PipelineError(f"{self._path(file)}, line {error.lineno}: {error.msg}; fix it.") from None
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            return ModuleType(module)


def names() -> list[str]:
    """The tasks that have a folder, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def load(name: str) -> Task:
    """The code of task `name`. Raises PipelineError if it has no folder."""
    if name not in names():
        raise PipelineError(
            f"there is no task {name!r}; add the folder pipeline/tasks/{name}, or use one of {', '.join(names())}."
        )
    return Task(name)
