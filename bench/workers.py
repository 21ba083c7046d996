"""One model on several workers of this machine: steps of training, and an evaluation in parts; what many bits cost."""

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from bench.clone import DVC, clone_with_cache, set_params
from bench.measure import interleaved, ratio, run
from pipeline.paths import stage

PIPELINE = [sys.executable, "-m", "pipeline"]
BITS, MNIST = "bits-lstm24", "mnist-lstm128"
LENGTH = 22  # bits of an evaluation: four parts
MANY = (20, 22, 24, 26)  # bits
ALL = 30


def workers(full: bool) -> dict[str, Any]:
    """Steps a second of a training and seconds of an evaluation, without Ray and with one and two workers, in turns."""
    repeats = 5 if full else 3
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_with_cache(Path(folder))
        recipe = f"models.{MNIST}.recipes.fast"
        set_params(clone, {f"{recipe}.epochs": 1, "tasks.bits.generate.length": LENGTH})
        run([*DVC, "repro", stage("split", "mnist"), stage("export", BITS)], clone)
        choices: dict[str, list[str]] = {"without Ray": []}
        choices |= {name: ["--workers", name[0]] for name in ("1 worker", "2 workers")}
        steps = interleaved({name: partial(_steps, clone, words) for name, words in choices.items()}, repeats)
        seconds = interleaved({name: partial(_seconds, clone, words) for name, words in choices.items()}, repeats)
    return {
        "steps_per_second": steps,
        "steps: 2 workers / 1": ratio(steps["2 workers"], steps["1 worker"]),
        "evaluation_seconds": seconds,
        "evaluation: 1 worker / 2": ratio(seconds["1 worker"], seconds["2 workers"]),
    }


def many_bits(full: bool) -> dict[str, Any]:
    """Seconds and memory of evaluations of many bits, and the seconds of 30 bits, by the number of strings."""
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_with_cache(Path(folder))
        measured = [_evaluated(clone, length) for length in MANY]
    of_a_string = measured[-1]["seconds"] / 2 ** measured[-1]["length"]
    return {"measured": measured, "extrapolated": {"length": ALL, "seconds": of_a_string * 2**ALL}}


def _steps(clone: Path, words: list[str]) -> float:
    """Steps a second of a training: from its first step to its last."""
    for old in (clone / "logs" / MNIST).glob("*.json"):
        old.unlink()
    run([*PIPELINE, "train", MNIST, *words], clone)
    (note,) = (clone / "logs" / MNIST).glob("*.json")
    steps = int((clone / "models" / MNIST / "history.csv").read_text().splitlines()[-1].split(",")[0])
    return float(steps / json.loads(note.read_text())["environment"]["seconds"])


def _seconds(clone: Path, words: list[str]) -> float:
    return run([*PIPELINE, "evaluate", BITS, *words], clone).seconds


def _evaluated(clone: Path, length: int) -> dict[str, Any]:
    set_params(clone, {"tasks.bits.generate.length": length})
    run([*DVC, "repro", stage("export", BITS)], clone)
    done = run([*PIPELINE, "evaluate", BITS], clone)
    metrics = json.loads((clone / "models" / BITS / "metrics.json").read_text())
    return {"length": length, "seconds": done.seconds, "peak_mib": done.mib, "wrong": metrics["wrong"]}
