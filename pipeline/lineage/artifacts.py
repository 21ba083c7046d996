"""The files of a trained model: in the workspace, at a revision of git, or in DVC's cache."""

import math
import re
import shlex
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, shortened
from pipeline.files import damaged, files_below, fits, load_csv, load_json, md5, md5_of, require
from pipeline.lineage import dvc, git
from pipeline.paths import LOCK, MODEL_STAGES, ModelPaths, TaskPaths, is_split_data, repro, stage

Entries = dict[str, Any]  # the entries of dvc.lock, by stage address
WEIGHTS_NAME = ModelPaths("").weights.name.encode()
# The weights of a model in a file of the run cache: the name of the model, and their MD5.
WEIGHTS = re.compile(rb"path: models/([!-~]+)/" + re.escape(WEIGHTS_NAME) + rb"\n +hash: md5\n +md5: ([0-9a-f]+)\n")
METRICS = {"dataset": str, "stand_in": bool, "examples": int, "wrong": int}  # that metrics.json must have, and:
METRICS |= {"accuracy": float, "balanced_accuracy": float, "worst_class": str, "worst_class_accuracy": float}
VALUES = dict[str, str | float | bool | None]  # what it may have


@dataclass(frozen=True)
class Artifacts:
    """The files of one trained model, and the lock entries of the stages that wrote them."""

    paths: ModelPaths
    task: TaskPaths  # of the data that it was trained on, under the same root
    entries: Entries  # may have entries of other models, too

    @property
    def model(self) -> str:
        """The model's name."""
        return self.paths.name

    @cached_property
    def weights_md5(self) -> str:
        """The MD5 of the weights, which identifies a trained model. Raises PipelineError if there are no weights."""
        require(self.paths.weights, repro("train", self.model))
        return md5(self.paths.weights)

    def hashes(self) -> dict[str, str]:
        """The MD5 of each file of the model, by its path in the repository; not of other files in its folder."""
        ours = {*vars(self.paths).values()}
        files = [path for path in files_below(self.paths.folder) if path in ours or self.paths.export in path.parents]
        return {str(path.relative_to(self.paths.root)): md5(path) for path in files}

    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json. Raises PipelineError if it is missing or damaged."""
        command = repro("evaluate", self.model)
        metrics: dict[str, Any] = load_json(self.paths.metrics, command, METRICS)
        if not fits(metrics, VALUES):
            raise damaged(self.paths.metrics, command)
        if odd := [name for name, value in numeric(metrics).items() if not math.isfinite(value)]:
            raise damaged(self.paths.metrics, command, f"{shortened(odd[0])} is no finite number")
        return metrics

    def history(self) -> list[dict[str, float]]:
        """The rows of history.csv. Raises PipelineError if it is missing or damaged."""
        return load_csv(self.paths.history, repro("train", self.model), ["step"]).to_dict("records")  # type: ignore[return-value]

    def check_consistent(self, verbs: Sequence[str] = ("train", "export")) -> None:
        """Raise PipelineError unless the examples and the outputs of these stages are those of the entries.

        And unless each stage read what those before it wrote.
        """
        require(self.paths.weights, repro("train", self.model))
        for path, hash_name in _files(self.model, self.entries, verbs).items():
            if dvc.hash_of(dvc.below(self.paths.root, path)) != hash_name:
                name, again = shlex.quote(path), repro("evaluate", self.model)
                restore = f"rm -rf {name} && dvc checkout {name}"
                raise PipelineError(
                    f"{path} is not the file that {LOCK} names; run `{restore}` to restore it, or `{again}` to make it."
                )


def workspace(model: str, task: str, entries: Entries | None = None) -> Artifacts:
    """The model in the workspace. Who reads many reads the entries of dvc.lock once, and gives them."""
    return Artifacts(ModelPaths(model), TaskPaths(task), dvc.lock_entries() if entries is None else entries)


def verified_workspace(model: str, task: str, entries: Entries | None = None) -> Artifacts:
    """The model in the workspace. Raises PipelineError unless every file is as dvc.lock has it."""
    artifacts = workspace(model, task, entries)
    artifacts.check_consistent(MODEL_STAGES)
    return artifacts


def trained_weights(entries: Entries, model: str) -> str:
    """The MD5 of the weights that the model's train entry wrote; empty if there is no such entry."""
    outs = dvc.hashes(entries.get(stage("train", model), {}), "outs")
    return outs.get(str(ModelPaths(model).weights), "")


def trained_models(entries: Entries, models: Iterable[str], revision: str) -> dict[str, str]:
    """The MD5 of the weights of each of these models in the entries of a revision. Raises PipelineError without any."""
    if trained := {model: weights for model in models if (weights := trained_weights(entries, model))}:
        return trained
    raise PipelineError(
        f"revision {revision} has no trained model of params.yaml in its dvc.lock; choose another revision."
    )


