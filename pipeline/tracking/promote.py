"""Make the model of the workspace the champion of its dataset."""

from pipeline.config import ModelSetup
from pipeline.lineage.artifacts import verified_workspace
from pipeline.tracking import connection, registry
from pipeline.tracking.record import record


def promote(setup: ModelSetup) -> tuple[bool, str]:
    """Record the model of the workspace, and make it the champion of its dataset if the gate lets it pass.

    Returns whether it is the champion now, and a sentence. Raises PipelineError if its files are not those of dvc.lock,
    or if the store does not answer.
    """
    artifacts = verified_workspace(setup.name, setup.task.name)
    dataset = artifacts.metrics()["dataset"]
    with connection.connected(create=True) as client:
        recorded = record(artifacts, setup.params.gate)
        name = f"{setup.name} version {recorded.version}"
        if recorded.verdict is None:
            return True, f"{name} is the champion of {dataset} already"
        reasons = "; ".join(recorded.verdict.reasons)
        if not recorded.verdict.passed:
            return False, f"{name} is not promoted: {reasons}"
        registry.promote(client, setup.name, recorded.version, dataset)
    return True, f"{name} is the champion of {dataset} now: {reasons}"
