"""What a trained model was made from: enough to reproduce it."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from pipeline.config import ModelSetup, Name, TaskName, flatten
from pipeline.errors import PipelineError
from pipeline.files import md5, md5_of, parse_yaml
from pipeline.formats import write_json
from pipeline.lineage import credentials, dvc, git
from pipeline.lineage.artifacts import Artifacts
from pipeline.paths import LOCK, PARAMS, RAW, ModelPaths, is_split_data, stage


@dataclass(frozen=True)
class SourceCode:
    """The code and parameters: a commit, and the uncommitted changes in the form of `git apply`."""

    commit: str
    patch: bytes


@dataclass(frozen=True)
class TrainingNote:
    """What is known of a training and no output of a stage may hold, since it differs from one training to the next."""

    commit: str
    patch: str  # its bytes as Latin-1
    experiment: str  # DVC's name for it; empty outside of `dvc exp run`
    environment: dict[str, Any]


@dataclass(frozen=True)
class Provenance:
    """What a model was made from, and the hashes of the files that its stages wrote."""

    model: Name
    task: TaskName
    recipe: str
    commit: Annotated[str, Field(pattern="^([0-9a-f]{40})?$")]
    uncommitted: bool
    experiment: str  # DVC's name for it; empty outside of `dvc exp run`
    params: dict[str, Any]  # by their dotted keys in params.yaml
    inputs: dict[str, str]  # path: MD5, of all that training depends on, as dvc.lock has them
    outputs: dict[str, str]  # path: MD5
    environment: dict[str, Any]  # device, versions, seconds, memory; empty if it is not known


def load_training_note(model: str, weights_md5: str) -> TrainingNote | None:
    """The note of the training that made these weights; None if it was not made here, or if the note is damaged."""
    try:
        content = ModelPaths(model).training_note(weights_md5).read_bytes()
        return TypeAdapter(TrainingNote).validate_json(content)
    except (OSError, ValueError):
        return None


def current_source(setup: ModelSetup) -> SourceCode:
    """The code and parameters in the workspace."""
    return _workspace_source([setup.task.params.source])


def save_training_note(artifacts: Artifacts, source: SourceCode, environment: dict[str, Any] | None = None) -> None:
    """Write the training note of these weights into the logs, where tracking finds it at any later time.

    Both `train` and `evaluate` call it, since code that only `evaluate` uses may have changed after the training.
    `evaluate` does not know the environment of the training: without one, the note keeps what it has.
    """
    old = load_training_note(artifacts.model, artifacts.weights_md5)
    if environment is None:
        environment = old.environment if old else {}
    experiment = (old.experiment if old else "") or os.environ.get("DVC_EXP_NAME", "")
    note = TrainingNote(source.commit, source.patch.decode("latin-1"), experiment, environment)
    write_json(asdict(note), ModelPaths(artifacts.model).training_note(artifacts.weights_md5))


def strip_prefixes(dotted: dict[str, Any]) -> dict[str, Any]:
    """The parameters of one model under names that all models share.

    models.NAME.recipes.RECIPE.learning_rate is learning_rate, models.NAME.network.units is network.units,
    tasks.NAME.split.train is split.train.
    """
    return {_strip_prefix(key): value for key, value in dotted.items()}


def provenance(artifacts: Artifacts) -> tuple[Provenance, SourceCode]:
    """What a model was made from, as its files, its lock entries, its training note and git have it."""
    model, task, entries = artifacts.model, artifacts.task.name, artifacts.entries
    note = load_training_note(model, artifacts.weights_md5)
    inputs = dvc.hashes(entries[stage("train", model)], "deps")
    params: dict[str, Any] = {}
    for address in (stage("generate", task), stage("split", task), stage("train", model)):
        params |= dvc.params(entries.get(address, {}))
    if note:
        source = SourceCode(note.commit, note.patch.encode("latin-1"))
    else:
        source = _find_source(artifacts.weights_md5, inputs, params)
    made_from = Provenance(
        model=model,
        task=task,
        recipe=artifacts.recipe,
        commit=source.commit,
        uncommitted=bool(source.patch),
        experiment=note.experiment if note else "",
        params=params,
        inputs=inputs,
        outputs=artifacts.hashes(),
        environment=note.environment if note else {},
    )
    return made_from, source


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


def _find_source(weights_md5: str, inputs: dict[str, str], params: dict[str, Any]) -> SourceCode:
    """The source of a model without a training note.

    The first of these that has the inputs and parameters: HEAD; the workspace; the commits, newest first, that added
    the weights to dvc.lock or removed them. HEAD if none has them.
    """
    head = git.commit()
    if _commit_has(head, inputs, params):
        return SourceCode(head, b"")
    code = [path for path in inputs if not is_split_data(path)]
    if _workspace_has(code, inputs, params):
        return _workspace_source(code)
    commits = git.commits_with(weights_md5, str(LOCK))
    return SourceCode(next((commit for commit in commits if _commit_has(commit, inputs, params)), head), b"")


def _workspace_source(sources: list[str]) -> SourceCode:
    """The last commit and the uncommitted changes; logs a warning if these seem to hold a credential."""
    source = SourceCode(git.commit(), git.patch(sources))
    credentials.warn(source.patch)
    return source


def _workspace_has(code: list[str], inputs: dict[str, str], params: dict[str, Any]) -> bool:
    same = all(Path(path).is_file() and md5(Path(path)) == inputs[path] for path in code)
    return same and _has_params(PARAMS.read_bytes(), params)


def _commit_has(commit: str, inputs: dict[str, str], params: dict[str, Any]) -> bool:
    for path, hash_name in inputs.items():
        if is_split_data(path):
            continue
        content = git.show(commit, path)
        if content is None or md5_of(content) != hash_name:
            return False
    return _has_params(git.show(commit, str(PARAMS)) or b"", params)


def _has_params(text: bytes, params: dict[str, Any]) -> bool:
    """Whether a params.yaml has these values."""
    present = flatten(parse_yaml(text))
    return all(present.get(key) == value for key, value in params.items())
