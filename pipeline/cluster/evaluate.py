"""Predict the parts of an evaluation on Ray; the stage then finds them and adds them up, as if it had made them."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from tqdm import tqdm

import pipeline
from pipeline.cluster import nodes
from pipeline.config import ModelSetup
from pipeline.dataset import DatasetInfo, load_info
from pipeline.errors import PipelineError
from pipeline.inference import parts
from pipeline.inference.onnx_session import Session
from pipeline.inference.predict_split import evaluated

CPUS = 1  # of a part


@dataclass(frozen=True)
class Shared:
    """What all parts read."""

    onnx: bytes
    info: DatasetInfo
    others: np.ndarray  # (codes,), sorted: those that are not evaluated
    features: parts.Function
    step_targets: parts.Function


def evaluate(setup: ModelSetup, workers: int, address: str | None) -> None:
    """Predict all parts that have not been predicted, so many at once, and keep each.

    Raises PipelineError if the evaluated split is stored, and so has no parts, or if Ray fails: parts that have ended
    are kept.
    """
    if not load_info(setup.task.paths.info, ("split", setup.task.name)).complement:
        raise PipelineError(f"{setup.name} has few examples, which one process evaluates; leave out --workers.")
    examples, store = evaluated(setup.paths, setup.task.paths)
    numbers = parts.numbers(examples.info)
    missing = [number for number in numbers if store.load(number, examples.info) is None]
    features, step_targets = setup.task.features, setup.task.step_targets
    others = np.sort(examples.encoded[:, 0])
    shared = Shared(setup.paths.onnx.read_bytes(), examples.info, others, features, step_targets)
    with nodes.connected(address), tqdm(total=len(numbers), initial=len(numbers) - len(missing), unit="part") as bar:
        nodes.require_room_for_workers(workers, 0)
        for number, arrays in _predicted(shared, missing, workers):
            store.save(number, parts.from_arrays(examples.info, arrays))
            bar.update()


def _predicted(shared: Shared, numbers: Sequence[int], workers: int) -> Iterator[tuple[int, Sequence[np.ndarray]]]:
    """Each part as it ends; Ray makes a part again whose worker is lost."""
    ray.cloudpickle.register_pickle_by_value(pipeline)  # which the nodes do not have
    predict: Any = ray.remote(num_cpus=CPUS, max_retries=3)(_predict)
    everything, waiting = ray.put(shared), list(reversed(numbers))
    running: dict[Any, int] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                number = waiting.pop()
                running[predict.remote(everything, number)] = number
            (done,), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(done), ray.get(done)
    except ray.exceptions.RayError as error:
        raise PipelineError(
            f"a part failed ({nodes.reason(error)}); the same command goes on with the parts that are left."
        ) from None


def _predict(shared: Shared, number: int) -> tuple[np.ndarray, ...]:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before its import: the line of onnx_session.py does not travel
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(shared.onnx)
        probabilities = Session(path, "pipeline evaluate", threads=CPUS).probabilities
        made = parts.predict_range(
            probabilities, shared.features, shared.step_targets, shared.info, shared.others, number
        )
    return parts.to_arrays(made)
