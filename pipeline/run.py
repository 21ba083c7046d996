"""A trained model, what it was made from and what came of it: enough to make it again and to set it beside another."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import data, git, lock
from pipeline.config import PARAMS, Config
from pipeline.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

LOGS = Path("logs")


@dataclass(frozen=True)
class Source:
    """The code and parameters: a commit, and what was not committed, as `git apply` takes it."""

    commit: str
    patch: bytes


@dataclass(frozen=True)
class Provenance:
    """What a model was made from, and the hashes of what came of it."""

    model: str
    task: str
    recipe: str
    commit: str
    uncommitted: bool
    experiment: str  # DVC's name for it; empty outside of `dvc exp run`
    params: dict[str, Any]  # by their dotted keys in params.yaml
    inputs: dict[str, str]  # path: MD5, of all that training depends on, as dvc.lock has them; empty if DVC did not run
    outputs: dict[str, str]  # path: MD5
    machine: dict[str, Any]  # device, versions, seconds, memory; empty if another machine trained


@dataclass(frozen=True)
class Run:
    """What MLflow holds of one trained model, as far as it is compared with others."""

    id: str
    name: str
    model: str
    task: str
    params: dict[str, str]
    inputs: dict[str, str]  # path: MD5
    figures: dict[str, float]
    history: "pd.DataFrame"  # a row a report: step, loss, accuracy, ...
    answers: "pd.DataFrame | None"  # a row a test example: class, said; None if they were not recorded


def last(name: str) -> dict[str, Any]:
    """What the last training of `name` on this machine told of itself; empty if the weights are not that one's."""
    return _of_these_weights(name, LOGS / name / "run.json")


def source(config: Config, name: str) -> Source:
    """The code and parameters as they are now."""
    return Source(git.commit(), git.patch([config.task(config.model(name).task).source]))


def keep_source(name: str, made_from: Source) -> None:
    """Note beside the training's log what its weights were made from: it may have changed when MLflow asks."""
    content = {"weights": weights(name), "commit": made_from.commit, "patch": made_from.patch.decode("latin-1")}
    data.write_json(content, LOGS / name / "source.json")


def weights(name: str) -> str:
    """The MD5 of a model's weights: what identifies a run."""
    path = data.MODELS / name / "model.weights.h5"
    data.need(path, f"dvc repro train@{name}")
    return data.md5(path)


def params(config: Config, name: str) -> dict[str, Any]:
    """The parameters that model `name` comes from, by their dotted keys."""
    model = config.model(name)
    nested = {
        "seed": config.seed,
        "models": {name: {"network": model.network.model_dump(), config.recipe: config.lesson(name).model_dump()}},
        "tasks": {model.task: config.task(model.task).model_dump()},
    }
    return lock.flat(nested)


def short(dotted: dict[str, Any]) -> dict[str, Any]:
    """Parameters of one model under names that all models share: models.NAME.RECIPE.rate is rate."""
    names = {}
    for key, value in dotted.items():
        parts = key.split(".")
        if parts[0] == "models":
            parts = parts[2:] if parts[2] in ("network", "task") else parts[3:]
        names[".".join(parts[2:] if parts[0] == "tasks" else parts)] = value
    return names


def provenance(config: Config, name: str) -> tuple[Provenance, Source]:
    """Where the model in the workspace comes from, told from its outputs, dvc.lock and git."""
    task, identity = config.model(name).task, weights(name)
    recipe: str = config.recipe
    entries = lock.stages()
    train = entries.get(f"train@{name}", {})
    inputs: dict[str, str] = {}
    used = params(config, name)
    if lock.hashes(train, "outs").get(str(data.MODELS / name / "model.weights.h5")) == identity:
        inputs = lock.hashes(train, "deps")
        used = {}
        for stage in (f"generate@{task}", f"split@{task}", f"train@{name}"):
            used |= lock.params(entries.get(stage, {}))
        recipe = next(key.split(".")[2] for key in used if key.startswith(f"models.{name}.") and key.endswith(".steps"))
    made_from = _source(name, inputs, used)
    folder = data.MODELS / name
    outputs = {
        str(path): data.md5(path) for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] != "."
    }
    machine = {key: value for key, value in last(name).items() if key not in ("weights", "recipe")}
    told = Provenance(
        name,
        task,
        recipe,
        made_from.commit,
        bool(made_from.patch),
        os.environ.get("DVC_EXP_NAME", ""),
        used,
        inputs,
        outputs,
        machine,
    )
    return told, made_from


def save(told: Provenance, path: Path) -> None:
    """Write a provenance as JSON."""
    data.write_json(asdict(told), path)


def load(path: Path) -> Provenance:
    """Read what save wrote; BadInput if it is damaged or of another version of this project."""
    try:
        return Provenance(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise BadInput(
            "the run's provenance.json is missing, damaged or of another version of this project; take another run, or "
            "track this one's commit again with `pipeline track`."
        ) from None


def _source(name: str, inputs: dict[str, str], used: dict[str, Any]) -> Source:
    """The commit and patch that hold these inputs: as noted by the training, or else the first that fit."""
    if noted := _of_these_weights(name, LOGS / name / "source.json"):
        return Source(noted["commit"], noted["patch"].encode("latin-1"))
    head = git.commit()
    if not inputs or _fits(head, inputs, used):
        return Source(head, b"")
    code = [path for path in inputs if not path.startswith("data/split/")]
    if all(Path(path).is_file() and data.md5(Path(path)) == inputs[path] for path in code) and _holds(
        PARAMS.read_bytes(), used
    ):
        return Source(head, git.patch(code))
    candidates = git.commits_with(weights(name), lock.LOCK)
    return Source(next((each for each in candidates if _fits(each, inputs, used)), head), b"")


def _fits(commit: str, inputs: dict[str, str], used: dict[str, Any]) -> bool:
    for path, md5 in inputs.items():
        if path.startswith("data/split/"):
            continue
        content = git.show(commit, path)
        if content is None or hashlib.md5(content).hexdigest() != md5:
            return False
    return _holds(git.show(commit, str(PARAMS)) or b"", used)


def _holds(text: bytes, used: dict[str, Any]) -> bool:
    there = lock.flat(lock.yaml(text))
    return all(there.get(key) == value for key, value in used.items())


def _of_these_weights(name: str, notes: Path) -> dict[str, Any]:
    if not (notes.is_file() and (data.MODELS / name / "model.weights.h5").is_file()):
        return {}
    content: dict[str, Any] = json.loads(notes.read_text(encoding="utf-8"))
    return content if content["weights"] == weights(name) else {}
