"""What a user reads and says in the terminal: results and errors, inputs from a stream or a prompt, and a yes."""

import json
import sys
from collections.abc import Iterator
from contextlib import suppress

import typer

from pipeline.errors import PipelineError, printable

ENDLESS = 50_000_000  # characters of a line, after which standard input is not a text
LONGEST = 1_100_000  # characters of a line that are kept: more than an input may have


def echo(text: str = "", err: bool = False) -> None:
    """Print a line. What it quotes, such as a file's or a run's name, cannot command the terminal.

    Raises PipelineError if standard output is closed.
    """
    if sys.stdout is None and not err:
        raise PipelineError("standard output is closed, so the answer is lost; run the command with an open one.")
    typer.echo(printable(text), err=err)


def echo_json(text: str) -> None:
    """Print JSON, with JSON's escapes for what is not printable."""
    echo("".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text))


def confirm_code(code: str) -> None:
    """Ask whether code that was not written here may run: all of `code` is shown, in one line.

    Raises PipelineError if nobody can be asked.
    """
    question = " ".join(printable(f"This run was not trained here. It would run the code of {code}").split())
    if not (sys.stdin and sys.stdin.isatty()):
        raise PipelineError(f"{question[0].lower()}{question[1:]}; look at it, then add --yes.")
    typer.confirm(f"{question}. Run it?", abort=True)


def stdin_lines() -> Iterator[str]:
    """The lines of standard input, as they come."""
    if sys.stdin is None:
        raise PipelineError("standard input is closed; give the inputs after the model's name.")
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]  # a line that is not UTF-8 is an invalid input
    while line := sys.stdin.readline(LONGEST):
        rest, skipped = line, 0
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
        echo()
