"""One folder for each task. `Task` lists what a folder holds, file by file.

    data.py        the raw data, and the examples made of them: decides the weights
    features.py    encoded examples as floats: decides the weights
    inputs.py      what a user types or names, encoded: `pipeline predict` alone needs it
    evaluation.py  the task's own metrics and its picture of errors; may be left out

A stage imports only the files that it needs, so an edited picture retrains nothing. To add a task, add a folder and a
section in params.yaml; see docs/extending.md.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.dataset import DatasetInfo, Examples, Model, Outline
from pipeline.errors import PipelineError
from pipeline.predictions import Predictions
from pipeline.section import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SampleLine = Callable[[np.ndarray, int, int, DatasetInfo], str]
UserInput = str | bytes  # what a user types; where that names a file, also the content of one

CLASSES = 30  # that are named below the bars of accuracy, of many only some

CONTRACT: dict[str, dict[str, tuple[str, ...] | None]] = {  # file: what it must define; functions with parameters
    "data": {
        "Generate": None,
        "Split": None,
        "generate": ("params", "source", "folder"),
        "split": ("params", "folder", "rng"),
    },
    "features": {"features": ("encoded", "info")},
    "inputs": {"encode": ("text", "info")},
    "evaluation": {"evaluate": ("examples", "predictions", "model")},
}
OPTIONAL = {"evaluation"}  # files that may lack their names, or not exist


@dataclass(frozen=True)
class Task:
    """The code of one task. Each file of its folder is imported when it is first used; none needs TensorFlow."""

    name: str

    def check(self) -> None:
        """Raise PipelineError unless every file that must exist defines what CONTRACT lists, with these parameters."""
        for part, definitions in CONTRACT.items():
            module = self._file(part)
            for name, parameters in definitions.items():
                if not hasattr(module, name):
                    continue
                if problem := _problem(getattr(module, name), parameters):
                    raise PipelineError(f"pipeline/tasks/{self.name}/{part}.py: {name} {problem}; change it.")

    # data.py

    @property
    def generate_params(self) -> type[Section]:
        """The keys of tasks.NAME.generate in params.yaml: `Generate`."""
        return self._file("data").Generate  # type: ignore[no-any-return]

    @property
    def split_params(self) -> type[Section]:
        """The keys of tasks.NAME.split in params.yaml: `Split`."""
        return self._file("data").Split  # type: ignore[no-any-return]

    def outline(self, generate: Section, split: Section, source: Path) -> Outline | None:
        """What these parameters will make: checked before any stage runs. None if the task does not define it.

        Raises PipelineError if they do not fit together, or do not fit the source.
        """
        function = getattr(self._file("data"), "outline", None)
        return None if function is None else function(generate, split, source)

    def generate(self, params: Section, source: Path, folder: Path) -> None:
        """Make the raw data from `source` and write them into `folder`."""
        self._file("data").generate(params, source, folder)

    def split(self, params: Section, folder: Path, rng: np.random.Generator) -> Examples:
        """Read the raw data in `folder`; return checked examples, each in one split."""
        examples: Examples = self._file("data").split(params, folder, rng)
        return examples

    # features.py

    def features(self, encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
        """Encoded examples (batch, code) as the model reads them: float32 (batch, steps, features)."""
        return np.asarray(self._file("features").features(encoded, info))

    def step_targets(self, encoded: np.ndarray, info: DatasetInfo) -> np.ndarray:
        """The class after each step: integers (batch, steps). Only tasks whose every prefix has a class define it.

        Raises PipelineError if the task does not.
        """
        self.require_step_targets()
        return np.asarray(self._file("features").step_targets(encoded, info))

    def require_step_targets(self) -> None:
        """Raise PipelineError unless every prefix of the task's sequences has a class."""
        if not hasattr(self._file("features"), "step_targets"):
            raise PipelineError(
                f"pipeline/tasks/{self.name}/features.py does not define step_targets, which supervise: every-step "
                "needs; use supervise: last-step."
            )

    @property
    def feature_functions(self) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
        """`features` and `step_targets` themselves, for a process that has no folder of the task."""
        module = self._file("features")
        return module.features, module.step_targets

    # inputs.py, and what __init__.py says of it

    @property
    def input_help(self) -> str:
        """What an input of a user is: `INPUT` of the folder's __init__.py."""
        return str(getattr(importlib.import_module(f"{__name__}.{self.name}"), "INPUT", "see its inputs.py"))

    @property
    def reads_files(self) -> bool:
        """Whether an input is a file: its path, or its content as bytes. `READS_FILES`, if it is defined."""
        return bool(getattr(self._file("inputs"), "READS_FILES", False))

    def encode(self, given: UserInput, info: DatasetInfo) -> np.ndarray:
        """One input of a user as a code (code,). Raises PipelineError if it is not a valid input."""
        return np.asarray(self._file("inputs").encode(given, info))

    def steps(self, given: UserInput, info: DatasetInfo) -> int:
        """How many steps an input has. Only the tasks whose inputs differ in that define it."""
        function = getattr(self._file("inputs"), "steps", None)
        return info.shape[0] if function is None else int(function(given, info))

    @property
    def has_parts(self) -> bool:
        """Whether one input may hold several examples, as a picture of several digits does."""
        return hasattr(self._file("inputs"), "encode_all")

    def encode_all(self, given: UserInput, info: DatasetInfo) -> list[np.ndarray]:
        """The codes of all examples in one input, if `has_parts`. Raises PipelineError if it is not a valid input."""
        return [np.asarray(code) for code in self._file("inputs").encode_all(given, info)]

    def image(self, code: np.ndarray, info: DatasetInfo) -> np.ndarray:
        """A code as the image uint8 (rows, columns) that the model sees. Raises PipelineError if it sees no image."""
        function = getattr(self._file("inputs"), "image", None)
        if function is None:
            raise PipelineError(f"a {self.name} model does not read pictures; leave out --show.")
        return np.asarray(function(code, info))

    def decode(self, code: np.ndarray, info: DatasetInfo) -> str:
        """A code (code,) as text. Only the tasks whose inputs are text define it; autoregressive ones must."""
        return str(self._file("inputs").decode(code, info))

    # evaluation.py

    def evaluate(self, examples: Examples, predictions: Predictions, model: Model) -> "tuple[dict[str, float], Figure]":
        """The task's own metrics, beside accuracy and loss, and the picture that shows best what the model gets wrong.

        `model` predicts further examples, where the task measures more than the evaluated split. By default, no metrics
        and the accuracy of each class.
        """
        function = getattr(self._file("evaluation"), "evaluate", None)
        if function is None:
            return {}, _accuracy_by_class(predictions)
        metrics, figure = function(examples, predictions, model)
        return dict(metrics), figure

    def instructive(self, examples: Examples, predictions: Predictions) -> np.ndarray:
        """The code (code,) of an example that shows well how a network works; by default its most confident error.

        Without errors, the right prediction with the lowest probability; where none is kept, the first example.
        """
        if function := getattr(self._file("evaluation"), "instructive", None):
            return np.asarray(function(examples, predictions))
        wrong, probability = predictions.wrong, predictions.probability
        if not len(probability):
            return np.asarray(examples.encoded[0])
        row = np.argmax(np.where(wrong, probability, -1)) if wrong.any() else np.argmin(probability)
        return np.asarray(predictions.encoded[row])

    def text(self, code: np.ndarray, info: DatasetInfo) -> str:
        """A code as text, if inputs of the task are text; else ""."""
        return self.decode(code, info) if hasattr(self._file("inputs"), "decode") else ""

    @property
    def sample_line(self) -> SampleLine | None:
        """What a training prints about one example: (code, predicted, target, info) as text. None if not defined."""
        return getattr(self._file("evaluation"), "sample_line", None)

    def _file(self, part: str) -> Any:
        module = _import(self.name, part)
        missing = [name for name in CONTRACT[part] if not hasattr(module, name)]
        if missing and part not in OPTIONAL:
            raise PipelineError(f"pipeline/tasks/{self.name}/{part}.py does not define {missing[0]}; add it.")
        return module


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


