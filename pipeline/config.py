"""params.yaml as frozen, typed objects; an unknown key or an impossible value is refused by its dotted name."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from pipeline import tasks
from pipeline.errors import BadInput
from pipeline.tasks import Section

PARAMS = Path("params.yaml")

Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Count = Annotated[int, Field(ge=1)]
Kind = TypeVar("Kind", bound=BaseModel)


class Network(Section):
    """The layers between an example (steps, features) and its class."""

    dense: Annotated[int, Field(ge=0)]  # units of a linear layer on every step; 0: none
    lstm: Annotated[list[Count], Field(min_length=1)]  # units of each LSTM, first to last
    dropout: Annotated[float, Field(ge=0, lt=1)]  # share dropped from each LSTM's output while training


class Initial(Section):
    """How the dense layers begin; LSTMs begin as Keras' do, with a forget bias of 1."""

    weights: Literal["glorot-uniform", "normal", "truncated-normal"]
    deviation: Annotated[float, Field(gt=0)] | None  # of the two normals
    bias: float | Literal["normal"]  # a constant, or drawn like the weights

    @model_validator(mode="after")
    def _deviation_goes_with_normal(self) -> "Initial":
        if (self.deviation is None) != (self.weights == "glorot-uniform"):
            raise ValueError("a deviation goes with normal and truncated-normal weights, null with glorot-uniform")
        if self.bias == "normal" and self.weights == "glorot-uniform":
            raise ValueError("a normal bias needs the deviation of normal weights")
        return self


class Recipe(Section):
    """How a network is taught."""

    steps: Count  # batches in all
    batch: Count  # examples a step
    order: Literal["fixed", "shuffled", "walk"]  # see train.lesson_plan
    report: Count  # steps between two lines of the history: what Keras calls an epoch here
    monitor: Literal["none", "validation", "test"]  # the part also measured at each report
    optimizer: Literal["adam", "rmsprop"]
    rate: Annotated[float, Field(gt=0, le=1)]  # learning rate; the peak of a one-cycle
    schedule: Literal["constant", "one-cycle"]
    loss: Literal["sum", "mean", "mean-over-classes"]  # cross-entropy, over the batch
    clip: Annotated[float, Field(ge=0, lt=1)]  # least probability the loss sees; 0: no clipping
    initial: Initial


class Published(Section):
    """The figure that the model is measured against."""

    accuracy: Annotated[float, Field(gt=0, le=1)] | None  # null: none was printed


class Gate(Section):
    """What a registered version must reach to become the champion."""

    floor: Annotated[float, Field(ge=0, le=1)]  # accuracy


class Model(Section):
    """One network for one task, with both ways to teach it."""

    task: str
    figure: Published
    gate: Gate
    network: Network
    fast: Recipe
    published: Recipe


class TaskParams(Section):
    """What `generate` and `split` of one task take; the types are the task's own."""

    source: str  # the file that the data are made from: DVC watches it
    generate: Any
    split: Any


class Config(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    recipe: Literal["fast", "published"]
    tasks: dict[Name, TaskParams]
    models: dict[Name, Model]

    def model(self, name: str) -> Model:
        """The model of that name; BadInput if params.yaml has none."""
        if name not in self.models:
            raise BadInput(f"params.yaml has no model {name!r}: name one of {', '.join(self.models)}.")
        return self.models[name]

    def task(self, name: str) -> TaskParams:
        """The parameters of a task; BadInput if params.yaml has none."""
        if name not in self.tasks:
            raise BadInput(f"params.yaml has no task {name!r}: name one of {', '.join(self.tasks)}.")
        return self.tasks[name]

    def lesson(self, name: str) -> Recipe:
        """How the model of that name is taught under the chosen recipe."""
        model = self.model(name)
        return model.fast if self.recipe == "fast" else model.published


def load(path: Path = PARAMS) -> Config:
    """Read and check `path`; BadInput names the first thing wrong with it by its dotted key."""
    config = _checked(Config, _parse(path), path, ())
    typed = {}
    for name, params in config.tasks.items():
        try:
            task = tasks.load(name)
        except BadInput as error:
            raise BadInput(f"{path}: tasks.{name}: {error}") from None
        if not Path(params.source).is_file():
            raise BadInput(f"{path}: tasks.{name}.source: there is no file {params.source!r}; name one that is there.")
        typed[name] = params.model_copy(
            update={
                "generate": _checked(task.Generate, params.generate, path, ("tasks", name, "generate")),
                "split": _checked(task.Split, params.split, path, ("tasks", name, "split")),
            }
        )
    for name, model in config.models.items():
        if model.task not in typed:
            raise BadInput(
                f"{path}: models.{name}.task: got {model.task!r}, expected one of {', '.join(typed)}; mend it."
            )
    return config.model_copy(update={"tasks": typed})


def _parse(path: Path) -> Any:
    # ruamel.yaml reads YAML 1.2 as DVC does; PyYAML would take 1e-3 for a string.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"there is no {path} here: run this from the root of the project.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}; mend it there.") from None


def _checked(kind: type[Kind], value: Any, path: Path, at: tuple[str, ...]) -> Kind:
    try:
        return kind.model_validate(value)
    except ValidationError as invalid:
        error = invalid.errors()[0]
    key = ".".join(str(part) for part in (*at, *error["loc"])) or "the file"
    if error["type"] == "extra_forbidden":
        raise BadInput(f"{path}: {key} is not a parameter; remove it, or mend its spelling.")
    if error["type"] == "missing":
        raise BadInput(f"{path}: {key} is missing; add it.")
    reason = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    raise BadInput(f"{path}: {key}: got {error['input']!r}, expected otherwise ({reason}); set it right there.")
