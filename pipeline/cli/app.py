"""The commands. Each parses its arguments, resolves names, calls one function, and prints.

A command imports what it needs when it runs, so that --help is instant and predictions need no TensorFlow.
"""

import atexit
import gc
import io
import logging
import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline import __version__
from pipeline.cli.terminal import echo
from pipeline.errors import PipelineError, shortened

ENVIRONMENT = {  # of the libraries; what a user has set stays
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow's messages about its build
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is down must not delay a training
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
}
GARBAGE = 50_000  # objects between two collections: large libraries create a million when imported, and free none


class Commands(TyperGroup):
    """Commands that answer a PipelineError with its message and exit status 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; print a PipelineError on standard error."""
        try:
            result = super().invoke(ctx)
            if sys.stdout:
                sys.stdout.flush()
        except PipelineError as error:
            echo(f"error: {error}", err=True)
        except BrokenPipeError:  # the reader of the output has enough
            raise
        except OSError as error:
            reason = shortened(str(error), 300)
            echo(f"error: {reason}; free some space, or fix what the operating system refused.", err=True)
            _discard_output()
        else:
            return result
        raise typer.Exit(2)


def exit_on_signals() -> None:
    """Let SIGTERM, and a terminal that closes, end the command as an exception does: what it has started ends, too."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) != signal.SIG_IGN:  # which nohup sets
            signal.signal(each, lambda number, frame: sys.exit(128 + number))


def _discard_output() -> None:
    """Keep Python from writing once more, when it ends, what could not be written."""
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class StandardError(logging.Handler):
    """Prints warnings on standard error, as it is when they come."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one warning on one line."""
        echo(f"{record.levelname.lower()}: {record.getMessage()}", err=True)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="a task of params.yaml", show_default=False)]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="a model of params.yaml", show_default=False)]
ClusterAddress = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="of a Ray cluster, such as auto; default: this machine"),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="use a cluster without token or encryption, in a network that you trust")
]


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
    gc.set_threshold(GARBAGE)
    atexit.register(gc.freeze)  # what is left needs no collection: the process ends a second earlier
    if isinstance(sys.stdout, io.TextIOWrapper):  # one that is not UTF-8 prints ? for what it does not have
        sys.stdout.reconfigure(errors="replace")
    log = logging.getLogger("pipeline")
    if not log.handlers:
        log.addHandler(StandardError())
