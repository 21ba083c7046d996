"""A trained model as reports compare it, and the project at a revision of git or in the workspace, which has some."""

import io
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config import flatten
from pipeline.errors import PipelineError, printable
from pipeline.files import parse_yaml
from pipeline.lineage import dvc, git
from pipeline.lineage.provenance import Provenance, of_entries, strip_prefixes
from pipeline.paths import PARAMS, ModelPaths, TaskPaths, stage


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
        params = {"recipe": self.provenance.recipe} | strip_prefixes(self.provenance.params)
        return {key: printable(str(value)) for key, value in params.items()}


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
        return flatten(parse_yaml(self.read(PARAMS) or b"{}") or {})

    def metrics(self, model: str) -> dict[str, Any]:
        """The content of metrics.json; empty if it does not exist."""
        content: dict[str, Any] = json.loads(self.read(ModelPaths(model).metrics) or b"{}")
        return content

    def examples(self, model: str, task: str) -> str | None:
        """The MD5 of the examples that the model was evaluated on."""
        return dvc.hashes(self.entry("evaluate", model), "deps").get(str(TaskPaths(task).examples))

    def provenance(self, model: str, task: str) -> Provenance:
        """What the model was made from, as dvc.lock has it."""
        return replace(of_entries(self.entries, model, task), commit=git.commit(self.revision or "HEAD"))

    def summary(self, model: str, task: str) -> RunSummary:
        """The model as a run that can be compared; it has no id."""
        history = self.read(ModelPaths(model).history) or b"step,accuracy\n"
        return RunSummary(
            id="",
            name=f"{model}@{self.name}",
            provenance=self.provenance(model, task),
            metrics=numeric(self.metrics(model)),
            history=pd.read_csv(io.BytesIO(history), index_col="step"),
            predictions=self._predictions(model),
        )

    def _predictions(self, model: str) -> pd.DataFrame | None:
        """The predictions of the evaluated split; None if neither DVC's cache nor its remote has them any more."""
        path = ModelPaths(model).predictions
        md5 = dvc.hashes(self.entry("evaluate", model), "outs").get(str(path))
        if md5 is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            try:
                dvc.Cache().checkout(md5, Path(folder), path.name)
            except PipelineError:
                return None
            return pd.read_parquet(Path(folder) / path.name)


def numeric(content: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of metrics.json, without what else it holds: names, and whether the dataset is a stand-in."""
    return {
        name: value for name, value in content.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
