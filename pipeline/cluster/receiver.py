"""What trials report and send, in the process that started the sweep: checked, and put into DVC's cache."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.util.queue import Queue

from pipeline.cluster import nodes
from pipeline.cluster.plan import Sweep
from pipeline.cluster.state import STOPPED, SweepFolder, TrialRecord
from pipeline.cluster.worker import FAILED, FINISHED, RUNNING
from pipeline.errors import PipelineError, quoted
from pipeline.files import md5_of, parse_yaml, write_bytes
from pipeline.lineage import dvc, exchange
from pipeline.lineage.artifacts import trained_weights
from pipeline.paths import LOCK, MODEL_STAGES, ModelPaths, stage

COLUMNS = ("step", "loss", "accuracy", "validation_loss", "validation_accuracy")  # of a row that is kept


class Receiver(Callback):  # type: ignore[misc]
    """Tune's callback. Trials put their outputs into its outbox, which lies on this node, before they end."""

    def __init__(self, sweep: Sweep, folder: SweepFolder, on_end: Callable[[TrialRecord], None]):
        self.outbox = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": nodes.this_node()})
        self._sweep, self._folder, self._on_end = sweep, folder, on_end
        self._rows: dict[str, list[dict[str, float]]] = {}

    def drain(self) -> None:
        """Store the outputs that have come."""
        while not self.outbox.empty():
            name, content = self.outbox.get()
            if self._folder.load(name) is None:
                self._end(receive(self._sweep, name, content, self._rows.get(name, [])))

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Forget the rows of a trial that starts again."""
        self._rows[_name(trial)] = []

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep a row of the history, or the end of the trial."""
        name = _name(trial)
        if result["outcome"] == RUNNING:
            self._rows[name].append({key: result[key] for key in COLUMNS if key in result})
        self.drain()
        if result["outcome"] == FAILED:
            self._end_as(name, FAILED, result["reason"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial that ends without its outputs was stopped."""
        self.drain()
        self._end_as(_name(trial), STOPPED)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial that was lost too often has failed."""
        if trial.status == "ERROR":
            text = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
            self._end_as(_name(trial), FAILED, " ".join(text.split())[-300:])

    def _end_as(self, name: str, outcome: str, reason: str = "") -> None:
        if self._folder.load(name) is None:
            self._end(TrialRecord(name, self._sweep.trials[name].overrides, outcome, reason, self._rows.get(name, [])))

    def _end(self, record: TrialRecord) -> None:
        self._folder.save(record)
        self._on_end(record)


def _name(trial: Any) -> str:
    return str(trial.config["trial"]["name"])


def receive(sweep: Sweep, name: str, content: dict[str, Any], rows: list[dict[str, float]]) -> TrialRecord:
    """Put the outputs of a trial into DVC's cache, and return its record; a damaged one is a failed trial."""
    overrides, model = sweep.trials[name].overrides, sweep.setup.name
    try:
        entries = _entries(content["lock"], sweep)
        sent = {**sweep.shipment.objects, **content["objects"]}
        for address in (stage(verb, model) for verb in MODEL_STAGES):
            for path, hash_name in dvc.hashes(entries[address], "outs").items():
                if hash_name not in sent:
                    raise PipelineError(f"{path} did not come; run the sweep again.")
        metrics = ModelPaths(model).metrics
        if md5_of(content["metrics"]) != dvc.hashes(entries[stage("evaluate", model)], "outs")[str(metrics)]:
            raise PipelineError(f"{metrics} came damaged; run the sweep again.")
        exchange.add(content["objects"], content["runs"])
        weights = trained_weights(entries, model)
        for note in (file for file in content["notes"] if file == f"{weights}.json"):
            write_bytes(content["notes"][note], ModelPaths(model).training_note(weights))
    except PipelineError as error:
        return TrialRecord(name, overrides, FAILED, str(error), rows)
    return TrialRecord(name, overrides, FINISHED, "", rows, json.loads(content["metrics"]), entries)


def _entries(lock: bytes, sweep: Sweep) -> dict[str, Any]:
    """The entries of dvc.lock that a model depends on."""
    task, model = sweep.setup.task.name, sweep.setup.name
    wanted = [stage(verb, task) for verb in ("generate", "split")] + [stage(verb, model) for verb in MODEL_STAGES]
    try:
        entries = parse_yaml(lock)["stages"]
        return {address: entries[address] for address in wanted}
    except dvc.INVALID:
        raise PipelineError(f"{quoted(str(LOCK))} came damaged; run the sweep again.") from None