def _accuracy_by_class(predictions: Predictions) -> "Figure":
    """A bar for each class of the evaluated examples, in the order of the class names."""
    from matplotlib.figure import Figure

    totals = predictions.totals
    classes, examples, wrong = totals.by_class().T
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.bar(np.arange(len(classes)), 100 * (1 - wrong / examples), color="#2471a3")
    axes.set(ylabel="right, %", ylim=(0, 100), title=f"{totals.wrong:,} of {totals.examples:,} examples wrong")
    shown = np.arange(0, len(classes), -(-len(classes) // CLASSES))
    names = [predictions.info.class_names[i].replace("$", r"\$") for i in classes[shown]]
    axes.set_xticks(shown, names, rotation=30, ha="right")
    return figure


def _problem(definition: Any, parameters: tuple[str, ...] | None) -> str:
    """What is wrong with a definition: a section without parameters, or a function with them. "" if nothing is."""
    if parameters is None:
        is_section = isinstance(definition, type) and issubclass(definition, Section)
        return "" if is_section else "is not a subclass of pipeline.section.Section, expected one"
    if not callable(definition):
        return f"is not a function, expected one of ({', '.join(parameters)})"
    signature = inspect.signature(definition)
    try:
        signature.bind(*parameters)
    except TypeError:
        return f"takes ({', '.join(signature.parameters)}), expected ({', '.join(parameters)})"
    return ""


def _import(task: str, part: str) -> ModuleType:
    """A file of a task's folder; an empty module for one that may be left out and is."""
    module = f"{__name__}.{task}.{part}"
    try:
        return importlib.import_module(module)
    except SyntaxError as error:
        raise PipelineError(f"pipeline/tasks/{task}/{part}.py, line {error.lineno}: {error.msg}; fix it.") from None
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        if part in OPTIONAL:
            return ModuleType(module)
        raise PipelineError(f"pipeline/tasks/{task}/{part}.py does not exist; add it.") from None
