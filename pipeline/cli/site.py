"""The commands `pipeline site` and `pipeline demo`: the page that opens the models, as files, or served here."""

import signal
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.app import app, exit_on_signals
from pipeline.cli.terminal import echo


@app.command()
def site(
    folder: Annotated[Path, typer.Argument(help="new, empty, or an older page")] = Path("site"),
    precision: Annotated[str, typer.Option(help="of the weights: float32, or float16, half as large")] = "float32",
) -> None:
    """Write a page that opens the exported models in the browser: static files, for any web server."""
    from pipeline.site.build import build

    models = build(folder, precision)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    echo(f"{folder}: a page with {len(models)} models, {size:.1f} MB; a web server shows it, as does `pipeline demo`")
    for model in models:
        if model.difference:
            echo(f"{model.name}: {precision} changes a probability by up to {model.difference:.1e}")


@app.command()
def demo(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="of 127.0.0.1; by default the first free one from 7860 on"),
    ] = None,
    browser: Annotated[bool, typer.Option(help="open the page in the browser")] = True,
) -> None:
    """Show the page of `pipeline site` on this machine alone, until Ctrl-C.

    It also reads photos, and inputs of a task of your own.
    """
    from pipeline.site.server import running

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for programs in the background
    exit_on_signals()
    with running(port) as address:
        echo(f"The page is at {address}; Ctrl-C ends it.")
        if browser:
            webbrowser.open(address)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            echo("")
