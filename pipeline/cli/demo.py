"""The command `pipeline demo`."""

import signal
import time
from typing import Annotated

import typer

from pipeline.cli.app import app, exit_on_sigterm


@app.command()
def demo(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="of 127.0.0.1; by default the first free one from 7860 on"),
    ] = None,
    browser: Annotated[bool, typer.Option(help="open the page in the browser")] = True,
) -> None:
    """Show a page to try the exported models, on this machine alone, until Ctrl-C."""
    from pipeline.demo.app import running

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for programs in the background
    exit_on_sigterm()
    with running(port, browser) as address:
        typer.echo(f"The page is at {address}; Ctrl-C ends it.")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            typer.echo("")
