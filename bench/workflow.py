"""What the orchestration costs beside the training."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bench.measure import ROOT, run
from pipeline.files import md5
from pipeline.paths import ModelPaths

DVC = [sys.executable, "-m", "dvc"]
BITS = "bits-lstm24"


def orchestration(full: bool) -> dict[str, Any]:
    """Seconds of `dvc repro` with nothing to do, of one that trains bits-lstm24, and of its training alone."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "project"
        run(["git", "clone", "--quiet", str(ROOT), str(clone)])
        run([*DVC, "config", "--local", "cache.dir", str(ROOT / ".dvc" / "cache")], clone)
        run([*DVC, "repro", f"evaluate@{BITS}"], clone)
        nothing = [run([*DVC, "repro", f"evaluate@{BITS}"], clone).seconds for _ in range(5 if full else 3)]
        yaml = YAML()
        params = yaml.load(clone / "params.yaml")
        params["models"][BITS]["recipes"]["fast"]["log_every"] = 333
        yaml.dump(params, clone / "params.yaml")
        changed = run([*DVC, "repro", "--force", f"train@{BITS}", f"export@{BITS}", f"evaluate@{BITS}"], clone).seconds
        weights = md5(ModelPaths(BITS, clone).weights)
        training = json.loads((clone / "logs" / BITS / f"{weights}.json").read_text())["environment"]["seconds"]
    return {
        "nothing_to_do_seconds": nothing,
        "one_parameter_seconds": changed,
        "of_it_training_seconds": training,
        "not_training": 1 - training / changed,
    }
