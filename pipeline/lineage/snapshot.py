"""A trained model as reports compare it, and the project at a revision of git or in the workspace, which has some."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import PipelineError, printable
from pipeline.files import load_csv, load_json
from pipeline.lineage import dvc, git
from pipeline.lineage.artifacts import VALUES, numeric
from pipeline.lineage.provenance import Provenance, of_entries
from pipeline.paths import PARAMS, ModelPaths, TaskPaths, repro, stage
from pipeline.predictions import load_parquet

COLUMNS = ("step", "accuracy")  # that every history has
NO_HISTORY = pd.DataFrame(columns=COLUMNS)


@dataclass(frozen=True)
class RunSummary:
    """The parameters, inputs and results of one trained model."""

    id: str  # MLflow's; empty if it comes from git
    name: str
    provenance: Provenance
    metrics: dict[str, float]
    history: pd.DataFrame  # a row for each log, by step: loss, accuracy, batch_accuracy, ...
    predictions: pd.DataFrame | None  # a row for each evaluated example: target, predicted; None if not recorded

    @property
    def model(self) -> str:
        """The model's name."""
        return self.provenance.model

    @property
    def params(self) -> dict[str, str]:
        """The parameters, without the prefixes of model, recipe and task, as text for a terminal."""
        return {key: printable(str(value)) for key, value in self.provenance.shared_params.items()}


@dataclass(frozen=True)
class Snapshot:
    """The project at a revision, or in the workspace if that is empty."""

    name: str
    revision: str

    @cached_property
    def entries(self) -> dict[str, Any]:
        """The entries of dvc.lock, of the stages of tasks and models."""
        return {address: entry for address, entry in dvc.lock_entries(self.revision).items() if "@" in address}

    def entry(self, verb: str, name: str) -> dict[str, Any]:
        """The entry of one stage of a task or model; empty if it never ran."""
        entry: dict[str, Any] = self.entries.get(stage(verb, name), {})
        return entry

    def read(self, path: Path) -> bytes | None:
        """The content of a file that git holds; None if it does not exist on this side."""
        return git.show(self.revision, str(path))

    def params(self) -> dict[str, Any]:
        """All of params.yaml, by dotted keys; empty if it does not exist."""
        return dvc.params_of(self.read(PARAMS) or b"", self.name)

    def metrics(self, model: str) -> dict[str, Any]:
        """The content of metrics.json; empty if it does not exist."""
        path = ModelPaths(model).metrics
        try:
            content = json.loads(self.read(path) or b"{}")
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            again = repro("evaluate", model)
            raise PipelineError(f"{path} of {self.name} is damaged; choose another revision, or run `{again}`.")
        return content

    def examples(self, model: str, task: str) -> str | None:
        """The MD5 of the examples that the model was evaluated on."""
        return dvc.hashes(self.entry("evaluate", model), "deps").get(str(TaskPaths(task).examples))

    def summary(self, model: str, task: str) -> RunSummary:
        """The model as a run that can be compared; it has no id."""
        provenance = replace(of_entries(self.entries, model, task), commit=git.commit(self.revision or "HEAD"))
        return summarize(f"{model}@{self.name}", provenance, self._copy)

    def _copy(self, path: Path, folder: Path) -> Path | None:
        """A copy of a model's file, from git or else from DVC; None if neither has it any more."""
        copy, content = folder / path.name, self.read(path)
        if content is not None:
            copy.write_bytes(content)
            return copy
        hash_name = dvc.hashes(self.entry("evaluate", path.parent.name), "outs").get(str(path), "")
        try:
            dvc.Cache().checkout(hash_name, folder, path.name)
        except PipelineError:
            return None
        return copy


def summarize(
    name: str, provenance: Provenance, copy: Callable[[Path, Path], Path | None], run_id: str = ""
) -> RunSummary:
    """Read a run from the files of its model: `copy` puts one into a folder, and returns None if there is none.

    Raises PipelineError if a file is damaged.
    """
    paths, command = ModelPaths(provenance.model), "pipeline track"
    with tempfile.TemporaryDirectory() as folder:
        files = (paths.metrics, paths.history, paths.predictions)
        metrics, history, predictions = (copy(path, Path(folder)) for path in files)
        return RunSummary(
            id=run_id,
            name=printable(name),
            provenance=provenance,
            metrics=(numeric(load_json(metrics, command, VALUES)) if metrics else {}) | provenance.costs,
            history=(load_csv(history, command, COLUMNS) if history else NO_HISTORY).set_index("step"),
            predictions=load_parquet(predictions, command) if predictions else None,
        )
