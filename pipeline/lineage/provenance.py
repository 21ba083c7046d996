"""What a trained model was made from: enough to reproduce it."""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from pipeline.config import ModelSetup, Name, TaskName, flatten
from pipeline.errors import PipelineError
from pipeline.files import md5, md5_of, parse_yaml
from pipeline.formats import write_json
from pipeline.lineage import credentials, dvc, git
from pipeline.lineage.artifacts import Artifacts, trained_weights
from pipeline.paths import LOCK, PARAMS, RAW, ModelPaths, is_split_data, stage

Source = tuple[str, bytes]  # the code and parameters: a commit, and the uncommitted changes in the form of `git apply`


@dataclass(frozen=True)
class Provenance:
    """What a model was made from, and the hashes of the files that its stages wrote: the one record of a run.

    The end of a training saves it in the logs, `evaluate` completes it, and MLflow holds it as it is. No output of a
    stage may hold it, since it differs from one training to the next.
    """

    model: Name
    task: TaskName
    recipe: str
    commit: Annotated[str, Field(pattern="^([0-9a-f]{40})?$")]
    uncommitted: bool
    experiment: str  # DVC's name for it; empty outside of `dvc exp run`
    params: dict[str, Any]  # by their dotted keys in params.yaml
    inputs: dict[str, str]  # path: MD5, of all that training depends on, as dvc.lock has them; empty until it has them
    outputs: dict[str, str]  # path: MD5
    environment: dict[str, Any]  # device, versions, seconds, memory; empty if it is not known
    patch: Annotated[str, Field(pattern=r"^[\x00-\xff]*$")] = ""  # uncommitted changes for `git apply`, as Latin-1

    @property
    def changes(self) -> bytes:
        """The uncommitted changes in the form of `git apply`."""
        return self.patch.encode("latin-1")

    @property
    def weights_md5(self) -> str:
        """The MD5 of the weights, which identifies a trained model."""
        return self.outputs[str(ModelPaths(self.model).weights)]


def current_source(setup: ModelSetup) -> Source:
    """The code and parameters in the workspace."""
    return _workspace_source([setup.task.params.source])


def of_setup(setup: ModelSetup, source: Source, experiment: str | None = None) -> Provenance:
    """The provenance of a training that has not ended: what it is made from, as far as params.yaml and git have it."""
    commit, changes = source
    return Provenance(
        model=setup.name,
        task=setup.task.name,
        recipe=setup.recipe_name,
        commit=commit,
        uncommitted=bool(changes),
        experiment=os.environ.get("DVC_EXP_NAME", "") if experiment is None else experiment,
        params=setup.used_params(),
        inputs={},
        outputs={},
        environment={},
        patch=changes.decode("latin-1"),
    )


def of_entries(entries: dict[str, Any], model: str, task: str) -> Provenance:
    """What dvc.lock has of a provenance: recipe, parameters and inputs; empty where it has no entry."""
    train = entries.get(stage("train", model), {})
    params: dict[str, Any] = {}
    for entry in (entries.get(stage("generate", task), {}), entries.get(stage("split", task), {}), train):
        params |= dvc.params(entry)
    prefix = f"models.{model}.recipes."
    recipe = next((key.removeprefix(prefix).split(".")[0] for key in params if key.startswith(prefix)), "")
    inputs = dvc.hashes(train, "deps")
    return Provenance(model, task, recipe, "", False, "", params, inputs, outputs={}, environment={})


def of_artifacts(artifacts: Artifacts, source: Source | None = None) -> Provenance:
    """The provenance of a trained model, as its lock entries, its files, and the logs or else git have it.

    `evaluate` gives the present `source`, since code that only `evaluate` uses may have changed after the training.
    Environment and experiment stay those of the training.
    """
    model, task, weights = artifacts.model, artifacts.task.name, artifacts.weights_md5
    made_these = trained_weights(artifacts.entries, model) == weights
    locked = of_entries(artifacts.entries if made_these else {}, model, task)
    training = load_training(model, task, weights)
    known = training or locked
    if source is None:
        source = (training.commit, training.changes) if training else _find_source(weights, locked)
    commit, changes = source
    return replace(
        locked,
        recipe=locked.recipe or known.recipe,
        commit=commit,
        uncommitted=bool(changes),
        experiment=known.experiment or os.environ.get("DVC_EXP_NAME", ""),
        params=locked.params or known.params,
        outputs=artifacts.hashes(),
        environment=known.environment,
        patch=changes.decode("latin-1"),
    )


