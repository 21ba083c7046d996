"""Trained models, wherever their files are: in the workspace, at a revision, or in what DVC's cache remembers."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline import data, git, lock
from pipeline.errors import BadInput

Entries = dict[str, Any]  # stages by their names, each as dvc.lock holds it


@dataclass(frozen=True)
class Outputs:
    """The files of one trained model, and what DVC knows of the stages that made them."""

    model: str
    task: str
    entries: Entries  # its own stages; those that did not make these files are left aside by who reads them
    root: Path = Path()  # models/NAME and data/split/TASK lie under it

    @property
    def folder(self) -> Path:
        """Where models/NAME lies."""
        return self.root / data.MODELS / self.model

    @property
    def split(self) -> Path:
        """Where data/split/TASK lies."""
        return self.root / data.SPLIT / self.task

    @cached_property
    def weights(self) -> str:
        """The MD5 of the weights: what identifies a trained model."""
        path = self.folder / "model.weights.h5"
        data.need(path, f"dvc repro train@{self.model}")
        return data.md5(path)

    def hashes(self) -> dict[str, str]:
        """The MD5 of each file of the model, by its path in the repository."""
        files = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name[0] != ".")
        return {str(path.relative_to(self.root)): data.md5(path) for path in files}

    def metrics(self) -> dict[str, Any]:
        """What metrics.json says; BadInput if it is missing or damaged."""
        path, command = self.folder / "metrics.json", f"dvc repro evaluate@{self.model}"
        figures = data.load_json(path, command)
        if not isinstance(figures, dict) or not {"dataset", "examples", "wrong", "accuracy"} <= set(figures):
            raise BadInput(f"{path} is damaged; make it again with `{command}`.")
        return figures

    @property
    def recipe(self) -> str:
        """The recipe that DVC says they were taught by; empty if it knows of none."""
        keys = lock.params(self.entries.get(f"train@{self.model}", {}))
        return next((key.split(".")[2] for key in keys if key.endswith(".steps")), "")

    def need_chain(self) -> None:
        """BadInput unless the weights are those that DVC's entries tell of, and the export was made of them."""
        weights = str(data.MODELS / self.model / "model.weights.h5")
        exported = lock.hashes(self.entries.get(f"export@{self.model}", {}), "deps")
        if not (self.weights == trained(self.entries, self.model) == exported.get(weights)):
            raise BadInput(
                f"the files of {self.model} are not those of {lock.LOCK}: they do not belong together, or DVC "
                f"did not make them; `dvc repro evaluate@{self.model}` mends that, or `dvc checkout`."
            )
        data.need(self.folder / "export" / "model.onnx", f"dvc repro export@{self.model}")
        data.need(self.folder / "history.csv", f"dvc repro train@{self.model}")


def workspace(model: str, task: str) -> Outputs:
    """The model as it lies in the workspace."""
    return Outputs(model, task, lock.stages())


def settled(model: str, task: str) -> Outputs:
    """The model as it lies in the workspace; BadInput unless every file is as dvc.lock has it."""
    outputs = workspace(model, task)
    outputs.need_chain()
    stages = {f"{stage}@{model}" for stage in ("train", "export", "evaluate")}
    read = lock.hashes(outputs.entries.get(f"evaluate@{model}", {}), "deps")
    made = lock.hashes(outputs.entries[f"export@{model}"], "outs")
    if stages & set(lock.changed("changed outs")) or not made.items() <= read.items():
        raise BadInput(f"the files of {model} are not those of {lock.LOCK}: `dvc repro evaluate@{model}` mends that.")
    return outputs


def trained(entries: Entries, model: str) -> str:
    """The MD5 of the weights that these stages made; empty if they made none."""
    path = str(data.MODELS / model / "model.weights.h5")
    return lock.hashes(entries.get(f"train@{model}", {}), "outs").get(path, "")


@contextmanager
def unpacked(model: str, entries: Entries, revision: str = "") -> Iterator[Outputs]:
    """The files of a model in a temporary folder, each checked by its hash; BadInput if one is gone.

    They come from git, if `revision` holds them, from DVC's cache or from its remote.
    """
    task = lock.params(entries[f"train@{model}"])[f"models.{model}.task"]
    if missing := [stage for stage in (f"export@{model}", f"evaluate@{model}") if stage not in entries]:
        raise BadInput(f"{model} was trained, but nothing is known of its {' and '.join(missing)}.")
    wanted: dict[str, str] = {}
    for stage in (f"train@{model}", f"export@{model}", f"evaluate@{model}"):
        wanted |= lock.hashes(entries[stage], "outs")
        wanted |= {path: md5 for path, md5 in lock.hashes(entries[stage], "deps").items() if _is_data(path)}
    cache = lock.Cache()
    with tempfile.TemporaryDirectory(prefix="lstm-") as name:
        root = Path(name)
        for path, md5 in wanted.items():
            kept = git.show(revision, path) if revision else None
            if kept is not None and lock.md5(kept) == md5:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(kept)
            else:
                cache.place(md5, root / path)
        yield Outputs(model, task, entries, root)


def remembered() -> list[tuple[str, Entries]]:
    """Every model that was trained, exported and measured here, as DVC's run cache keeps it, oldest first.

    The run cache holds the lock entry of each stage that ever ran; the hash of what one made and another read joins
    them.
    """
    kept = lock.run_cache()
    models = []
    for train in kept:
        weights = [path for path in lock.hashes(train, "outs") if path.endswith("/model.weights.h5")]
        if not weights:
            continue
        model = Path(weights[0]).parent.name
        export = _last(kept, _reads(train, weights[0]))
        evaluate = _last(kept, _reads(export, str(data.MODELS / model / "export"))) if export else None
        if not (export and evaluate):
            continue
        entries = {f"train@{model}": train, f"export@{model}": export, f"evaluate@{model}": evaluate}
        task = lock.params(train).get(f"models.{model}.task")
        if split := _last(kept, _makes(train, str(data.SPLIT / str(task) / "examples.parquet"))):
            entries[f"split@{task}"] = split
            if generate := _last(kept, _makes(split, str(data.RAW / str(task)))):
                entries[f"generate@{task}"] = generate
        models.append((model, entries))
    return models


def _reads(stage: Entries, path: str) -> Callable[[Entries], bool]:
    md5 = lock.hashes(stage, "outs")[path]
    return lambda other: lock.hashes(other, "deps").get(path) == md5


def _makes(stage: Entries, path: str) -> Callable[[Entries], bool]:
    md5 = lock.hashes(stage, "deps").get(path)
    return lambda other: md5 is not None and lock.hashes(other, "outs").get(path) == md5


def _last(stages: list[Entries], fits: Callable[[Entries], bool]) -> Entries | None:
    return next((stage for stage in reversed(stages) if fits(stage)), None)


def _is_data(path: str) -> bool:
    return path.startswith(f"{data.SPLIT}/")
