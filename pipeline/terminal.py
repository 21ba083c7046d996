"""Predictions in the terminal: inputs from arguments, a stream or a prompt; results as lines."""

import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand

from pipeline.errors import PipelineError


class ShowInTerminal(TyperCommand):
    """A command whose option --show takes a file, or nothing for the terminal."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse `--show` without a PNG file after it as `--show -`."""
        for i, arg in enumerate(args):
            if arg == "--show" and not (i + 1 < len(args) and args[i + 1].lower().endswith(".png")):
                args = [*args[: i + 1], "-", *args[i + 1 :]]
                break
        return super().parse_args(ctx, args)


def show_stream(results: Iterator[Any], as_json: bool) -> None:
    """Print every result in its place, the failures, too; exit with status 1 if there are any."""
    from pipeline.inference.predict import Failure

    failed = False
    for result in results:
        typer.echo(result.json() if as_json else str(result))
        failed |= isinstance(result, Failure)
    raise typer.Exit(1 if failed else 0)


def show(result: Any, as_json: bool) -> bool:
    """Print a prediction, or a failure on standard error; return whether it is a failure."""
    from pipeline.inference.predict import Failure

    if isinstance(result, Failure):
        typer.echo(str(result), err=True)
        return True
    typer.echo(result.json() if as_json else str(result))
    return False


def stdin_lines() -> Iterator[str]:
    """The lines of standard input, as they come."""
    if sys.stdin is None:
        raise PipelineError("standard input is closed; give the inputs after the model's name.")
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # a line that is not UTF-8 is an invalid input
    for line in sys.stdin:
        yield line.rstrip("\r\n")


def prompt() -> Iterator[str]:
    """What a user types, line by line, until an empty one."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise PipelineError(
            "no input was given; give some after the model's name, or - to read lines from standard input."
        )
    while text := typer.prompt("input, or nothing to end", default="", show_default=False).strip():
        yield text
