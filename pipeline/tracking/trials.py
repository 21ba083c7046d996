"""Record the trials of a sweep: a run for each, with the sweep's name as a tag."""

from collections.abc import Sequence
from typing import Any

from pipeline.config import Gate, ModelSetup
from pipeline.lineage.artifacts import checked_out, trained_weights
from pipeline.lineage.provenance import strip_prefixes
from pipeline.paths import stage
from pipeline.tracking import connection
from pipeline.tracking.experiments import experiment_id
from pipeline.tracking.names import LIVE, SWEEP, model_tags, source_tags
from pipeline.tracking.record import record
from pipeline.tracking.run_writer import log_params, log_report
from pipeline.tracking.search import runs_with_weights


def record_finished(setup: ModelSetup, entries: dict[str, Any], gate: Gate, sweep: str) -> str:
    """Record a trial from DVC's cache, and return the name of its run. Raises PipelineError if MLflow fails."""
    with connection.connected(create=True) as client:
        with checked_out(setup.name, entries) as artifacts:
            name = record(artifacts, gate).run
        experiment = experiment_id(client, setup.task.name)
        for run in runs_with_weights(client, experiment, setup.name, trained_weights(entries, setup.name)):
            client.set_tag(run.info.run_id, SWEEP, sweep)
    return name


def record_stopped(setup: ModelSetup, trial: str, sweep: str, commit: str, rows: Sequence[dict[str, float]]) -> str:
    """Record a trial that was stopped early: parameters and curves, no model. Raises PipelineError if MLflow fails."""
    name = f"{setup.name}@{trial} (stopped)"
    with connection.connected(create=True) as client:
        experiment = experiment_id(client, setup.task.name)
        for run in client.search_runs([experiment], f"tags.experiment = '{trial}'"):
            if run.info.run_name == name:
                return name
            if LIVE in run.data.tags:  # written by the training until it was ended
                client.delete_run(run.info.run_id)
        tags = model_tags(setup.name, setup.task.name, setup.recipe_name, stage("train", setup.name))
        # The parameters of a trial are uncommitted changes of params.yaml.
        tags |= source_tags(commit, True, trial) | {SWEEP: sweep}
        run_id = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
        log_params(client, run_id, {"recipe": setup.recipe_name} | strip_prefixes(setup.used_params()))
        for row in rows:
            log_report(client, run_id, row)
        client.set_terminated(run_id, "KILLED")
    return name
