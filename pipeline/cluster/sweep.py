"""Train a model with many parameters at once. Ray runs the trials; DVC's cache gets what they wrote."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.cluster import nodes, worker
from pipeline.cluster.overrides import TrialParams
from pipeline.cluster.plan import Sweep
from pipeline.cluster.receiver import Receiver
from pipeline.cluster.results import Results, TrialRecord
from pipeline.dataset import load_examples
from pipeline.errors import PipelineError

SECONDS = 10  # between two tables
RETRIES = 3  # of a trial whose worker or node was lost
COLUMNS = {"step": "step", "progress": "%", "loss": "loss", "accuracy": "accuracy"}  # of the table in the terminal
GRACE = 30  # per cent of a training after which the worse half is stopped, and again after twice that


@dataclass(frozen=True)
class Options:
    """How to run the trials."""

    cluster: nodes.Cluster
    cpus: float = 1  # that one trial is counted as
    gpus: float = 0
    stop_early: bool = False


def run(sweep: Sweep, options: Options, on_end: Callable[[TrialRecord], None]) -> Results:
    """Run the trials that have not ended. `on_end` is called for each that ends.

    A trial whose worker is lost starts again. If this process is lost, the next call goes on: trials that have ended
    are kept. Raises PipelineError if the folder holds another sweep, or if Ray or a node cannot be used.
    """
    results = Results(sweep)
    if waiting := results.begin():
        with nodes.connected(options.cluster):
            nodes.require_room_for_trial(options.cpus, options.gpus)
            _run(sweep, waiting, options, Receiver(results, on_end))
    return results


def _run(sweep: Sweep, waiting: dict[str, TrialParams], options: Options, receiver: Receiver) -> None:
    from ray import tune
    from ray.exceptions import RayError
    from ray.tune import TuneError

    train = len(load_examples(sweep.setup.task.paths).split("train")[0])
    trials = [
        {"name": name, "sweep": sweep.name, "params": trial.text, "steps": trial.setup.recipe.total_steps(train)}
        for name, trial in waiting.items()
    ]
    trainable = tune.with_resources(
        tune.with_parameters(worker.Trial, shipment=sweep.shipment, outbox=receiver.outbox.queue),
        {"cpu": options.cpus, "gpu": options.gpus},
    )
    scheduler = None
    if options.stop_early:
        # A training at its end is not stopped: only its evaluation is left. So 4 * GRACE and max_t lie beyond 100.
        scheduler = tune.schedulers.ASHAScheduler(
            time_attr="progress", metric="score", mode="max", max_t=101, grace_period=GRACE, reduction_factor=2
        )
    reporter = tune.CLIReporter(
        metric_columns=COLUMNS,
        parameter_columns={"trial/steps": "steps"},
        max_column_length=80,
        max_report_frequency=SECONDS,
        print_intermediate_tables=True,
    )
    with tempfile.TemporaryDirectory(prefix="lstm-pipeline-") as storage:
        tuner = tune.Tuner(
            trainable,
            param_space={"trial": tune.grid_search(trials)},
            tune_config=tune.TuneConfig(scheduler=scheduler, trial_name_creator=_name, trial_dirname_creator=_name),
            run_config=tune.RunConfig(
                name=sweep.name,
                storage_path=storage,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[receiver],
                progress_reporter=reporter,
                verbose=1,
            ),
        )
        try:
            tuner.fit()
        except (RayError, TuneError) as error:
            raise PipelineError(
                f"Ray ended before the sweep did ({nodes.reason(error)}); the same command goes on with the trials "
                "that are left."
            ) from None
    receiver.outbox.drain()


def _name(trial: Any) -> str:
    return str(trial.config["trial"]["name"])
