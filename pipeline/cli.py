"""The commands, in the order of the flow. Each imports what it needs when it runs, so that --help is instant."""

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline.errors import BadInput

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's notes on its own build
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a server that is down must not hold up a training
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")  # seconds


class Commands(TyperGroup):
    """Commands that answer bad input with a sentence and exit status 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a BadInput becomes its text on standard error."""
        warnings.formatwarning = lambda message, *where, **more: f"warning: {message}\n"
        try:
            return super().invoke(ctx)
        except BadInput as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Commands,
    help="LSTMs that read a short sequence and name its class: from raw data to an answer.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="a task of params.yaml", show_default=False)]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="a model of params.yaml", show_default=False)]


@app.command()
def generate(task: TaskName) -> None:
    """Make the raw data of a task: data/raw/TASK."""
    from pipeline import config, generate

    generate.run(task, config.load())


@app.command()
def split(task: TaskName) -> None:
    """Check a task's data and part them: data/split/TASK."""
    from pipeline import config, split

    split.run(task, config.load())


@app.command()
def train(model: ModelName) -> None:
    """Teach a model: models/MODEL/model.weights.h5 and history.csv."""
    from pipeline import config, outputs, run, train
    from pipeline.tracking import live

    params = config.load()
    made_from = run.source(params, model)
    with live.live(model, params, made_from) as tell:
        machine = train.run(model, params, tell)
        run.keep(outputs.workspace(model, params.model(model).task), made_from, machine)


@app.command()
def export(model: ModelName) -> None:
    """Write what answers, checked against the model: models/MODEL/export."""
    from pipeline import config, export

    export.run(model, config.load())


@app.command()
def evaluate(model: ModelName) -> None:
    """Measure what was exported: models/MODEL/metrics.json, its tables and picture."""
    from pipeline import config, evaluate, outputs, run
    from pipeline.tracking import record, store

    params = config.load()
    evaluate.run(model, params)
    made = outputs.workspace(model, params.model(model).task)
    run.keep(made, run.source(params, model))
    store.Attempt(model)("the figures", lambda: record.record(made, params, evaluate.accuracy))


@app.command()
def track(
    revisions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REVISION]...", help="commits, branches, tags or DVC experiments"),
    ] = None,
) -> None:
    """Bring MLflow and its registry up to date with the models of the workspace, or of revisions, whoever made them."""
    from pipeline import config, evaluate
    from pipeline.tracking import track

    params = config.load()
    for line in track.run(revisions or [], params, evaluate.accuracy):
        typer.echo(line)


@app.command()
def compare(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="runs, models, DVC experiments, revisions or patterns of names"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown")] = False,
    picture: Annotated[Path, typer.Option(metavar="FILE", help="where the learning curves go")] = Path("compare.png"),
) -> None:
    """Show what differs between runs, and what came of it; without RUN, each model's newest and the one before."""
    from pipeline import compare, config
    from pipeline.tracking import runs

    groups = runs.some(what or [], config.load())
    compare.save(compare.draw(groups), picture)
    typer.echo(compare.as_json(groups, picture) if as_json else compare.text(groups, picture, markdown))


@app.command()
def reproduce(run: Annotated[str, typer.Argument(metavar="RUN", help="its name or id", show_default=False)]) -> None:
    """Make a run's model again in a temporary work tree: identical (exit status 0), or what differs first (1)."""
    from pipeline import config, reproduce
    from pipeline.tracking import runs

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the work tree goes, as with Ctrl-C
    name, told, patch = runs.one(run, config.load())
    typer.echo(f"{name}: commit {told.commit[:10]}{' with uncommitted changes' if patch else ''}")
    difference, versions = reproduce.run(told, patch)
    for version in versions:
        typer.echo(f"note: {version}")
    typer.echo(f"{name}: {difference or 'identical'}")
    raise typer.Exit(1 if difference else 0)


@app.command()
def report(
    base: Annotated[str, typer.Option(metavar="REVISION", help="what the workspace is compared with")] = "main",
    picture: Annotated[Path, typer.Option(metavar="FILE", help="where the learning curves go")] = Path("report.png"),
) -> None:
    """Tell in Markdown what a branch changes: parameters, the stages that ran, figures, learning curves, the gate."""
    from pipeline import compare, config, report

    made = report.make(base, config.load())
    if made.pairs:
        compare.save(compare.draw(made.pairs), picture)
    typer.echo(report.text(made, picture))


@app.command()
def results(
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="write the table as CSV, too")] = None,
) -> None:
    """Show the models' figures beside the published ones."""
    from pipeline import config, results

    table = results.collect(config.load())
    if write:
        results.save(table, write)
    typer.echo(results.show(table))


@app.command()
def predict(
    model: ModelName,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT]...", help="strings of bits, picture files or words; - reads a line each"),
    ] = None,
    words: Annotated[int, typer.Option(min=1, max=10_000, help="how many words a story goes on for")] = 32,
    as_json: Annotated[bool, typer.Option("--json", help="print an object a line")] = False,
) -> None:
    """Answer from models/MODEL/export; with no INPUT on a terminal, ask for them."""
    from pipeline import predict

    predictor = predict.load(model)
    if (not inputs or inputs == ["-"]) and sys.stdin is None:
        raise BadInput("standard input is closed; give some input behind the model's name.")
    if not inputs and not sys.stdin.isatty():
        raise BadInput(
            "no input came; give some behind the model's name, or - to read a line each from standard input."
        )
    status, wrong = 0, 2
    lines = iter(inputs or _asked())
    if inputs == ["-"]:
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # bytes that are no UTF-8 are bad input
        lines, wrong = (line.rstrip("\r\n") for line in sys.stdin), 1
    # A person waits for each answer; a stream is answered in batches.
    for answer in predictor.answer(lines, words, at_once=1 if not inputs else predict.BATCH):
        if answer.error and wrong == 2:
            typer.echo(f"error: {answer.error}", err=True)
        else:
            typer.echo(answer.json() if as_json else str(answer))
        if answer.error:
            status = wrong
    raise typer.Exit(status if inputs else 0)


def _asked() -> Iterator[str]:
    while text := typer.prompt("input, or nothing to end", default="", show_default=False).strip():
        yield text
