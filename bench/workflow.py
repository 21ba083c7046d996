"""What one edit costs, from the command to the end; with BEFORE=REVISION beside what it cost at that commit."""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench.clone import DVC, clone_with_cache, set_params
from bench.measure import interleaved, ratio, run
from pipeline.paths import stage

BITS = "bits-lstm24"
PIPELINE = [sys.executable, "-m", "pipeline"]
EVALUATE = stage("evaluate", BITS)
CHANGED = [*DVC, "repro", EVALUATE]
COMMANDS = {  # in this order: what follows the change needs what it made
    f"`dvc repro` of {BITS}, one parameter changed": CHANGED,
    f"`dvc repro` of {BITS}, nothing to do": [*DVC, "repro", EVALUATE],
    f"`pipeline export {BITS}`": [*PIPELINE, "export", BITS],
    f"`pipeline evaluate {BITS}`": [*PIPELINE, "evaluate", BITS],
    "`pipeline track`, nothing new": [*PIPELINE, "track"],
    "`pipeline results`": [*PIPELINE, "results"],
    f"`pipeline predict {BITS}`, 20 bits": [*PIPELINE, "predict", BITS, "01" * 10],
}


def orchestration(full: bool) -> dict[str, Any]:
    """Seconds of commands, here and at an earlier commit, in turns, and the ratios."""
    revisions = {"now": "HEAD"} | ({"before": os.environ["BEFORE"]} if "BEFORE" in os.environ else {})
    with tempfile.TemporaryDirectory() as folder:
        clones = {name: _clone(Path(folder) / name, revision) for name, revision in revisions.items()}

        def measure(command: list[str], clone: Path) -> float:
            if command is CHANGED:
                rate = round(0.01 + 1e-12 * time.time(), 12)  # none that was trained before: DVC's run cache has those
                set_params(clone, {f"models.{BITS}.recipes.fast.learning_rate": rate})
            return run(command, clone).seconds

        measures = {
            f"{title}, {name}": partial(measure, command, clone)
            for title, command in COMMANDS.items()
            for name, clone in clones.items()
        }
        found = interleaved(measures, 5 if full else 3)
    rows = []
    for title in COMMANDS:
        seconds = {name: found[f"{title}, {name}"] for name in revisions}
        compared = ratio(seconds["before"], seconds["now"]) if "before" in seconds else None
        rows.append({"command": title, "seconds": seconds, "ratio": compared})
    return {"before": os.environ.get("BEFORE"), "rows": rows}


def _clone(folder: Path, revision: str) -> Path:
    """A clone at a commit, in which one model is up to date and recorded."""
    folder.mkdir()
    clone = clone_with_cache(folder)
    subprocess.run(["git", "checkout", "--quiet", revision], cwd=clone, check=True)
    run([*DVC, "repro", EVALUATE], clone)
    run([*PIPELINE, "track"], clone)
    return clone
