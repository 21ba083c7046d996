"""Run a command in a trained tiny project, and judge how it ended."""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from typer.testing import Result

from pipeline.cluster import node
from pipeline.errors import PipelineError
from tests.harness import project

SECONDS = 20  # that a command may take on a busy machine
LONGEST = 700  # characters of an error


def run(*words: str) -> tuple[Result, str]:
    """A command in this process, and what is wrong with how it ended."""
    started = time.monotonic()
    result = project.invoke(*words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return result, f"traceback: {result.exception!r}"[:300]
    return result, problem(result.exit_code, result.stdout, result.stderr, time.monotonic() - started)


def run_apart(limit: int, *words: str) -> str:
    """A command in a process that can write no file of more than `limit` bytes; what is wrong with how it ended."""

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words], capture_output=True, text=True, check=False, preexec_fn=full
    )
    return problem(done.returncode, done.stdout, done.stderr, time.monotonic() - started)


def problem(status: int, stdout: str, stderr: str, seconds: float) -> str:
    """What is wrong with how a command ended; "" if nothing is."""
    errors = [line for line in stderr.splitlines() if not line.startswith(("warning: ", "Usage: ", "Try "))]
    errors = [line for line in errors if line.strip() and line[0] not in "╭│╰"]
    if status not in (0, 1, 2):
        return f"exit status {status}"
    if status == 2 and (len(errors) != 1 or len(errors[0]) > LONGEST):
        return f"{len(errors)} lines of errors: {errors}"[:500]
    if "Traceback" in stdout + stderr or "\x1b" in stdout + stderr:
        return "a traceback or an escape sequence in the output"
    return f"{seconds:.0f} s" if seconds > SECONDS else ""


def judged(call: Callable[..., Any], *given: Any) -> str:
    """What is wrong with how a function takes what it is given; "" if it is a short sentence, or harmless."""
    try:
        call(*given)
    except (PipelineError, node.Refused) as error:
        said = str(error)
        return f"no short sentence: {said[:300]!r}" if len(said) > LONGEST or "\n" in said else ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return ""


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """A file with other content inside the `with`."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(mode)


@contextmanager
def kept(*paths: Path) -> Iterator[None]:
    """Files and folders, put back after the `with`."""
    with tempfile.TemporaryDirectory() as name:
        for path in paths:
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, Path(name) / path.name)
        try:
            yield
        finally:
            for path in paths:
                if path.is_dir():
                    shutil.rmtree(path)
                    shutil.move(Path(name) / path.name, path)
                else:  # the file stays the same: this process may have it open
                    shutil.copy2(Path(name) / path.name, path)
