"""A trained model as reports compare it, whether it comes from MLflow or from git."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import printable
from pipeline.lineage.provenance import Provenance, strip_prefixes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunSummary:
    """The parameters, inputs and results of one trained model."""

    id: str  # MLflow's; empty if it comes from git
    name: str
    provenance: Provenance
    metrics: dict[str, float]
    history: "pd.DataFrame"  # a row for each log, by step: loss, accuracy, batch_accuracy, ...
    predictions: "pd.DataFrame | None"  # a row for each evaluated example: target, predicted; None if not recorded

    @property
    def model(self) -> str:
        """The model's name."""
        return self.provenance.model

    @property
    def params(self) -> dict[str, str]:
        """The parameters, without the prefixes of model, recipe and task, as text for a terminal."""
        params = {"recipe": self.provenance.recipe} | strip_prefixes(self.provenance.params)
        return {key: printable(str(value)) for key, value in params.items()}


def numeric(content: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of metrics.json, without what else it holds: names, and whether the dataset is a stand-in."""
    return {
        name: value for name, value in content.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
