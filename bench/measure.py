"""Run commands and measure them: seconds and peak memory, interleaved, as ratios with their spread."""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    seconds: float
    mib: float  # peak memory
    output: str


def run(command: Sequence[str], folder: Path = ROOT, stdin: Path | None = None) -> Done:
    """Run a command. Raises CalledProcessError, after its error output, if it fails."""
    started = time.perf_counter()
    with stdin.open() if stdin else Path(os.devnull).open() as source:
        process = subprocess.Popen(
            command, cwd=folder, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read() if process.stderr else ""))
        reader.start()
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        reader.join()
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(output, *errors, file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, command)
    return Done(seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10), output)


def interleaved(measures: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Each measure `repeats` times, in turns, since machines drift."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(repeats):
        for name, measure in measures.items():
            values[name].append(measure())
    return values


def ratio(values: Sequence[float], others: Sequence[float]) -> dict[str, float]:
    """The median of the ratios of two interleaved measures, and their smallest and largest."""
    ratios = [value / other for value, other in zip(values, others, strict=True)]
    return {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
