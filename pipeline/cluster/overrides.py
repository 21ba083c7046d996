"""The parameters that a sweep changes: from the command line to one checked params.yaml for each trial."""

import copy
import io
import itertools
import math
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import config
from pipeline.config import Config, ModelSetup
from pipeline.errors import PipelineError, quoted, shortened
from pipeline.files import parse_yaml
from pipeline.lineage import dvc
from pipeline.paths import PARAMS
from pipeline.recipe import Recipe

DISTRIBUTION = re.compile(r"(uniform|loguniform|randint|choice)\((.*)\)")
MOST = 10_000  # trials of a sweep
LARGEST = 2**63  # of a number that is drawn


@dataclass(frozen=True)
class TrialParams:
    """What one trial changes, and all of its parameters."""

    overrides: dict[str, Any]  # by their dotted keys
    text: str  # of params.yaml
    setup: ModelSetup


def trials(
    model: str, grid: Sequence[str], search: Sequence[str], number: int | None, settings: Config
) -> list[TrialParams]:
    """The trials of `KEY=V1,V2` (all combinations) and `KEY=loguniform(1e-4,1e-1)` (`number` random draws of each).

    Raises PipelineError for a key or a value that params.yaml may not have, before anything starts.
    """
    setup = settings.model(model)
    fixed = [_grid(text, setup) for text in grid]
    drawn = [_search(text, setup) for text in search]
    keys = [key for key, _ in [*fixed, *drawn]]
    if repeated := [key for key in keys if keys.count(key) > 1]:
        raise PipelineError(f"{repeated[0]} is given twice; give all of its values once, separated by commas.")
    if bool(drawn) != (number is not None):
        raise PipelineError("--search and --trials belong together; give both, or neither.")
    asked = math.prod(len(values) for _, values in fixed) * (number or 1) if keys else 0
    if not 1 <= asked <= MOST:
        raise PipelineError(
            f"the sweep has {asked:,} trials, expected 1 to {MOST:,}; "
            "give -S KEY=V1,V2 with as many values as you need."
        )
    columns = dict(fixed)
    grids = [dict(zip(columns, values, strict=True)) for values in itertools.product(*columns.values())]
    samples = _draw(drawn, number, settings.seed) if number else [{}]
    return [_checked(values | sample, model) for sample in samples for values in grids]


def _grid(text: str, setup: ModelSetup) -> tuple[str, list[Any]]:
    key, values = _pair(text)
    try:
        found = dvc.sweep_values(values, MOST + 1)
    except ValueError:
        found = []
    if found in ([], [""]):
        raise PipelineError(f"{quoted(text)} is not KEY=V1,V2; give values separated by commas, such as seed=1,2,3.")
    return _full_key(key, setup), list({repr(value): value for value in found}.values())


def _search(text: str, setup: ModelSetup) -> tuple[str, tuple[str, list[Any]]]:
    key, values = _pair(text)
    match = DISTRIBUTION.fullmatch(values.strip())
    try:
        arguments = parse_yaml(f"[{match[2]}]") if match else None
    except ValueError:
        arguments = None
    if not match or not isinstance(arguments, list) or not _fit(match[1], arguments):
        raise PipelineError(
            f"{quoted(text)} is not KEY=uniform(LOW,HIGH), loguniform(LOW,HIGH) with LOW above 0, randint(LOW,HIGH) or "
            "choice(V1,V2); fix it."
        )
    return _full_key(key, setup), (match[1], arguments)


def _fit(distribution: str, arguments: list[Any]) -> bool:
    """Whether a distribution can have these arguments."""
    if distribution == "choice":
        return bool(arguments)
    if len(arguments) != 2 or not all(isinstance(value, int | float) and abs(value) < LARGEST for value in arguments):
        return False
    low, high = arguments
    whole = isinstance(low, int) and isinstance(high, int)
    return low < high and (distribution != "loguniform" or low > 0) and (distribution != "randint" or whole)


def _draw(drawn: Sequence[tuple[str, tuple[str, list[Any]]]], number: int, seed: int) -> list[dict[str, Any]]:
    """Random values, the same for a seed; numbers with four significant digits, so that people can set them."""
    import numpy as np
    from ray import tune

    random = np.random.RandomState(seed)
    values: dict[str, list[Any]] = {}
    for key, (name, arguments) in drawn:
        domain = tune.choice(arguments) if name == "choice" else getattr(tune, name)(*arguments)
        sampled = domain.sample(size=number, random_state=random)
        sampled = [sampled] if number == 1 else sampled
        values[key] = [float(f"{value:.4g}") if name.endswith("uniform") else _plain(value) for value in sampled]
    return [{key: column[row] for key, column in values.items()} for row in range(number)]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _pair(text: str) -> tuple[str, str]:
    key, separator, values = text.partition("=")
    if not separator or not key.strip():
        raise PipelineError(f"{quoted(text)} is not KEY=VALUE; give a parameter of {PARAMS} and its values.")
    return key.strip(), values


def _full_key(key: str, setup: ModelSetup) -> str:
    """The dotted key in params.yaml of a parameter: as it is, or without the prefix of the model, recipe or task."""
    first = key.split(".", maxsplit=1)[0]
    model, task = f"models.{setup.name}", f"tasks.{setup.task.name}"
    recipe = f"{model}.recipes.{setup.recipe_name}"
    if first in Recipe.model_fields:
        return f"{recipe}.{key}"
    if first == "network" or key == "recipe":
        return f"{model}.{key}"
    if first in ("generate", "split"):
        return f"{task}.{key}"
    if key in ("seed", f"{model}.recipe") or key.startswith((f"{recipe}.", f"{model}.network.", f"{task}.")):
        return key
    known = ", ".join(sorted({name.removeprefix(f"{recipe}.") for name in setup.used_params()}))
    raise PipelineError(f"{setup.name} does not depend on {quoted(key)}; use one of {shortened(known, 700)}.")


def _checked(overrides: dict[str, Any], model: str) -> TrialParams:
    """params.yaml with these values. Raises PipelineError if it is not valid."""
    text = with_values(PARAMS.read_text(encoding="utf-8"), overrides)
    named = ", ".join(f"{key}={value}" for key, value in overrides.items())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PARAMS.name
        path.write_text(text, encoding="utf-8")
        try:
            setup = config.load(path).model(model)
        except PipelineError as error:
            raise PipelineError(f"{shortened(named, 200)}: {str(error).replace(str(path), str(PARAMS))}") from None
    used = setup.used_params()
    missing = [key for key in overrides if key not in used and not any(name.startswith(f"{key}.") for name in used)]
    if missing and missing != [f"models.{model}.recipe"]:
        raise PipelineError(f"{missing[0]} is not a parameter of the recipe that the trial uses; sweep one that is.")
    return TrialParams(overrides, text, setup)


def with_values(params_yaml: str, overrides: dict[str, Any]) -> str:
    """The text of params.yaml with these values, by their dotted keys; its comments are kept.

    A section that others share by an anchor is copied before it changes: the others keep their values. (DVC's
    `apply_overrides` loses a value of a section that another one is by an alias, and breaks long lines.)
    """
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096
    params = yaml.load(params_yaml)
    for key, value in overrides.items():
        *folders, last = key.split(".")
        section = params
        for name in folders:
            below = section.get(name)
            if below is not None and not isinstance(below, dict):
                raise PipelineError(f"{quoted(key)} is not a parameter: {name} has a value; change that.")
            section[name] = {} if below is None else copy.copy(below)
            section = section[name]
        section[last] = value
    text = io.StringIO()
    yaml.dump(params, text)
    return text.getvalue()
