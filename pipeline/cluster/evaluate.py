"""Predict the chunks of an evaluation on Ray; the stage then finds them and adds them up, as if it had made them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from tqdm import tqdm

import pipeline
from pipeline.cluster import nodes
from pipeline.config import ModelSetup
from pipeline.dataset import Examples, load_examples
from pipeline.errors import PipelineError
from pipeline.inference.evaluation import Functions, open_evaluation, predict_chunk
from pipeline.inference.onnx_session import Session
from pipeline.predictions import Predictions

CPUS = 1  # of a chunk


@dataclass(frozen=True)
class Shared:
    """What all chunks read."""

    onnx: bytes
    examples: Examples
    functions: Functions


def evaluate(setup: ModelSetup, workers: int, cluster: nodes.Cluster) -> None:
    """Predict all chunks that have not been predicted, so many at once, and keep each.

    Raises PipelineError if there is only one, or if Ray fails: chunks that have ended are kept.
    """
    if load_examples(setup.task.paths).chunks == 1:  # before an export is asked for, which would not help
        raise PipelineError(f"{setup.name} has few examples, which one process evaluates; leave out --workers.")
    examples, _, store = open_evaluation(setup.paths, setup.task.paths)
    missing = [number for number in range(examples.chunks) if store.load(number, examples.info) is None]
    # Of a file that is mapped into memory, the nodes need the content.
    arrays = Examples(examples.info, np.array(examples.encoded), np.array(examples.targets))
    shared = Shared(setup.paths.onnx.read_bytes(), arrays, Functions.of(setup.task, examples.info))
    started = {"total": examples.chunks, "initial": examples.chunks - len(missing)}
    with nodes.connected(cluster), tqdm(**started, unit="chunk") as bar:
        nodes.require_room_for_workers(workers, 0)
        for number, chunk in _predicted(shared, missing, workers):
            store.save(number, chunk)
            bar.update()


def _predicted(shared: Shared, numbers: Sequence[int], workers: int) -> Iterator[tuple[int, Predictions]]:
    """Each chunk as it ends; Ray makes a chunk again whose worker is lost."""
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
            f"a chunk failed ({nodes.reason(error)}); the same command goes on with the chunks that are left."
        ) from None


def _predict(shared: Shared, number: int) -> Predictions:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before its import: the line of onnx_session.py does not travel
    session = Session(shared.onnx, "pipeline evaluate", threads=CPUS)
    return predict_chunk(session, shared.functions, shared.examples, number, CPUS)
