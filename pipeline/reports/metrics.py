"""What is known of each metric, and of a model: name, unit and order, for the page, `results`, `compare` and sweeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from pipeline.lineage.artifacts import numeric
from pipeline.predictions import SHARES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Metric:
    """A metric of metrics.json or of a training, and how people read it."""

    name: str
    unit: str  # "%": a share from 0 to 1, shown in per cent; "s"; "MiB"; "steps"; "": a plain number
    label: str = ""  # its name in tables, if it has another one there

    @property
    def title(self) -> str:
        """The name in tables."""
        return self.label or self.name

    def text(self, value: float, decimals: int | None = None) -> str:
        """A value with its unit: "99.949%", "11.3 s", "1,000"."""
        return self._with_unit(self.number(value, decimals))

    def number(self, value: float, decimals: int | None = None) -> str:
        """A value without its unit, but for per cent.

        Without `decimals`: shares have three, integers none, and other numbers four significant digits.
        """
        if self.unit == "%":
            return f"{value:.{3 if decimals is None else decimals}%}"
        return f"{value:{_format(value, decimals)}}"

    def mean(self, values: "pd.Series[float]") -> str:
        """The mean of shares with their standard deviation in points, if there are several: "99.437% ± 0.045".

        A dash if one of them is missing.
        """
        if values.isna().any():
            return "-"
        spread = f" ± {100 * values.std(ddof=1):.3f}" if len(values) > 1 else ""
        return self.text(values.mean()) + spread

    def difference(self, value: float) -> str:
        """A difference of two values, with its sign and its unit: "+12.500 points", "-0.5 s"."""
        if self.unit == "%":
            return f"{value * 100:+.3f} points"
        return self._with_unit(f"{value:+{_format(value)}}")

    def _with_unit(self, number: str) -> str:
        return f"{number} {self.unit}" if self.unit not in ("", "%") else number


METRICS = {  # in the order in which tables have them; those of a task come before the costs of the training
    metric.name: metric
    for metric in (
        Metric("accuracy", "%"),
        Metric("wrong", ""),
        Metric("examples", ""),
        Metric("certified_steps", "steps"),
        Metric("ceiling", "%"),  # of the dataset, not of the model
        Metric("loss", "", label="test_loss"),  # not the loss that training minimizes
        Metric("expected_calibration_error", "%", label="calibration_error"),
        Metric("expected_calibration_error_by_chance", "%", label="calibration_error_by_chance"),
        Metric("training_seconds", "s"),
        Metric("peak_memory_mib", "MiB"),
    )
}


def metric(name: str) -> Metric:
    """What is known of the metric `name`.

    A task may add metrics of its own: those named accuracy_... are accuracies, others are plain numbers.
    """
    if name in METRICS:
        return METRICS[name]
    return Metric(name, "%" if name in SHARES or name.startswith("accuracy") else "")


def facts(known: Mapping[str, Any]) -> dict[Metric, float]:
    """The numbers that are known of a model, in the order of METRICS.

    `known`: what metrics.json and the record of the training have, by the names of metrics. What is no number is left
    out: names, flags, and values that are missing.
    """
    numbers = {name: value for name, value in numeric(known).items() if not isnan(value)}
    ranks = {name: rank for rank, name in enumerate(METRICS)}
    of_a_task = ranks["training_seconds"] - 0.5
    return {metric(name): numbers[name] for name in sorted(numbers, key=lambda name: ranks.get(name, of_a_task))}


def _format(value: float, decimals: int | None = None) -> str:
    if decimals is not None:
        return f",.{decimals}f"
    return ",.0f" if float(value).is_integer() else ".4g"