def save_training(provenance: Provenance) -> None:
    """Write the provenance into the logs under the MD5 of its weights, where tracking finds it at any later time."""
    save(provenance, ModelPaths(provenance.model).provenance(provenance.weights_md5))


def load_training(model: str, task: str, weights_md5: str) -> Provenance | None:
    """The provenance that the logs have of these weights; None if they were not trained here, or if it is damaged."""
    try:
        content = json.loads(ModelPaths(model).provenance(weights_md5).read_bytes())
        # Version 0.3 wrote commit, patch, experiment and environment alone.
        old = {"recipe": "", "uncommitted": bool(content["patch"]), "params": {}, "inputs": {}, "outputs": {}}
        return TypeAdapter(Provenance).validate_python(old | content | {"model": model, "task": task})
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def strip_prefixes(dotted: dict[str, Any]) -> dict[str, Any]:
    """The parameters of one model under names that all models share.

    models.NAME.recipes.RECIPE.learning_rate is learning_rate, models.NAME.network.units is network.units,
    tasks.NAME.split.train is split.train.
    """
    return {_strip_prefix(key): value for key, value in dotted.items()}


def save(provenance: Provenance, path: Path) -> None:
    """Write a provenance as JSON."""
    write_json(asdict(provenance), path)


def load(path: Path) -> Provenance:
    """Read what `save` wrote. Raises PipelineError if it is missing, damaged or of another version of this project."""
    try:
        provenance = TypeAdapter(Provenance).validate_json(path.read_bytes())
        if str(ModelPaths(provenance.model).weights) not in provenance.outputs:
            raise ValueError("no weights")
        return provenance
    except (OSError, ValueError):
        raise PipelineError(
            "the run's provenance.json is missing, damaged or of another version of this project; choose another run, "
            "or record this one's commit again with `pipeline track`."
        ) from None


def input_kind(path: str) -> Literal["code", "data"]:
    """What an input of a training is, by its path in the repository."""
    return "data" if Path(path).is_relative_to(RAW.parent) else "code"


def _strip_prefix(key: str) -> str:
    match key.split("."):
        case ["models", _, "recipes", _, *rest] | ["models", _, *rest] | ["tasks", _, *rest]:
            return ".".join(rest)
    return key


def _find_source(weights_md5: str, locked: Provenance) -> Source:
    """The source of a model that the logs do not have.

    The first of these that has the inputs and parameters: HEAD; the workspace; the commits, newest first, that added
    the weights to dvc.lock or removed them. HEAD if none has them.
    """
    head = git.commit()
    if _commit_has(head, locked):
        return head, b""
    code = [path for path in locked.inputs if not is_split_data(path)]
    if _workspace_has(code, locked):
        return _workspace_source(code)
    commits = git.commits_with(weights_md5, str(LOCK))
    return next((commit for commit in commits if _commit_has(commit, locked)), head), b""


def _workspace_source(sources: list[str]) -> Source:
    """The last commit and the uncommitted changes; logs a warning if these seem to hold a credential."""
    commit, changes = git.commit(), git.patch(sources)
    credentials.warn(changes)
    return commit, changes


def _workspace_has(code: list[str], locked: Provenance) -> bool:
    same = all(Path(path).is_file() and md5(Path(path)) == locked.inputs[path] for path in code)
    return same and _has_params(PARAMS.read_bytes(), locked.params)


def _commit_has(commit: str, locked: Provenance) -> bool:
    for path, hash_name in locked.inputs.items():
        if is_split_data(path):
            continue
        content = git.show(commit, path)
        if content is None or md5_of(content) != hash_name:
            return False
    return _has_params(git.show(commit, str(PARAMS)) or b"", locked.params)


def _has_params(text: bytes, params: dict[str, Any]) -> bool:
    """Whether a params.yaml has these values."""
    present = flatten(parse_yaml(text))
    return all(present.get(key) == value for key, value in params.items())
