"""The commands. Each parses its arguments, resolves names, calls one function, and prints.

A command imports what it needs when it runs, so that --help is instant and predictions need no TensorFlow.
"""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline import __version__, terminal
from pipeline.errors import PipelineError

ENVIRONMENT = {  # of the libraries; what a user has set stays
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow's messages about its build
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is down must not delay a training
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
}


class Commands(TyperGroup):
    """Commands that answer a PipelineError with its message and exit status 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; print a PipelineError on standard error."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None


class StandardError(logging.Handler):
    """Prints warnings on standard error, as it is when they come."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one warning on one line."""
        typer.echo(f"{record.levelname.lower()}: {record.getMessage()}", err=True)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="a task of params.yaml", show_default=False)]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="a model of params.yaml", show_default=False)]


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"pipeline {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """LSTMs that read a short sequence and predict its class, from raw data to a prediction."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    log = logging.getLogger("pipeline")
    if not log.handlers:
        log.addHandler(StandardError())


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
def train(model: ModelName) -> None:
    """Train a model: models/MODEL/model.weights.h5 and history.csv."""
    from pipeline import config
    from pipeline.lineage import artifacts, provenance
    from pipeline.stages import train
    from pipeline.tracking.live_run import live_run

    setup = config.load().model(model)
    source = provenance.current_source(setup)
    with live_run(setup, source) as on_report:
        environment = train.run(setup, on_report)
        provenance.save_training_note(artifacts.workspace(setup.name, setup.task.name), source, environment)


@app.command()
def export(model: ModelName) -> None:
    """Export a trained model as ONNX and SavedModel, and compare both with it: models/MODEL/export."""
    from pipeline import config
    from pipeline.stages import export

    export.run(config.load().model(model))


@app.command()
def evaluate(model: ModelName) -> None:
    """Measure an exported model: models/MODEL/metrics.json, tables and a picture of its errors."""
    from pipeline import config
    from pipeline.lineage import artifacts, provenance
    from pipeline.stages import evaluate
    from pipeline.tracking import record
    from pipeline.tracking.connection import BestEffort

    setup = config.load().model(model)
    evaluate.run(setup)
    files = artifacts.workspace(setup.name, setup.task.name)
    provenance.save_training_note(files, provenance.current_source(setup))
    BestEffort(setup.name)("the metrics", lambda: record.record(files, setup.params.gate))


@app.command()
def track(
    revisions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REVISION]...", help="commits, branches, tags or DVC experiments"),
    ] = None,
) -> None:
    """Bring MLflow and its registry up to date with the models of the workspace, or of revisions."""
    from pipeline import config
    from pipeline.tracking import track

    for line in track.track(revisions or [], config.load()):
        typer.echo(line)


@app.command()
def promote(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="models of params.yaml; all by default")
    ] = None,
) -> None:
    """Make models of the workspace the champions of their datasets, if they pass the gate; else exit status 1."""
    from pipeline import config
    from pipeline.tracking import promote

    settings = config.load()
    outcomes = [promote.promote(settings.model(name)) for name in models or settings.models]
    for _, line in outcomes:
        typer.echo(line)
    raise typer.Exit(0 if all(passed for passed, _ in outcomes) else 1)


@app.command()
def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="runs, models, DVC experiments, revisions, patterns, workspace, champion"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown")] = False,
    picture: Annotated[Path, typer.Option(metavar="FILE", help="where to write the learning curves")] = Path(
        "compare.png"
    ),
) -> None:
    """Show what differs between runs, and their metrics; without RUN, each model's newest run and the one before."""
    from pipeline import config
    from pipeline.reports import compare, curves
    from pipeline.tracking import named_runs

    groups = named_runs.find_groups(runs or [], config.load())
    curves.save(curves.plot(groups), picture)
    typer.echo(compare.as_json(groups, picture) if as_json else compare.text(groups, picture, markdown))


@app.command()
def reproduce(run: Annotated[str, typer.Argument(metavar="RUN", help="its name or id", show_default=False)]) -> None:
    """Train a run's model again in a temporary work tree: identical (exit status 0), or what differs first (1)."""
    from pipeline import config
    from pipeline.lineage import reproduce
    from pipeline.tracking import named_runs

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the work tree is removed
    name, provenance, patch = named_runs.find_run(run, config.load())
    typer.echo(f"{name}: commit {provenance.commit[:10]}{' with uncommitted changes' if patch else ''}")
    difference, versions = reproduce.run(provenance, patch)
    for version in versions:
        typer.echo(f"note: {version}")
    typer.echo(f"{name}: {difference or 'identical'}")
    raise typer.Exit(1 if difference else 0)


@app.command()
def report(
    base: Annotated[str, typer.Option(metavar="REVISION", help="what to compare the workspace with")] = "main",
    picture: Annotated[Path, typer.Option(metavar="FILE", help="where to write the learning curves")] = Path(
        "report.png"
    ),
    fail_on_gate: Annotated[
        bool, typer.Option("--fail-on-gate", help="exit with status 1 if a model does not pass the gate")
    ] = False,
) -> None:
    """Report in Markdown what a branch changes: parameters, the stages that ran, metrics, learning curves, the gate."""
    from pipeline import config
    from pipeline.reports import branch, curves

    report = branch.make(base, config.load())
    if report.pairs:
        curves.save(curves.plot(report.pairs), picture)
    typer.echo(branch.text(report, picture))
    if fail_on_gate and not all(verdict.passed for verdict in report.verdicts):
        raise typer.Exit(1)


@app.command()
def results(
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="also write the table as CSV")] = None,
    update: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="bring the tables of a Markdown file up to date with their CSV files"),
    ] = None,
) -> None:
    """Show the models' metrics beside the references."""
    from pipeline import config
    from pipeline.reports import results

    for path in update or []:
        results.update(path)
    if update:
        return
    table = results.collect(config.load())
    if write:
        results.save(table, write)
    typer.echo(results.show(table))


@app.command(cls=terminal.PredictCommand)
def predict(
    model: ModelName,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT]...", help="see below; - reads one from each line of standard input"),
    ] = None,
    words: Annotated[int, typer.Option(min=1, max=10_000, help="how many words to continue a story by")] = 32,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="draw the words of a story: 1 as the model says; 0 takes the best")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="of the words that are drawn")] = 0,
    top: Annotated[int, typer.Option(min=1, help="how many of the most probable classes to show")] = 3,
    digits: Annotated[bool, typer.Option("--digits", help="read all the digits of a picture, left to right")] = False,
    show: Annotated[
        str | None,
        typer.Option(metavar="[FILE.png]", help="show the images that the model sees, in the terminal or in a file"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object for each input")] = False,
) -> None:
    """Predict from models/MODEL/export; without INPUT, ask for inputs in the terminal."""
    from pipeline.inference import images, predict

    predictor = predict.load(model)
    options = predict.Options(words, temperature, seed, digits, top)
    terminal.check_show(show, inputs)
    if inputs == ["-"]:
        terminal.show_stream(predictor.predict(terminal.stdin_lines(), options), as_json)
        return
    asked = not inputs
    predictions, failed = [], False
    for result in predictor.predict(inputs or terminal.prompt(), options, batch_size=1 if asked else predict.BATCH):
        failed |= terminal.show(result, as_json, named=len(inputs or []) > 1)
        if show and isinstance(result, predict.Prediction):
            predictions.append(predictor.image(result))
            if show == "-":
                typer.echo(images.blocks(predictions[-1]), err=as_json)
    if predictions and show != "-":
        images.save(predictions, Path(str(show)))
    raise typer.Exit(2 if failed and not asked else 0)
