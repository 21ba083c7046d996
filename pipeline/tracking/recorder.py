"""Has a process beside a stage record what it does: MLflow, which takes seconds to import, is imported meanwhile.

The process reads lines of JSON: a method of `live.Writer`, the time, and what the method takes.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from pipeline.lineage.provenance import Provenance
from pipeline.recipe import OnReport
from pipeline.tracking.connection import BestEffort

TRAINING, METRICS = "the training", "the metrics"  # what can be recorded, as warnings name it


class Recorder:
    """The process, for the `with`. It ends with what it was told last; at once, if it was told nothing.

    MLflow never stops the stage: its failure is one warning.
    """

    def __init__(self, model: str, what: str):
        self._attempt, self._what, self._told = BestEffort(model), what, False
        command = [sys.executable, "-m", "pipeline", "recorder", model, what]
        self._process: subprocess.Popen[str] | None = self._attempt(  # Ctrl-C is for the stage, which says how it ended
            what, lambda: subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)
        )

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *exception: object) -> None:
        if process := self._process:
            if not self._told:
                process.terminate()
            self._attempt(self._what, lambda: _end(process, self._told))

    @contextmanager
    def training(self, provenance: Provenance) -> Iterator[OnReport]:
        """A run of a training that goes on inside the `with`; yields what the training calls at each log."""
        self._tell("begin", asdict(provenance))
        try:
            yield lambda row: self._tell("report", row)
        except BaseException:
            self._tell("stop")
            raise
        self._tell("finish")

    def evaluated(self) -> None:
        """Record the model of the workspace, with its metrics."""
        self._tell("record")

    def _tell(self, method: str, *arguments: Any) -> None:
        if self._process:
            line, stream = json.dumps([method, round(1000 * time.time()), *arguments]), self._process.stdin
            self._told = True
            self._attempt(self._what, lambda: print(line, file=stream, flush=True))


def _end(process: "subprocess.Popen[str]", told: bool) -> None:
    """Wait for the end. Raises OSError if it was told something, and did not end well."""
    process.communicate()
    if told and process.returncode:
        raise OSError(f"the process that writes it ended with status {process.returncode}")
