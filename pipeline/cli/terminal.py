"""Predictions in the terminal: inputs from arguments, a stream or a prompt; results as lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperCommand

from pipeline.errors import PipelineError, quoted

LONGEST = 200_000  # characters of a line that are kept: more than an input may have
ENDLESS = 50_000_000  # characters of a line, after which standard input is not a text


class PredictCommand(TyperCommand):
    """A command whose help says what the inputs are, and whose option --show may be followed by a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse `--show` without a PNG file after it as `--show -`."""
        for i, arg in enumerate(args):
            if arg == "--show" and not (i + 1 < len(args) and args[i + 1].lower().endswith(".png")):
                args = [*args[: i + 1], "-", *args[i + 1 :]]
                break
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """End the help with what an input is, by task."""
        from pipeline.inference import predict

        with formatter.section("Inputs, by task"):
            formatter.write_dl(predict.inputs_by_task())


def check_show(show: str | None, inputs: list[str] | None) -> None:
    """Raise PipelineError if --show names a file that exists, or if the inputs are a stream."""
    if show and show != "-" and os.path.lexists(show):
        raise PipelineError(
            f"{quoted(show, 200)} exists, and --show FILE.png writes a new file; name another one, or put --show after "
            "the inputs to see the images in the terminal."
        )
    if show and inputs == ["-"]:
        raise PipelineError("--show needs the inputs as arguments, not a stream; name the pictures after the model.")


def show_stream(results: Iterator[Any], as_json: bool) -> None:
    """Print every result in its place, the failures, too; exit with status 1 if there are any."""
    from pipeline.inference.predict import Failure, json_line

    failed = False
    for result in results:
        typer.echo(json_line(result) if as_json else line(result))
        failed |= isinstance(result, Failure)
    raise typer.Exit(1 if failed else 0)


def show(result: Any, as_json: bool, named: bool) -> bool:
    """Print a prediction, or a failure on standard error; return whether it is a failure."""
    from pipeline.inference.predict import Failure, json_line

    if isinstance(result, Failure):
        typer.echo(str(result), err=True)
        return True
    typer.echo(json_line(result) if as_json else line(result) if named else str(result))
    return False


def line(result: Any) -> str:
    """A result after its input, which a story begins with and an error quotes."""
    from pipeline.inference.predict import Failure

    alone = isinstance(result, Failure) or result.story
    return str(result) if alone else f"{result.input}: {result}"


def confirm_code(code: str) -> None:
    """Ask whether code that was not written here may run. Raises PipelineError if nobody can be asked."""
    question = f"This run was not trained here. It would run the code of {code}"
    if not (sys.stdin and sys.stdin.isatty()):
        raise PipelineError(f"{question[0].lower()}{question[1:]}; look at it, then add --yes.")
    typer.confirm(f"{question}. Run it?", abort=True)


def stdin_lines() -> Iterator[str]:
    """The lines of standard input, as they come."""
    if sys.stdin is None:
        raise PipelineError("standard input is closed; give the inputs after the model's name.")
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # a line that is not UTF-8 is an invalid input
    while line := sys.stdin.readline(LONGEST):
        skipped = 0
        rest = line
        while len(rest) == LONGEST and not rest.endswith("\n"):  # the line goes on
            rest = sys.stdin.readline(LONGEST)
            skipped += len(rest)
            if skipped > ENDLESS:
                raise PipelineError(
                    f"a line of standard input has more than {ENDLESS:,} characters; give one input on each line."
                )
        yield line.rstrip("\r\n")


def prompt() -> Iterator[str]:
    """What a user types, line by line, until an empty one."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise PipelineError(
            "no input was given; give some after the model's name, or - to read lines from standard input."
        )
    with suppress(ImportError):
        import readline  # noqa: F401  # gives `input` line editing and a history
    try:
        while text := input("input, or nothing to end: ").strip():
            yield text
    except EOFError:  # Ctrl-D
        typer.echo()
