"""What trials report and send, in the process that started the sweep: checked, and put into DVC's cache."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback

from pipeline.cluster.outbox import Outbox
from pipeline.cluster.plan import Sweep
from pipeline.cluster.results import METRICS, Results, TrialRecord
from pipeline.cluster.worker import FAILED, FINISHED, RUNNING, STOPPED
from pipeline.errors import PipelineError, quoted
from pipeline.files import fits, md5_of, write_bytes
from pipeline.lineage import dvc, exchange
from pipeline.lineage.artifacts import trained_weights
from pipeline.paths import LOCK, MODEL_STAGES, stage, stages

# The types of what a trial sends; see worker.outputs.
SENT = {
    **{"entries": dict[str, Any], "pushed": list[str], "metrics": bytes},
    **dict.fromkeys(("objects", "runs", "provenances"), dict[str, bytes]),
}
COLUMNS = ("step", "loss", "accuracy", "validation_loss", "validation_accuracy")  # of a row that is kept


class Receiver(Callback):  # type: ignore[misc]
    """Tune's callback. Trials put their outputs into its outbox, which lies on this node, before they end."""

    def __init__(self, results: Results, on_end: Callable[[TrialRecord], None]):
        self.outbox = Outbox(self._receive)
        self._results, self._on_end = results, on_end
        self._rows: dict[str, list[dict[str, float]]] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Forget the rows of a trial that starts again."""
        self._rows[str(trial)] = []

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep a row of the history, or the end of the trial."""
        name = str(trial)
        if result["outcome"] == RUNNING:
            self._rows[name].append({key: result[key] for key in COLUMNS if key in result})
        self.outbox.drain()
        if result["outcome"] == FAILED:
            self._end_as(name, FAILED, result["reason"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial that ends without its outputs was stopped."""
        self.outbox.drain()
        self._end_as(str(trial), STOPPED)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial that was lost too often has failed."""
        if trial.status == "ERROR":
            text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
            self._end_as(str(trial), FAILED, " ".join(text.split())[-300:])

    def _receive(self, name: str, content: dict[str, Any]) -> None:
        if not self._results.has(name):
            self._end(receive(self._results.sweep, name, content, self._rows.get(name, [])))

    def _end_as(self, name: str, outcome: str, reason: str = "") -> None:
        if not self._results.has(name):
            overrides = self._results.sweep.trials[name].overrides
            self._end(TrialRecord(name, overrides, outcome, reason, self._rows.get(name, [])))

    def _end(self, record: TrialRecord) -> None:
        self._results.save(record)
        self._on_end(record)


def receive(sweep: Sweep, name: str, content: dict[str, Any], rows: list[dict[str, float]]) -> TrialRecord:
    """Put the outputs of a trial into DVC's cache, and return its record; a damaged one is a failed trial."""
    overrides, model, files = sweep.trials[name].overrides, sweep.setup.name, sweep.setup.paths
    try:
        if not fits(content, SENT):
            raise PipelineError("what the trial sent came damaged; run the sweep again.")
        entries = _entries(content["entries"], sweep)
        sent = {**sweep.shipment.objects, **content["objects"]}
        for address in (stage(verb, model) for verb in MODEL_STAGES):
            for path, hash_name in dvc.hashes(entries[address], "outs").items():
                if hash_name not in sent and hash_name not in content["pushed"]:
                    raise PipelineError(f"{path} did not come; run the sweep again.")
        metrics = _metrics(content["metrics"], dvc.hashes(entries[stage("evaluate", model)], "outs"), files.metrics)
        exchange.add(content["objects"], content["runs"])
        weights = trained_weights(entries, model)
        if provenance := content["provenances"].get(f"{weights}.json"):
            write_bytes(provenance, files.provenance(weights))
    except PipelineError as error:
        return TrialRecord(name, overrides, FAILED, str(error), rows)
    return TrialRecord(name, overrides, FINISHED, "", rows, metrics, entries)


def _metrics(content: bytes, hashes: dict[str, str], path: Path) -> dict[str, Any]:
    """What a trial sent as its metrics. Raises PipelineError unless they are those of the hashes, and a JSON object."""
    try:
        metrics: Any = json.loads(content) if md5_of(content) == hashes.get(str(path)) else None
    except (ValueError, RecursionError):
        metrics = None
    if not fits(metrics, METRICS) or not math.isfinite(metrics["accuracy"]):
        raise PipelineError(f"{path} came damaged; run the sweep again.")
    return dict(metrics)


def _entries(sent: Any, sweep: Sweep) -> dict[str, Any]:
    """The entries of dvc.lock that a model depends on, of those that were sent."""
    wanted = stages([sweep.setup.task.name], [sweep.setup.name])
    try:
        entries = {address: sent[address] for address in wanted}
        for entry in entries.values():
            exchange.require_own(entry)
        return entries
    except dvc.INVALID:
        raise PipelineError(f"{quoted(str(LOCK))} came damaged; run the sweep again.") from None
