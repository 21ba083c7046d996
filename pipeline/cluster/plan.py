"""What a sweep runs, and what its trials read."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.cluster.overrides import TrialParams
from pipeline.cluster.worker import Shipment
from pipeline.config import ModelSetup
from pipeline.errors import PipelineError, quoted
from pipeline.files import md5_of
from pipeline.lineage import exchange, git
from pipeline.paths import LOCK, stage
from pipeline.tracking.connection import tracking_uri

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?")


@dataclass(frozen=True)
class Sweep:
    """The trials of one model, by their names."""

    name: str
    setup: ModelSetup
    trials: dict[str, TrialParams]
    shipment: Shipment

    @property
    def settings(self) -> dict[str, Any]:
        """What the trials depend on."""
        return {
            "model": self.setup.name,
            "commit": self.shipment.commit,
            "patch": md5_of(self.shipment.patch),
            "inputs": self.shipment.files,
            "trials": {name: trial.overrides for name, trial in self.trials.items()},
        }


def plan(setup: ModelSetup, trials: Sequence[TrialParams], name: str = "") -> Sweep:
    """Name the trials, and collect what they read. Raises PipelineError if the data are not current."""
    sent = shipment(setup)
    overrides = [trial.overrides for trial in trials]
    identity = json.dumps([sent.commit, md5_of(sent.patch), sent.files, overrides], sort_keys=True)
    name = name or f"sweep-{md5_of(identity.encode())[:6]}"
    if not NAME.fullmatch(name):
        raise PipelineError(
            f"{quoted(name)} is not the name of a sweep; use at most 60 lower-case letters, digits and hyphens, such "
            "as rates-1."
        )
    return Sweep(name, setup, {f"{name}-{i}": trial for i, trial in enumerate(trials, 1)}, sent)


def shipment(setup: ModelSetup) -> Shipment:
    """What a worker needs to run the model's stages. Raises PipelineError if the data are not current."""
    task, commit = setup.task.name, git.commit()
    if not commit:
        raise PipelineError("this folder is no git repository with a commit; make a commit with `git commit`.")
    restore = (stage("generate", task), stage("split", task))
    inputs = exchange.outputs_of(restore)
    uri = tracking_uri()
    reachable = uri.startswith(("http://", "https://")) and "@" not in uri
    return Shipment(
        target=stage("evaluate", setup.name),
        commit=commit,
        repository=git.archive(commit),
        patch=git.patch([setup.task.params.source]),
        lock=LOCK.read_bytes(),
        files=inputs.files,
        objects=inputs.objects,
        restore=restore,
        metrics=str(setup.paths.metrics),
        provenances=str(setup.paths.provenance("").parent),
        tracking_uri=uri if reachable else "",
    )
