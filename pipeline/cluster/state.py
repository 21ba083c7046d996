"""What a sweep keeps in sweeps/NAME: its settings, and a file for each trial that has ended."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pipeline.errors import PipelineError, quoted
from pipeline.files import load_json
from pipeline.formats import write_json
from pipeline.paths import SWEEPS

STOPPED = "stopped"


@dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended."""

    name: str
    overrides: dict[str, Any]
    outcome: str  # finished, stopped or failed
    reason: str = ""  # of a failure
    rows: list[dict[str, float]] = field(default_factory=list)  # of the history
    metrics: dict[str, Any] = field(default_factory=dict)  # of the evaluation
    entries: dict[str, Any] = field(default_factory=dict)  # of dvc.lock, by stage address

    @property
    def score(self) -> float | None:
        """By what trials are ordered: the last accuracy on the validation split, or that of the evaluation."""
        if not self.metrics:
            return None
        return float(self.rows[-1].get("validation_accuracy", self.metrics["accuracy"]) if self.rows else 0.0)


class SweepFolder:
    """The folder of one sweep."""

    def __init__(self, name: str):
        self.path = SWEEPS / name

    def begin(self, settings: dict[str, Any]) -> None:
        """Keep the settings. Raises PipelineError if the folder holds a sweep with others."""
        path = self.path / "sweep.json"
        if path.exists() and load_json(path, f"rm -rf {self.path}") != settings:
            raise PipelineError(
                f"{quoted(str(self.path))} holds a sweep of other trials, code or data; choose another --name, or "
                "delete the folder."
            )
        write_json(settings, path)

    def save(self, trial: TrialRecord) -> None:
        """Keep a trial that has ended."""
        write_json(asdict(trial), self._file(trial.name))

    def load(self, name: str) -> TrialRecord | None:
        """A trial that has ended, or None. Raises PipelineError if its file is damaged."""
        path = self._file(name)
        if not path.exists():
            return None
        content = load_json(path, f"rm {path}")
        try:
            return TypeAdapter(TrialRecord).validate_python(content)
        except ValueError:
            raise PipelineError(f"{path} is damaged; run `rm {path}`, and the sweep runs this trial again.") from None

    def forget_failed(self, name: str) -> None:
        """Forget a trial that failed, so that it runs again."""
        record = self.load(name)
        if record and record.outcome == "failed":
            self._file(name).unlink()

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.json"
