"""The progress of the trials as a table in the terminal."""

import time
from typing import Any

from ray.tune import ProgressReporter
from tabulate import tabulate

SECONDS = 10  # between two tables


class Table(ProgressReporter):  # type: ignore[misc]
    """Prints a row for each trial, every ten seconds if something has changed."""

    def __init__(self) -> None:
        self._printed, self._when = "", 0.0

    def setup(self, *arguments: Any, **options: Any) -> None:
        """Nothing to set up."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Whether it is time for another table."""
        return not done and time.monotonic() - self._when >= SECONDS

    def report(self, trials: list[Any], done: bool, *system: Any) -> None:
        """Print the table."""
        self._when = time.monotonic()
        rows = [_row(trial) for trial in trials]
        text = tabulate(rows, ("trial", "state", "step", "done", "loss", "accuracy"), "simple", disable_numparse=True)
        if text != self._printed:
            print(f"{text}\n", flush=True)
            self._printed = text


def _row(trial: Any) -> tuple[str, ...]:
    last = trial.last_result or {}
    name, state = str(trial.config["trial"]["name"]), str(trial.status).lower()
    if "progress" not in last:
        return name, state, "", "", "", ""
    numbers = (f"{last['step']:.0f}", f"{last['progress']:.0f} %", f"{last['loss']:.4f}", f"{last['accuracy']:.4f}")
    return name, state, *numbers
