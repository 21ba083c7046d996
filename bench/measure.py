"""Run commands and measure them: seconds and peak memory, interleaved, as ratios with their spread."""

import os
import statistics
import subprocess
import sys
import tempfile
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


# A small process between: Linux lets a process start with the peak memory of the one that started it.
LAUNCHER = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
open(sys.argv[1], "w").write(f"{time.perf_counter() - started} {usage.ru_maxrss}")
sys.exit(os.waitstatus_to_exitcode(status))
"""


def run(command: Sequence[str], folder: Path = ROOT, stdin: Path | None = None) -> Done:
    """Run a command. Raises CalledProcessError, after its error output, if it fails."""
    with tempfile.NamedTemporaryFile("r") as measured, (stdin or Path(os.devnull)).open() as source:
        launcher = [sys.executable, "-S", "-c", LAUNCHER, measured.name]
        done = subprocess.run(
            [*launcher, *command], cwd=folder, stdin=source, capture_output=True, text=True, check=False
        )
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            raise subprocess.CalledProcessError(done.returncode, command)
        seconds, peak = measured.read().split()
    return Done(float(seconds), int(peak) / (2**20 if sys.platform == "darwin" else 2**10), done.stdout)


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
