"""The commands that run on a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import ClusterAddress, Insecure, ModelName, app, exit_on_signals
from pipeline.cli.terminal import echo


@app.command()
def keys(
    addresses: Annotated[
        list[str], typer.Argument(metavar="ADDRESS...", help="the IP addresses of all machines", show_default=False)
    ],
    folder: Annotated[Path | None, typer.Option(help="a new folder for them; default: ~/.lstm-cluster")] = None,
) -> None:
    """Make the certificates and the token with which the machines of a Ray cluster know each other."""
    from pipeline.cluster import node
    from pipeline.training import keys

    path = folder or keys.folder()
    program = Path(node.__file__)
    keys.write(keys.make(addresses) | {program.name: program.read_bytes()}, path)
    echo(f"wrote {path}: copy it to the same place on each machine, and to no other.")
    echo(f"the first machine: .venv/bin/python {path / program.name} --head")
    first = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    echo(f"each other one:    .venv/bin/python {path / program.name} {first}:{node.PORT}")


@app.command()
def sweep(
    model: ModelName,
    grid: Annotated[
        list[str] | None,
        typer.Option("-S", metavar="KEY=V1,V2", help="values of a parameter; several: all combinations"),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=loguniform(LOW,HIGH)", help="random values: uniform, loguniform, randint, choice"),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="how many random draws --search makes")] = None,
    stop_early: Annotated[bool, typer.Option("--stop-early", help="stop the worse half of the trials (ASHA)")] = False,
    name: Annotated[str, typer.Option(help="of the sweep; by default made from the trials")] = "",
    address: ClusterAddress = None,
    insecure: Insecure = False,
    cpus_per_trial: Annotated[float, typer.Option(min=0, help="cores that a trial is counted as")] = 1,
    gpus_per_trial: Annotated[float, typer.Option(min=0, help="GPUs, or a share of one, that a trial gets")] = 0,
) -> None:
    """Train a model with many parameters on Ray; each trial is a run, and DVC knows it as if it had run here."""
    from pipeline import config
    from pipeline.cluster import nodes, overrides

    cluster = nodes.Cluster(address, insecure)
    nodes.prepare(cluster)
    exit_on_signals()  # Ray ends, too
    settings = config.load()
    planned = overrides.trials(model, grid or [], search or [], trials, settings)
    from pipeline.cluster import plan, sweep

    planned_sweep = plan.plan(settings.model(model), planned, name)
    echo(f"{planned_sweep.name}: {len(planned)} trials")
    options = sweep.Options(cluster, cpus_per_trial, gpus_per_trial, stop_early)
    results = sweep.run(planned_sweep, options, lambda record: echo(str(record)))
    for run in results.recorded():
        echo(f"recorded {run}")
    echo(results.text())
    raise typer.Exit(1 if any(record.outcome == "failed" for record in results.ended()) else 0)
