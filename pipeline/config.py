"""params.yaml as frozen, typed objects. An unknown key or an invalid value is refused by its dotted name.

`load().model(name)` resolves a name once: behind it, one ModelSetup holds the model's task, network, recipe and paths.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from pipeline import tasks
from pipeline.dataset import Outline
from pipeline.errors import PipelineError, quoted, shortened
from pipeline.files import parse_yaml
from pipeline.paths import PARAMS, ModelPaths, TaskPaths
from pipeline.recipe import Network, Recipe
from pipeline.section import Section, check

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)]
LONGEST_NAME = 200  # bytes of a file's name, to which a task may add some
LONGEST_WALK = 10**9  # rows
TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]  # also the name of a Python package


class Reference(Section):
    """What the program that the model re-creates printed."""

    accuracy: Annotated[float, Field(gt=0, le=1)] | None = None  # null: it printed none
    dataset: str | None = None  # the dataset that it had; on another one, the two cannot be compared


class Gate(Section):
    """What a version in the registry must reach to become the champion."""

    floor: Annotated[float, Field(ge=0, le=1)] = 0.0  # accuracy
    worst_class: Annotated[float, Field(ge=0, le=1)] = 0.0  # accuracy of the class that has the lowest


class ModelParams(Section):
    """One network for one task, and the recipes that train it."""

    task: str
    recipe: Name  # one of the recipes
    reference: Reference = Reference()
    gate: Gate = Gate()
    network: Network
    recipes: Annotated[dict[Name, Recipe], Field(min_length=1)]

    @model_validator(mode="after")
    def _a_count_is_read_from_an_lstm(self) -> "ModelParams":
        counting = [name for name, recipe in self.recipes.items() if recipe.readout == "count"]
        if counting and self.network.cell != "lstm":
            raise ValueError(f"the recipe {counting[0]} reads a count from the cell state; use cell: lstm")
        return self

    @model_validator(mode="after")
    def _first_recurrent_weights_are_those_of_an_lstm(self) -> "ModelParams":
        recipe = self.recipes.get(self.recipe)
        if recipe and self.network.cell != "lstm" and (recipe.init.recurrent, recipe.init.forget_bias) != ("keras", 1):
            raise ValueError(f"the recipe {self.recipe} sets init.recurrent or init.forget_bias; use cell: lstm")
        return self


class TaskParams(Section):
    """What `generate` and `split` of one task take."""

    source: str  # the file or folder that the raw data are made from; DVC watches it
    generate: Any  # the task's own Generate
    split: Any  # the task's own Split

    @field_validator("source")
    @classmethod
    def _it_can_name_a_dataset(cls, source: str) -> str:
        """A task may name a dataset after its source, and with it files and the titles of figures."""
        name = Path(source).name
        if len(name.encode(errors="replace")) > LONGEST_NAME or "$" in name or not name.isprintable():
            raise ValueError(
                f"a file name of at most {LONGEST_NAME} bytes, without $ and control characters, is expected; rename it"
            )
        return source


@dataclass(frozen=True)
class TaskSetup(tasks.Task):
    """One task, resolved: its code, its parameters, its paths."""

    params: TaskParams
    seed: int

    @property
    def source(self) -> Path:
        """The file or folder that the raw data are made from."""
        return Path(self.params.source)

    def outline(self) -> Outline | None:
        """What the parameters will make of the source. Raises PipelineError if they do not fit."""
        return self.data.outline(self.params.generate, self.params.split, self.source)

    @property
    def paths(self) -> TaskPaths:
        """Where its data are."""
        return TaskPaths(self.name)


@dataclass(frozen=True)
class ModelSetup:
    """One model, resolved: its task, its network, its recipe, its paths."""

    name: str
    task: TaskSetup
    params: ModelParams
    seed: int

    @property
    def network(self) -> Network:
        """The layers."""
        return self.params.network

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        return self.params.recipes[self.recipe_name]

    @property
    def recipe_name(self) -> str:
        """The recipe that params.yaml chooses for it."""
        return self.params.recipe

    @property
    def paths(self) -> ModelPaths:
        """Where its files are."""
        return ModelPaths(self.name)

    def require_fit(self, outline: Outline) -> None:
        """Raise PipelineError if the network or the recipe does not fit a dataset."""
        key, recipe = f"models.{self.name}", self.recipe
        if recipe.monitor and recipe.monitor not in outline.stored:
            raise PipelineError(
                f"{self.task.name} stores no {recipe.monitor} split that {key} could monitor; "
                f"set {key}.recipes.{self.recipe_name}.monitor to null."
            )
        if recipe.order == "walk" and (rows := (recipe.steps or 0) * recipe.batch_size) > LONGEST_WALK:
            raise PipelineError(
                f"{key}.recipes.{self.recipe_name}: a walk of {rows:,} rows, steps times batch_size, does not fit in "
                f"memory; use at most {LONGEST_WALK:,}."
            )
        if self.network.embedding and outline.shape[1] != 1:
            raise PipelineError(
                f"{key}.network.embedding needs one number at each step, and {self.task.name} has {outline.shape[1]}; "
                "set it to null."
            )

    def used_params(self) -> dict[str, Any]:
        """The parameters of params.yaml that the model depends on, by their dotted keys."""
        model = {
            "task": self.task.name,
            "network": self.network.model_dump(exclude_unset=True),
            "recipes": {self.recipe_name: self.recipe.model_dump(exclude_unset=True)},
        }
        task = self.task.params.model_dump(exclude_unset=True)
        return flatten({"seed": self.seed, "models": {self.name: model}, "tasks": {self.task.name: task}})


class Config(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    tasks: dict[TaskName, TaskParams]
    models: dict[Name, ModelParams]

    def task(self, name: str) -> TaskSetup:
        """Resolve a task. Raises PipelineError if params.yaml does not have it."""
        if name not in self.tasks:
            raise PipelineError(f"{PARAMS} has no task {name!r}; use one of {', '.join(self.tasks)}.")
        return TaskSetup(name, self.tasks[name], self.seed)

    def model(self, name: str) -> ModelSetup:
        """Resolve a model. Raises PipelineError if params.yaml does not have it."""
        if name in self.tasks:
            of_task = [model for model, params in self.models.items() if params.task == name]
            raise PipelineError(f"{name!r} is a task; give one of its models: {', '.join(of_task) or 'it has none'}.")
        if name not in self.models:
            raise PipelineError(f"{PARAMS} has no model {name!r}; use one of {', '.join(self.models)}.")
        params = self.models[name]
        return ModelSetup(name, self.task(params.task), params, self.seed)

    def all_models(self) -> list[ModelSetup]:
        """Every model, in the order of params.yaml."""
        return [self.model(name) for name in self.models]


def load(path: Path = PARAMS) -> Config:
    """Read and check `path`. Raises PipelineError with the dotted key of the first thing that is wrong."""
    config = check(Config, _parse(path), path, ())
    typed = {}
    for name, params in config.tasks.items():
        try:
            data = tasks.load(name).data
        except PipelineError as error:
            raise PipelineError(f"{path}: tasks.{name}: {error}") from None
        if not _exists(params.source):
            raise PipelineError(
                f"{path}: tasks.{name}.source: {quoted(params.source)} does not exist; name a file or folder that does."
            )
        sections = {"generate": data.Generate, "split": data.Split}
        checked = {key: check(kind, getattr(params, key), path, ("tasks", name, key)) for key, kind in sections.items()}
        typed[name] = params.model_copy(update=checked)
    for name, model in config.models.items():
        if model.task not in typed:
            raise PipelineError(
                f"{path}: models.{name}.task: got {quoted(model.task)}, expected one of `tasks`: {', '.join(typed)}."
            )
        if model.recipe not in model.recipes:
            raise PipelineError(
                f"{path}: models.{name}.recipe: got {quoted(model.recipe)}, expected one of its `recipes`: "
                f"{shortened(', '.join(model.recipes), 300)}."
            )
    return config.model_copy(update={"tasks": typed})


def flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one of dotted keys: {"a": {"b": 1}} is {"a.b": 1}."""
    if not isinstance(content, dict) or (prefix and not content):
        return {prefix: content}
    return {
        key: value
        for name, part in content.items()
        for key, value in flatten(part, f"{prefix}.{name}".lstrip(".")).items()
    }


def _exists(source: str) -> bool:
    try:
        return bool(source) and (Path(source).is_file() or Path(source).is_dir())  # no device
    except (OSError, ValueError):  # a name that no file can have
        return False


def _parse(path: Path) -> Any:
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"there is no {path} here; run this command in the root of the project.") from None
    except OSError as error:
        raise PipelineError(f"{path} could not be read ({error.strerror}); fix that.") from None
    except ValueError as error:  # UnicodeDecodeError, too
        raise PipelineError(f"{path} is not valid YAML: {quoted(str(error), 200)}; fix it there.") from None
