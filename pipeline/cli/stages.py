"""The commands of the stages of dvc.yaml."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import ClusterAddress, Insecure, ModelName, TaskName, app, exit_on_signals
from pipeline.cli.terminal import echo
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.config import ModelSetup

Workers = Annotated[int | None, typer.Option(min=1, max=1000, help="run on so many, which Ray starts")]


@app.command()
def check() -> None:
    """Check params.yaml, and write its JSON schema: params.schema.json."""
    from pipeline.stages import check

    check.run()


@app.command()
def generate(task: TaskName) -> None:
    """Make the raw data of a task: data/raw/TASK."""
    from pipeline import config
    from pipeline.stages import generate

    generate.run(config.load().task(task))


@app.command()
def split(task: TaskName) -> None:
    """Make checked examples of a task's raw data: data/split/TASK."""
    from pipeline import config
    from pipeline.stages import split

    split.run(config.load().task(task))


@app.command()
def train(
    model: ModelName,
    workers: Workers = None,
    address: ClusterAddress = None,
    insecure: Insecure = False,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="GPUs that each of --workers gets")] = 0,
) -> None:
    """Train a model: models/MODEL/model.weights.h5, logits.npy and history.csv."""
    from pipeline import config
    from pipeline.cli.imports import importing_tensorflow
    from pipeline.cluster.progress import reported
    from pipeline.files import md5
    from pipeline.lineage import provenance
    from pipeline.tracking import recorder

    setup = config.load().model(model)
    if not workers and (address is not None or insecure or gpus_per_worker):
        raise PipelineError("--address, --insecure and --gpus-per-worker need --workers; give it, or leave them out.")
    if workers:
        _train_on_cluster(setup, workers, address, insecure, gpus_per_worker)
        return
    with recorder.Recorder(setup.name, recorder.TRAINING) as recording:
        with importing_tensorflow():
            from pipeline.stages import train
        if train.is_chief(setup):
            made_from = provenance.of_setup(setup).with_source(provenance.current_source(setup))
            with recording.training(made_from) as on_report:
                environment = train.run(setup, reported(on_report))
                outputs = {str(setup.paths.weights): md5(setup.paths.weights)}
                provenance.save_training(replace(made_from, outputs=outputs, environment=environment))
            return
    train.run(setup)  # one of several workers; the chief writes and records


def _train_on_cluster(setup: "ModelSetup", workers: int, address: str | None, insecure: bool, gpus: float) -> None:
    from pipeline.cli.imports import importing_tensorflow
    from pipeline.cluster import nodes

    cluster = nodes.Cluster(address, insecure)
    nodes.prepare(cluster)
    with importing_tensorflow():  # Ray imports TensorFlow
        from pipeline.cluster import train

    exit_on_signals()  # Ray ends, too
    train.train(setup, workers, cluster, gpus)
    echo(f"{setup.name}: trained by {workers} workers; `dvc repro` exports and evaluates it")


@app.command()
def export(
    model: ModelName,
    saved_model: Annotated[Path | None, typer.Option(help="a new folder for a TensorFlow SavedModel, too")] = None,
) -> None:
    """Export a trained model as ONNX, and compare the file with it: models/MODEL/export."""
    from pipeline import config
    from pipeline.cli.imports import importing_tensorflow
    from pipeline.stages import export

    setup = config.load().model(model)
    if saved_model is None:
        export.run(setup)
        return
    with importing_tensorflow():
        from pipeline.stages import keras_model
    keras_model.export_saved_model(setup, saved_model)


@app.command()
def evaluate(
    model: ModelName, workers: Workers = None, address: ClusterAddress = None, insecure: Insecure = False
) -> None:
    """Measure an exported model: models/MODEL/metrics.json, tables and a picture of its errors."""
    from pipeline import config
    from pipeline.lineage import artifacts, dvc, provenance
    from pipeline.paths import stage
    from pipeline.stages import evaluate
    from pipeline.tracking import recorder

    setup = config.load().model(model)
    if (address is not None or insecure) and not workers:
        raise PipelineError("--address and --insecure need --workers; give it, or leave them out.")
    if workers:
        from pipeline.cluster import nodes

        cluster = nodes.Cluster(address, insecure)
        nodes.prepare(cluster)
        from pipeline.cluster import evaluate as chunks

        exit_on_signals()  # Ray ends, too
        chunks.evaluate(setup, workers, cluster)
    with recorder.Recorder(setup.name, recorder.METRICS) as recording:
        evaluate.run(setup)
        if workers:
            dvc.commit(stage("evaluate", model))  # which did not start it
        files = artifacts.workspace(setup.name, setup.task.name)
        provenance.save_training(provenance.of_artifacts(files, provenance.current_source(setup)))
        recording.evaluated()


@app.command("recorder", hidden=True)
def record(model: ModelName, what: str) -> None:
    """Write into MLflow what a stage says on standard input."""
    from pipeline.tracking import live

    exit_on_signals()  # a stage that failed
    live.serve(model, what, sys.stdin)
