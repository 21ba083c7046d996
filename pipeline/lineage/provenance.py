"""What a trained model was made from: enough to reproduce it."""

import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from pipeline.config import ModelSetup, Name, TaskName
from pipeline.errors import PipelineError
from pipeline.files import md5_of
from pipeline.formats import write_json
from pipeline.lineage import dvc, git
from pipeline.lineage.artifacts import Artifacts, numeric, trained_weights
from pipeline.paths import DATA, LOCK, PARAMS, ModelPaths, is_split_data, stage

LINES = 5000  # of a file of data that are looked at for credentials: more are a text, such as a story
HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")

Source = tuple[str, bytes]  # the code and parameters: a commit, and the uncommitted changes in the form of `git apply`

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Provenance:
    """What a model was made from, and the hashes of the files that its stages wrote.

    The end of a training saves it in the logs, `evaluate` completes it, and MLflow holds it as it is. No output of a
    stage may hold it, since it differs from one training to the next.
    """

    model: Name
    task: TaskName
    recipe: str = ""
    commit: Annotated[str, Field(pattern="^([0-9a-f]{40})?$")] = ""
    uncommitted: bool = False
    experiment: str = ""  # DVC's name for it; empty outside of `dvc exp run`
    params: dict[str, Any] = field(default_factory=dict)  # by their dotted keys in params.yaml
    inputs: dict[str, str] = field(default_factory=dict)  # path: MD5, of all that training depends on, by dvc.lock
    outputs: dict[str, str] = field(default_factory=dict)  # path: MD5
    environment: dict[str, Any] = field(default_factory=dict)  # device, versions, seconds, memory
    patch: Annotated[str, Field(pattern=r"^[\x00-\xff]*$")] = ""  # uncommitted changes for `git apply`, as Latin-1

    @property
    def changes(self) -> bytes:
        """The uncommitted changes in the form of `git apply`."""
        return self.patch.encode("latin-1")

    @property
    def weights_md5(self) -> str:
        """The MD5 of the weights, which identifies a trained model."""
        return self.outputs[str(ModelPaths(self.model).weights)]

    @property
    def shared_params(self) -> dict[str, Any]:
        """The recipe and the parameters, under names that all models share."""
        return {"recipe": self.recipe} | strip_prefixes(self.params)

    @property
    def costs(self) -> dict[str, float]:
        """The seconds and the memory of the training, by the names of metrics, if they are recorded."""
        names = {"training_seconds": "seconds", "peak_memory_mib": "peak_memory_mib"}
        known = numeric(self.environment)
        return {name: known[key] for name, key in names.items() if key in known}

    def with_source(self, source: Source) -> "Provenance":
        """The same, made from this commit and these changes."""
        commit, changes = source
        return replace(self, commit=commit, uncommitted=bool(changes), patch=changes.decode("latin-1"))


def current_source(setup: ModelSetup) -> Source:
    """The code and parameters in the workspace: the last commit, and the uncommitted changes."""
    return git.commit(), git.patch([setup.task.params.source])


def of_setup(setup: ModelSetup) -> Provenance:
    """What a training that begins now is made from, without its source."""
    return Provenance(
        model=setup.name,
        task=setup.task.name,
        recipe=setup.recipe_name,
        experiment=os.environ.get("DVC_EXP_NAME", ""),
        params=setup.used_params(),
    )


def of_entries(entries: dict[str, Any], model: str, task: str) -> Provenance:
    """What dvc.lock has of a provenance: recipe, parameters and inputs; empty where it has no entry."""
    train = entries.get(stage("train", model), {})
    params: dict[str, Any] = {}
    for entry in (entries.get(stage("generate", task), {}), entries.get(stage("split", task), {}), train):
        params |= dvc.params(entry)
    prefix = f"models.{model}.recipes."
    recipe = next((key.removeprefix(prefix).split(".")[0] for key in params if key.startswith(prefix)), "")
    return Provenance(model, task, recipe, params=params, inputs=dvc.hashes(train, "deps"))


def of_artifacts(artifacts: Artifacts, source: Source | None = None, recorded: Provenance | None = None) -> Provenance:
    """The provenance of a trained model, as its lock entries and its files have it.

    The logs have commit, changes, experiment and environment; else those that are `recorded` elsewhere count, else git
    is searched for the commit. `evaluate` gives the present `source`, since code that only `evaluate` uses may have
    changed after the training.
    """
    model, task, weights = artifacts.model, artifacts.task.name, artifacts.weights_md5
    locked_weights = trained_weights(artifacts.entries, model)
    locked = of_entries(artifacts.entries if locked_weights == weights else {}, model, task)
    training = load_training(model, task, weights) or recorded
    training = training or (locked if source else _find_source(locked, weights))
    return replace(
        training.with_source(source) if source else training,
        model=model,
        task=task,
        recipe=locked.recipe or training.recipe,
        experiment=training.experiment or os.environ.get("DVC_EXP_NAME", ""),
        params=locked.params or training.params,
        inputs=locked.inputs,
        outputs=artifacts.hashes(),
    )


