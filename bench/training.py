"""How fast the networks train."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.clone import DVC, clone_with_cache, set_params
from bench.measure import ROOT, interleaved, ratio, run
from bench.steps import BATCH_SIZES, NETWORKS
from pipeline.paths import MODEL_STAGES, ModelPaths, stage

TORCH = os.environ.get("TORCH_PYTHON", sys.executable)  # a Python that has PyTorch, which the project does not need
SHORT = ("bits-lstm24", "mnist-lstm128")  # models whose `published` recipe takes seconds


@contextmanager
def _worker(python: str, engine: str) -> Iterator[Any]:
    """A function that asks a worker for the milliseconds of a step; between questions the worker is stopped.

    Threads of PyTorch spin while they wait, which would take time from the others.
    """
    process = subprocess.Popen(
        [python, "-m", "bench.steps", engine],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    source, answers = process.stdin, process.stdout
    answers.readline()

    def ask(model: str, batch_size: int, seconds: float) -> float:
        process.send_signal(signal.SIGCONT)
        print(json.dumps({"model": model, "batch_size": batch_size, "seconds": seconds}), file=source, flush=True)
        answer = float(answers.readline())
        process.send_signal(signal.SIGSTOP)
        return answer

    process.send_signal(signal.SIGSTOP)
    try:
        yield ask
    finally:
        process.send_signal(signal.SIGCONT)
        source.close()
        process.wait()


def steps(full: bool) -> list[dict[str, Any]]:
    """Milliseconds of a training step: ours, Keras' and PyTorch's, for each network and batch size."""
    engines = {"ours": sys.executable, "keras": sys.executable}
    if not subprocess.run([TORCH, "-c", "import torch"], capture_output=True, check=False).returncode:
        engines["torch"] = TORCH
    rows = []
    with ExitStack() as stack:
        ask = {name: stack.enter_context(_worker(python, name)) for name, python in engines.items()}
        for model in NETWORKS:
            for batch_size in BATCH_SIZES:
                seconds = 3.0 if full else 1.0
                asks = {name: partial(a, model, batch_size, seconds) for name, a in ask.items()}
                values = interleaved(asks, 7 if full else 4)
                values = {name: each[1:] for name, each in values.items()}  # the first warms up
                row: dict[str, Any] = {"model": model, "batch_size": batch_size, "ms": values}
                row["ratio"] = {name: ratio(each, values["ours"]) for name, each in values.items() if name != "ours"}
                rows.append(row)
                print(
                    row["model"], batch_size, {name: round(min(each), 2) for name, each in values.items()}, flush=True
                )
    return rows


def time_to_published(full: bool) -> list[dict[str, Any]]:
    """Seconds of train, export and evaluate, from start to end, of `fast` and of `published`.

    Without FULL=1, only the models whose `published` recipe takes seconds.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        clone = clone_with_cache(Path(folder))
        for model in NETWORKS if full else SHORT:
            for recipe in ("fast", "published"):
                set_params(clone, {f"models.{model}.recipe": recipe})
                run([*DVC, "repro", stage("split", model.split("-")[0])], clone)
                stages = [stage(verb, model) for verb in MODEL_STAGES]
                seconds = run([*DVC, "repro", "--force", "--single-item", *stages], clone).seconds
                metrics = json.loads(ModelPaths(model, clone).metrics.read_text())
                rows.append({"model": model, "recipe": recipe, "seconds": seconds, "accuracy": metrics["accuracy"]})
                print(rows[-1], flush=True)
    return rows


def gpu(full: bool) -> str:
    """Whether there is one; `steps` uses it then."""
    return "measured: `steps` ran on the GPU" if shutil.which("nvidia-smi") else "skipped: no NVIDIA GPU here"
