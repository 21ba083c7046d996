"""A clone of the committed project to run stages in, with DVC's cache of this one."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bench.measure import ROOT

DVC = [sys.executable, "-m", "dvc"]


def clone_with_cache(folder: Path) -> Path:
    """The clone, in `folder`: what was made before is not made again, and what it makes, a later `dvc repro` finds."""
    clone = folder / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run([*DVC, "config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache")], cwd=clone, check=True)
    return clone


def set_params(clone: Path, changes: dict[str, Any]) -> None:
    """Set keys of params.yaml, written with dots: `models.bits-lstm24.recipes.fast.log_every`."""
    yaml = YAML()
    params = yaml.load(clone / "params.yaml")
    for name, value in changes.items():
        *path, last = name.split(".")
        section = params
        for key in path:
            section = section[key]
        section[last] = value
    yaml.dump(params, clone / "params.yaml")
