"""Whom a training tells of each row of its history: the trial that started it, and DVC's extension for VS Code."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from pipeline.recipe import OnReport

# The file that DVCLive writes after a step, in which the extension sees that plots have changed. It then reads them
# all, which takes seconds.
SIGNAL = Path(".dvc/tmp/exps/run/DVCLIVE_STEP_COMPLETED")
PAUSE = 20  # seconds between two signals


def reported(on_report: OnReport) -> OnReport:
    """`on_report`, which also tells those who wait for the row.

    The trial gets it as a line of JSON, in the file that PIPELINE_PROGRESS names, if there is one.
    """
    name, due = os.environ.get("PIPELINE_PROGRESS"), time.monotonic()

    def report(row: dict[str, float]) -> None:
        nonlocal due
        if name:
            with Path(name).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        if time.monotonic() >= due and Path(".dvc").is_dir():
            with suppress(OSError):  # what an editor shows stops no training
                SIGNAL.parent.mkdir(parents=True, exist_ok=True)
                SIGNAL.write_text(f"{row['step']:.0f}")
            due = time.monotonic() + PAUSE
        on_report(row)

    return report
