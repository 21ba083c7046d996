"""The commands for recorded runs: MLflow, comparisons, reports."""

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.app import app, exit_on_signals
from pipeline.cli.terminal import echo, echo_json
from pipeline.errors import PipelineError, quoted

if TYPE_CHECKING:
    from pipeline.tracking.record import Sign

Models = Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="models of params.yaml; all by default")]


@app.command()
def track(
    revisions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REVISION]...", help="commits, branches, tags or DVC experiments"),
    ] = None,
    relocate: Annotated[
        bool, typer.Option("--relocate", help="after the project's folder was moved: take the store along")
    ] = False,
) -> None:
    """Bring MLflow and its registry up to date with the models of the workspace, or of revisions."""
    from pipeline import config
    from pipeline.tracking import connection, track

    if relocate:
        connection.relocate()
    for line in track.track(revisions or [], config.load()):
        echo(line)


@app.command()
def verify(
    models: Models = None,
    signature: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="also check, with this public key, that its holder signed the exports"),
    ] = None,
) -> None:
    """Check, by their hashes, that the files of the project are those of dvc.lock; else exit status 1."""
    from pipeline import config
    from pipeline.lineage import dvc, git
    from pipeline.lineage.signature import verifier
    from pipeline.paths import LOCK, stages

    settings = config.load()
    setups = [settings.model(name) for name in models or settings.models]
    tasks = settings.tasks if not models else {setup.task.name for setup in setups}
    problems = list(dvc.problems(stages(tasks, [setup.name for setup in setups])))
    if signature:
        problems += filter(None, map(verifier(signature), [setup.paths for setup in setups]))
    for problem in problems:
        echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    echo("every file is the one that dvc.lock names")
    if git.show("HEAD", str(LOCK)) not in (None, git.show("", str(LOCK))):
        echo(
            f"note: {LOCK} differs from the last commit: parameters or code have changed, or this processor rounds in "
            'another way, as docs/reproducibility.md says; `git commit -am "My results"` keeps what was made here'
        )
    if signature:
        echo(f"the holder of {signature} signed the exports: {', '.join(setup.name for setup in setups)}")


@app.command()
def promote(
    models: Models = None,
    page: Annotated[bool, typer.Option("--page", help="put the page of `pipeline site` into the run, too")] = False,
    sign: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="sign the exports of champions with this private key: models/MODEL.sig"),
    ] = None,
) -> None:
    """Make models of the workspace the champions of their datasets, if they pass the gate; else exit status 1."""
    from pipeline import config
    from pipeline.lineage import dvc
    from pipeline.lineage.artifacts import verified_workspace
    from pipeline.reports.card import card
    from pipeline.site.build import build
    from pipeline.tracking import record

    settings, entries, outcomes = config.load(), dvc.lock_entries(), []
    signer = _signer(sign) if sign else None  # before any champion changes
    for setup in [settings.model(name) for name in models or settings.models]:
        artifacts = verified_workspace(setup.name, setup.task.name, entries)
        with tempfile.TemporaryDirectory() as folder:
            site = Path(folder) / "page"
            if page:
                build(site, names=[setup.name])
            shown = site if page else None
            outcomes.append(record.promote(artifacts, setup.params.gate, card(artifacts), shown, signer))
    for _, line in outcomes:
        echo(line)
    raise typer.Exit(0 if all(passed for passed, _ in outcomes) else 1)


def _signer(key: Path) -> "Sign":
    """What signs with a private key. A terminal is asked for the password of one that is encrypted."""
    from pipeline.lineage import signature

    if not signature.is_encrypted(key):
        return signature.signer(key)
    if not (sys.stdin and sys.stdin.isatty()):
        raise PipelineError(
            f"{quoted(str(key), 200)} is encrypted; run this in a terminal, which is asked for its password."
        )
    try:
        password = typer.prompt(f"password of {key}", hide_input=True, err=True)
    except UnicodeDecodeError:
        raise PipelineError("the password is no text in UTF-8; type another one.") from None
    return signature.signer(key, password)


@app.command()
def card(
    name: Annotated[str, typer.Argument(metavar="MODEL|TASK", help="of params.yaml", show_default=False)],
    croissant: Annotated[bool, typer.Option("--croissant", help="print a dataset's card as JSON for programs")] = False,
) -> None:
    """Print the card of an evaluated model, or of the dataset of a task: what it is for, its figures, its limits."""
    from pipeline import config
    from pipeline.lineage.artifacts import workspace
    from pipeline.reports import card, data_card

    settings = config.load()
    if croissant:
        echo_json(json.dumps(data_card.croissant(settings.task(name).name), indent=2, ensure_ascii=False))
    elif name in settings.tasks:
        echo(data_card.card(name).rstrip())
    else:
        setup = settings.model(name)
        echo(card.card(workspace(setup.name, setup.task.name)).rstrip())


@app.command()
def sbom(
    licences: Annotated[
        bool, typer.Option("--licences", help="print a table of packages and licences instead")
    ] = False,
) -> None:
    """Print the software bill of materials (CycloneDX, JSON): packages, exported models and data, with licences."""
    from pipeline import config
    from pipeline.reports import bill

    if licences:
        echo(bill.licences())
    else:
        echo_json(json.dumps(bill.bill(list(config.load().models)), indent=2, ensure_ascii=False))


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
    from pipeline.figure import write_figure
    from pipeline.reports import compare, curves
    from pipeline.tracking import named_runs

    groups = named_runs.find_groups(runs or [], config.load())
    write_figure(curves.plot(groups), picture)
    if as_json:
        echo_json(compare.as_json(groups, picture))
    else:
        echo(compare.text(groups, picture, markdown))


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="of this machine")] = 5000,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the page in a browser")] = True,
) -> None:
    """Show the runs in MLflow's user interface, on this machine alone, until Ctrl-C."""
    from pipeline import config
    from pipeline.tracking import ui

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for programs in the background
    exit_on_signals()  # the server ends, too
    ui.serve(config.load(), port, browser, echo)


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(metavar="RUN", help="its name or id", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask before the code of a foreign run is run")] = False,
) -> None:
    """Train a run's model again in a temporary work tree: identical (exit status 0), or what differs first (1)."""
    from pipeline import config
    from pipeline.cli import terminal
    from pipeline.lineage import reproduce
    from pipeline.tracking import named_runs

    exit_on_signals()  # the work tree is removed
    name, provenance = named_runs.find_run(run, config.load())
    echo(f"{name}: commit {provenance.commit[:10]}{' with uncommitted changes' if provenance.patch else ''}")
    foreign = reproduce.foreign_code(provenance)
    if foreign and not yes:
        terminal.confirm_code(foreign)
    difference, versions = reproduce.run(provenance)
    for version in versions:
        echo(f"note: {version}")
    echo(f"{name}: {difference or 'identical'}")
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
    from pipeline.figure import write_figure
    from pipeline.reports import branch, curves

    report = branch.make(base, config.load())
    if report.pairs:
        write_figure(curves.plot(report.pairs), picture)
    echo(branch.text(report, picture))
    if fail_on_gate and not all(verdict.passed for verdict in report.verdicts):
        raise typer.Exit(1)


@app.command()
def results(
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="also write the table as CSV")] = None,
) -> None:
    """Show the models' metrics beside the references."""
    from pipeline import config
    from pipeline.formats import write_csv
    from pipeline.reports import results

    table = results.collect(config.load())
    if write:
        write_csv(table, write)
    echo(results.show(table))
