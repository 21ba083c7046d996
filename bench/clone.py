"""A clone of the committed project to run stages in, with DVC's cache of this one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.measure import ROOT
from pipeline.cluster.overrides import with_values

DVC = [sys.executable, "-m", "dvc"]
# Commands in one process, which imports TensorFlow once.
IN_ONE_PROCESS = """
import sys
from pipeline import cli
for command in sys.argv[1:]:
    cli.app(command.split(), standalone_mode=False)
"""


def clone_with_cache(folder: Path) -> Path:
    """The clone, in `folder`: what was made before is not made again, and what it makes, a later `dvc repro` finds."""
    clone = folder / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run([*DVC, "config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache")], cwd=clone, check=True)
    return clone


def set_params(clone: Path, changes: dict[str, Any]) -> None:
    """Set keys of params.yaml, written with dots: `models.bits-lstm24.recipes.fast.log_every`."""
    path = clone / "params.yaml"
    path.write_text(with_values(path.read_text(encoding="utf-8"), changes), encoding="utf-8")