def numeric(content: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of metrics.json, without what else it holds: names, and whether the dataset is a stand-in."""
    return {
        name: value for name, value in content.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }


@contextmanager
def checked_out(model: str, entries: Entries, revision: str = "") -> Iterator[Artifacts]:
    """The files of a model in a temporary folder, as its entries name them by their hashes.

    They come from the revision, by default the workspace, if it has them, else from DVC's cache or its remote. Raises
    PipelineError if one is gone, or if the model was not exported and evaluated.
    """
    addresses = [stage(verb, model) for verb in MODEL_STAGES]
    if missing := [address for address in addresses if address not in entries]:
        raise PipelineError(
            f"{model} was trained, but DVC has no entry of {' and '.join(missing)}; check that revision out and run "
            f"`{repro('evaluate', model)}`."
        )
    task = dvc.params(entries[addresses[0]]).get(f"models.{model}.task")
    if not isinstance(task, str):
        raise PipelineError(f"DVC's entry of {addresses[0]} names no task, so it is damaged; choose another revision.")
    cache = dvc.Cache()
    with tempfile.TemporaryDirectory(prefix="lstm-") as name:
        root = Path(name)
        for path, hash_name in _files(model, entries, MODEL_STAGES).items():
            target = dvc.inside(root, path)
            content = git.show(revision, path)
            if content is not None and md5_of(content) == hash_name:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            else:
                cache.checkout(hash_name, root, path)
        yield Artifacts(ModelPaths(model, root), TaskPaths(task, root), entries)


def from_run_cache(is_new: Callable[[str, str], bool] = lambda model, weights: True) -> list[tuple[str, Entries]]:
    """Every new model that was trained, exported and evaluated here, with the entries of its stages, oldest first.

    DVC's run cache has an entry of each stage that ever ran. Two entries belong together if one wrote the file, by its
    hash, that the other read. `is_new` is given a model and the MD5 of its weights.
    """
    contents = dvc.run_cache()
    if not any(_has_new(content, is_new) for content in contents):  # parsing a thousand takes seconds
        return []
    cached = dvc.run_cache_entries(contents)
    # The newest entry that read or wrote a file: a path and a hash.
    readers = {file: entry for entry in cached for file in dvc.hashes(entry, "deps").items()}
    writers = {file: entry for entry in cached for file in dvc.hashes(entry, "outs").items()}
    models = []
    for train in cached:
        outs = dvc.hashes(train, "outs")
        names = (Path(path).parent.name for path in outs)
        model = next((name for name in names if str(ModelPaths(name).weights) in outs), "")
        paths, task = ModelPaths(model), TaskPaths(str(dvc.params(train).get(f"models.{model}.task")))
        export = readers.get(_file(train, "outs", paths.weights), {})
        evaluate = readers.get(_file(export, "outs", paths.export), {})
        split = writers.get(_file(train, "deps", task.examples), {})
        generate = writers.get(_file(split, "deps", task.raw), {})
        if export and evaluate and is_new(model, trained_weights({stage("train", model): train}, model)):
            entries = dict(zip((stage(verb, model) for verb in MODEL_STAGES), (train, export, evaluate), strict=True))
            entries |= {stage("split", task.name): split, stage("generate", task.name): generate}
            models.append((model, {address: entry for address, entry in entries.items() if entry}))
    return models


def _has_new(content: bytes, is_new: Callable[[str, str], bool]) -> bool:
    """Whether a file of the run cache names new weights, or any in a form that is not DVC's."""
    found = WEIGHTS.findall(content)
    return content.count(WEIGHTS_NAME) > len(found) or any(is_new(*map(bytes.decode, each)) for each in found)


def _files(model: str, entries: Entries, verbs: Sequence[str]) -> dict[str, str]:
    """The hash of each file that these stages of a model wrote, and of the examples that they read, by its path.

    Raises PipelineError unless each stage read what those before it wrote.
    """
    files: dict[str, str] = {}
    for verb in verbs:
        entry = entries.get(stage(verb, model), {})
        read = dvc.hashes(entry, "deps")
        if not entry or any(files.get(path, hash_name) != hash_name for path, hash_name in read.items()):
            raise PipelineError(
                f"the files of {model} are not those of {LOCK}; run `{repro('evaluate', model)}` to make them again, "
                "or `dvc checkout` to restore them."
            )
        files |= {path: hash_name for path, hash_name in read.items() if is_split_data(path)}
        files |= dvc.hashes(entry, "outs")
    return files


def _file(entry: dict[str, Any], kind: str, path: Path) -> tuple[str, str]:
    """A path with its hash in an entry; with an empty hash, which no file has, if the entry does not name it."""
    return str(path), dvc.hashes(entry, kind).get(str(path), "")