def save_training(provenance: Provenance) -> None:
    """Write the provenance into the logs under the MD5 of its weights, where tracking reads it at any later time.

    If the logs have one of the same outputs, it stays: what made these files first counts.
    """
    known = load_training(provenance.model, provenance.task, provenance.weights_md5)
    if known and provenance.outputs.items() <= known.outputs.items():
        return
    save(provenance, ModelPaths(provenance.model).provenance(provenance.weights_md5))


def load_training(model: str, task: str, weights_md5: str, root: Path = Path()) -> Provenance | None:
    """The provenance that the logs have of these weights; None if they were not trained here, or if it is damaged."""
    try:
        content = json.loads(ModelPaths(model, root).provenance(weights_md5).read_bytes())
        # Version 0.3 wrote commit, patch, experiment and environment alone.
        content |= {"model": model, "task": task, "uncommitted": content.get("uncommitted", bool(content["patch"]))}
        return TypeAdapter(Provenance).validate_python(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def strip_prefixes(dotted: dict[str, Any]) -> dict[str, Any]:
    """The parameters of one model under names that all models share.

    models.NAME.recipes.RECIPE.learning_rate is learning_rate, models.NAME.network.units is network.units,
    tasks.NAME.split.train is split.train.
    """
    return {re.sub(r"^(models|tasks)\.[^.]+\.(recipes\.[^.]+\.)?", "", key): value for key, value in dotted.items()}


def save(provenance: Provenance, path: Path) -> None:
    """Write a provenance as JSON."""
    write_json(asdict(provenance), path)


def load(path: Path) -> Provenance:
    """Read what `save` wrote. Raises PipelineError if it is missing, damaged or of another version of this project."""
    try:
        provenance = TypeAdapter(Provenance).validate_json(path.read_bytes())
        if not provenance.weights_md5:
            raise ValueError("no weights")
        return provenance
    except (OSError, ValueError, KeyError):
        raise PipelineError(
            "the run's provenance.json is missing, damaged or of another version of this project; choose another run, "
            "or record this one's commit again with `pipeline track`."
        ) from None


def input_kind(path: str) -> Literal["code", "data"]:
    """What an input of a training is, by its path in the repository."""
    return "data" if Path(path).is_relative_to(DATA) else "code"


def warn_of_credentials(patch: bytes) -> None:
    """Log a warning for each file of a patch that adds a line with a credential, since MLflow will hold the patch."""
    for path, kind in sorted(set(credentials(patch))):
        log.warning(
            "the changes of %s add what looks like a credential (%s), and MLflow will hold them for all who read its "
            "store; if it is one, take it out and train again.",
            path,
            kind,
        )


def credentials(patch: bytes) -> Iterator[tuple[str, str]]:
    """The file and the kind of whatever looks like a credential to detect-secrets, in the lines that a patch adds."""
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import default_settings

    with default_settings():
        for path, line in _added_lines(patch):
            # High entropy alone is no sign of a credential: hashes and numbers have it.
            yield from ((path, each.type) for each in scan_line(line) if "Entropy" not in each.type)


def _added_lines(patch: bytes) -> Iterator[tuple[str, str]]:
    """The lines that a patch adds, each with its file, whose name comes first; of a file of data, the first 5,000."""
    path, added, old, new = "", 0, 0, 0  # old, new: lines that are left of a hunk
    for line in patch.decode(errors="replace").split("\n"):
        if old > 0 or new > 0:
            old, new = old - (line[:1] in " -"), new - (line[:1] in " +")
            added += line[:1] == "+"
            if line[:1] == "+" and (added <= LINES or input_kind(path) == "code"):
                yield path, line[1:]
        elif line.startswith("+++ "):
            path, added = line[4:].strip('"').removeprefix("b/"), 0
            yield path, path
        elif match := HUNK.match(line):
            old, new = (int(size or 1) for size in match.groups())


def _find_source(locked: Provenance, weights_md5: str) -> Provenance:
    """The same with the source of a model that the logs do not have.

    The first of these that has the inputs and parameters: HEAD; the workspace; the commits, newest first, that added
    the weights to dvc.lock or removed them. HEAD if none has them.
    """
    code = [path for path in locked.inputs if not is_split_data(path)]
    head = git.commit()
    if not _has(head, locked, code) and _has("", locked, code):
        changes = git.patch(code)
        warn_of_credentials(changes)
        return locked.with_source((head, changes))
    commits = (commit for commit in (head, *git.commits_with(weights_md5, str(LOCK))) if _has(commit, locked, code))
    return locked.with_source((next(commits, head), b""))


def _has(revision: str, locked: Provenance, code: list[str]) -> bool:
    """Whether a revision, or the workspace if that is empty, has this code and these parameters."""
    contents = {path: git.show(revision, path) for path in code}
    try:
        present = dvc.params_of(git.show(revision, str(PARAMS)) or b"", revision)
    except PipelineError:
        return False
    return all(
        content is not None and md5_of(content) == locked.inputs[path] for path, content in contents.items()
    ) and all(present.get(key) == value for key, value in locked.params.items())
