"""A trained model, what it was made from and what came of it: enough to make it again and to set it beside another."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from pipeline import data, git, lock
from pipeline.config import PARAMS, Config
from pipeline.errors import BadInput
from pipeline.outputs import Outputs

if TYPE_CHECKING:
    import pandas as pd

LOGS = Path("logs")


@dataclass(frozen=True)
class Source:
    """The code and parameters: a commit, and what was not committed, as `git apply` takes it."""

    commit: str
    patch: bytes


@dataclass(frozen=True)
class Note:
    """What was known when a model was made, and no output may hold: it differs from one time to the next."""

    commit: str
    patch: str  # its bytes as Latin-1
    experiment: str  # DVC's name for it; empty outside of `dvc exp run`
    machine: dict[str, Any]


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
    inputs: dict[str, str]  # path: MD5, of all that training depends on, as dvc.lock has them
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


def note(model: str, weights: str) -> Note | None:
    """What keep wrote when these weights were made here; None if they were not, or if the note is damaged."""
    try:
        return TypeAdapter(Note).validate_json(_note(model, weights).read_bytes())
    except (OSError, ValueError):
        return None


def source(config: Config, name: str) -> Source:
    """The code and parameters as they are now."""
    return Source(git.commit(), git.patch([config.task(config.model(name).task).source]))


def keep(outputs: Outputs, made_from: Source, machine: dict[str, Any] | None = None) -> None:
    """Note beside the log, by the weights, what no DVC output may hold: MLflow may ask much later.

    The last stage says it again, as the code behind the weights may have changed since; what it does not know stays.
    """
    before = note(outputs.model, outputs.weights)
    if machine is None:
        machine = before.machine if before else {}
    experiment = (before.experiment if before else "") or os.environ.get("DVC_EXP_NAME", "")
    content = Note(made_from.commit, made_from.patch.decode("latin-1"), experiment, machine)
    data.write_json(asdict(content), _note(outputs.model, outputs.weights))


def params(config: Config, name: str) -> dict[str, Any]:
    """The parameters that model `name` comes from, by their dotted keys."""
    model = config.model(name)
    nested = {
        "seed": config.seed,
        "models": {
            name: {
                "task": model.task,
                "network": model.network.model_dump(),
                config.recipe: config.lesson(name).model_dump(),
            }
        },
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


def provenance(outputs: Outputs) -> tuple[Provenance, Source]:
    """Where a model comes from, told from its outputs, the entries of DVC, the note of its training, and git."""
    name, entries, noted = outputs.model, outputs.entries, note(outputs.model, outputs.weights)
    inputs = lock.hashes(entries[f"train@{name}"], "deps")
    used: dict[str, Any] = {}
    for stage in (f"generate@{outputs.task}", f"split@{outputs.task}", f"train@{name}"):
        used |= lock.params(entries.get(stage, {}))
    made_from = Source(noted.commit, noted.patch.encode("latin-1")) if noted else _source(outputs.weights, inputs, used)
    told = Provenance(
        model=name,
        task=outputs.task,
        recipe=outputs.recipe,
        commit=made_from.commit,
        uncommitted=bool(made_from.patch),
        experiment=noted.experiment if noted else "",
        params=used,
        inputs=inputs,
        outputs=outputs.hashes(),
        machine=noted.machine if noted else {},
    )
    return told, made_from


def save(told: Provenance, path: Path) -> None:
    """Write a provenance as JSON."""
    data.write_json(asdict(told), path)


def load(path: Path) -> Provenance:
    """Read what save wrote; BadInput if it is damaged or of another version of this project."""
    try:
        return TypeAdapter(Provenance).validate_json(path.read_bytes())
    except (OSError, ValueError):
        raise BadInput(
            "the run's provenance.json is missing, damaged or of another version of this project; take another run, or "
            "track this one's commit again with `pipeline track`."
        ) from None


def _note(model: str, weights: str) -> Path:
    return data.root() / LOGS / model / f"{weights}.json"


def _source(weights: str, inputs: dict[str, str], used: dict[str, Any]) -> Source:
    """The commit and patch that hold these inputs, where no note tells: HEAD, the workspace, or the last that fits."""
    head = git.commit()
    if _fits(head, inputs, used):
        return Source(head, b"")
    code = [path for path in inputs if not path.startswith(f"{data.SPLIT}/")]
    if all(Path(path).is_file() and data.md5(Path(path)) == inputs[path] for path in code) and _holds(
        PARAMS.read_bytes(), used
    ):
        return Source(head, git.patch(code))
    candidates = git.commits_with(weights, lock.LOCK)
    return Source(next((each for each in candidates if _fits(each, inputs, used)), head), b"")


def _fits(commit: str, inputs: dict[str, str], used: dict[str, Any]) -> bool:
    for path, md5 in inputs.items():
        if path.startswith(f"{data.SPLIT}/"):
            continue
        content = git.show(commit, path)
        if content is None or lock.md5(content) != md5:
            return False
    return _holds(git.show(commit, str(PARAMS)) or b"", used)


def _holds(text: bytes, used: dict[str, Any]) -> bool:
    there = lock.flat(lock.yaml(text))
    return all(there.get(key) == value for key, value in used.items())
