"""The files of a trained model: in the workspace, at a revision of git, or in DVC's cache."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.files import files_below, load_json, md5, md5_of, require
from pipeline.lineage import dvc, git
from pipeline.paths import LOCK, MODEL_STAGES, ModelPaths, TaskPaths, is_split_data, repro, stage

Entries = dict[str, Any]  # the entries of dvc.lock, by stage address
METRICS = {"dataset", "stand_in", "examples", "wrong", "accuracy"}  # what metrics.json must have


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
        """The MD5 of each file of the model, by its path in the repository."""
        files = [path for path in files_below(self.paths.folder) if path.name[0] != "."]  # no .gitignore
        return {str(path.relative_to(self.paths.root)): md5(path) for path in files}

    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json. Raises PipelineError if it is missing or damaged."""
        command = repro("evaluate", self.model)
        metrics = load_json(self.paths.metrics, command)
        if not isinstance(metrics, dict) or not set(metrics) >= METRICS:
            raise PipelineError(f"{self.paths.metrics} is damaged; run `{command}` to make it again.")
        return metrics

    def history(self) -> list[dict[str, float]]:
        """The rows of history.csv."""
        import pandas as pd

        return pd.read_csv(self.paths.history).to_dict("records")  # type: ignore[return-value]

    def check_consistent(self) -> None:
        """Raise PipelineError unless the examples, the training's files and the export are those of the entries.

        And unless the export was made from these weights.
        """
        require(self.paths.weights, repro("train", self.model))
        train, export = (self.entries.get(stage(verb, self.model), {}) for verb in ("train", "export"))
        read = dvc.hashes(export, "deps")
        if read.get(str(ModelPaths(self.model).weights)) != trained_weights(self.entries, self.model):
            raise _inconsistent(self.model)
        data = {path: hash_name for path, hash_name in read.items() if is_split_data(path)}
        self._check_files(data | dvc.hashes(train, "outs") | dvc.hashes(export, "outs"))

    def check_evaluated(self) -> None:
        """Raise PipelineError unless all is consistent, and the evaluation was made from this export."""
        self.check_consistent()
        evaluate, export = (self.entries.get(stage(verb, self.model), {}) for verb in ("evaluate", "export"))
        if not dvc.hashes(export, "outs").items() <= dvc.hashes(evaluate, "deps").items():
            raise _inconsistent(self.model)
        self._check_files(dvc.hashes(evaluate, "outs"))

    def _check_files(self, hashes: dict[str, str]) -> None:
        for path, was in hashes.items():
            if dvc.hash_of(self.paths.root / path) != was:
                restore, again = f"rm -rf {path} && dvc checkout {path}", repro("evaluate", self.model)
                raise PipelineError(
                    f"{path} is not the file that {LOCK} names; run `{restore}` to restore it, or `{again}` to make it."
                )


def workspace(model: str, task: str) -> Artifacts:
    """The model in the workspace."""
    return Artifacts(ModelPaths(model), TaskPaths(task), dvc.lock_entries())


def verified_workspace(model: str, task: str) -> Artifacts:
    """The model in the workspace. Raises PipelineError unless every file is as dvc.lock has it."""
    artifacts = workspace(model, task)
    artifacts.check_evaluated()
    return artifacts


def trained_weights(entries: Entries, model: str) -> str:
    """The MD5 of the weights that the model's train entry wrote; empty if there is no such entry."""
    outs = dvc.hashes(entries.get(stage("train", model), {}), "outs")
    return outs.get(str(ModelPaths(model).weights), "")


@contextmanager
def checked_out(model: str, entries: Entries, revision: str = "") -> Iterator[Artifacts]:
    """The files of a model in a temporary folder, as its entries name them by their hashes.

    They come from git, if `revision` has them, else from DVC's cache or its remote. Raises PipelineError if one is
    gone, or if the model was not exported and evaluated.
    """
    addresses = [stage(verb, model) for verb in MODEL_STAGES]
    task = dvc.params(entries[stage("train", model)])[f"models.{model}.task"]
    if missing := [address for address in addresses if address not in entries]:
        raise PipelineError(
            f"{model} was trained, but DVC has no entry of {' and '.join(missing)}; check that revision out and run "
            f"`{repro('evaluate', model)}`."
        )
    files: dict[str, str] = {}
    for address in addresses:
        deps = dvc.hashes(entries[address], "deps")
        files |= {path: hash_name for path, hash_name in deps.items() if is_split_data(path)}
        files |= dvc.hashes(entries[address], "outs")
    cache = dvc.Cache()
    with tempfile.TemporaryDirectory(prefix="lstm-") as name:
        root = Path(name)
        for path, hash_name in files.items():
            content = git.show(revision, path) if revision else None
            if content is not None and md5_of(content) == hash_name:
                target = dvc.inside(root, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            else:
                cache.checkout(hash_name, root, path)
        yield Artifacts(ModelPaths(model, root), TaskPaths(task, root), entries)


def from_run_cache() -> list[tuple[str, Entries]]:
    """Every model that was trained, exported and evaluated here, with the entries of its stages, oldest first.

    DVC's run cache has an entry of each stage that ever ran. Two entries belong together if one wrote the file, by its
    hash, that the other read.
    """
    cached = dvc.run_cache_entries()
    models = []
    for train in cached:
        model = _trained_model(train)
        if not model:
            continue
        paths = ModelPaths(model)
        export = _last(cached, _reads(train, paths.weights))
        evaluate = _last(cached, _reads(export, paths.export)) if export else None
        if not (export and evaluate):
            continue
        entries = {stage("train", model): train, stage("export", model): export, stage("evaluate", model): evaluate}
        task = TaskPaths(str(dvc.params(train).get(f"models.{model}.task")))
        if split := _last(cached, _writes(train, task.examples)):
            entries[stage("split", task.name)] = split
            if generate := _last(cached, _writes(split, task.raw)):
                entries[stage("generate", task.name)] = generate
        models.append((model, entries))
    return models


def _inconsistent(model: str) -> PipelineError:
    return PipelineError(
        f"the files of {model} are not those of {LOCK}; run `{repro('evaluate', model)}` to make them again, or "
        "`dvc checkout` to restore them."
    )


def _trained_model(entry: dict[str, Any]) -> str:
    """The model whose weights a stage wrote; empty if it wrote none."""
    names = {path: Path(path).parent.name for path in dvc.hashes(entry, "outs")}
    return next((name for path, name in names.items() if path == str(ModelPaths(name).weights)), "")


def _reads(writer: dict[str, Any], path: Path) -> Callable[[dict[str, Any]], bool]:
    """Whether an entry read `path` as `writer` wrote it."""
    hash_name = dvc.hashes(writer, "outs")[str(path)]
    return lambda entry: dvc.hashes(entry, "deps").get(str(path)) == hash_name


def _writes(reader: dict[str, Any], path: Path) -> Callable[[dict[str, Any]], bool]:
    """Whether an entry wrote `path` as `reader` read it."""
    hash_name = dvc.hashes(reader, "deps").get(str(path))
    return lambda entry: hash_name is not None and dvc.hashes(entry, "outs").get(str(path)) == hash_name


def _last(entries: list[dict[str, Any]], fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    return next((entry for entry in reversed(entries) if fits(entry)), None)
