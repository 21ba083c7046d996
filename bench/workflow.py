"""What the orchestration costs beside the training."""

import json
import tempfile
from pathlib import Path
from typing import Any

from bench.clone import DVC, clone_with_cache, set_params
from bench.measure import run
from pipeline.files import md5
from pipeline.paths import MODEL_STAGES, ModelPaths, stage

BITS = "bits-lstm24"


def orchestration(full: bool) -> dict[str, Any]:
    """Seconds of `dvc repro` with nothing to do, of one that trains bits-lstm24, and of its training alone."""
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_with_cache(Path(folder))
        run([*DVC, "repro", stage("evaluate", BITS)], clone)
        nothing = [run([*DVC, "repro", stage("evaluate", BITS)], clone).seconds for _ in range(5 if full else 3)]
        set_params(clone, {f"models.{BITS}.recipes.fast.log_every": 333})
        stages = [stage(verb, BITS) for verb in MODEL_STAGES]
        changed = run([*DVC, "repro", "--force", "--single-item", *stages], clone).seconds
        weights = md5(ModelPaths(BITS, clone).weights)
        training = json.loads((clone / "logs" / BITS / f"{weights}.json").read_text())["environment"]["seconds"]
    return {
        "nothing_to_do_seconds": nothing,
        "one_parameter_seconds": changed,
        "of_it_training_seconds": training,
        "not_training": 1 - training / changed,
    }
