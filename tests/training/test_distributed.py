"""One model trained by several processes, as TF_CONFIG names them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from pipeline.errors import PipelineError
from pipeline.files import md5
from pipeline.paths import ModelPaths
from pipeline.recipe import Recipe
from pipeline.training import distributed, keys
from tests.harness import project
from tests.harness.process import free_port, until, with_path, without

BITS, MNIST, _ = project.MODELS


@contextmanager
def worker(folder: Path, model: str, index: int, addresses: list[str]) -> Iterator[subprocess.Popen[str]]:
    """One worker, which ends with the `with`."""
    content = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    environment = with_path(without("DVC_", "MLFLOW_", "GIT_", "COV_"), project.BIN) | {"PIPELINE_RECORD": "off"}
    environment |= {"PIPELINE_KEYS": str(folder.parent / "keys")}
    with (folder.parent / f"log{index}").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "train", model],
            cwd=folder,
            env=environment | {"TF_CONFIG": json.dumps(content)},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def workers(folder: Path, model: str, number: int = 2) -> Iterator[list[subprocess.Popen[str]]]:
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(number)]
    if not (folder.parent / "keys").exists():
        keys.write(keys.make(), folder.parent / "keys")
    with ExitStack() as stack:
        yield [stack.enter_context(worker(folder, model, index, addresses)) for index in range(number)]


def log(folder: Path, index: int) -> str:
    return (folder.parent / f"log{index}").read_text()


def trained(folder: Path, model: str) -> str:
    """Train with two workers to the end; return the MD5 of the weights."""
    with workers(folder, model) as processes:
        for index, process in enumerate(processes):
            assert process.wait(300) == 0, log(folder, index)
    return md5(ModelPaths(model, folder).weights)


def weights(folder: Path, model: str) -> np.ndarray:
    found: list[np.ndarray] = []
    with h5py.File(ModelPaths(model, folder).weights) as file:
        file.visititems(lambda name, item: found.append(np.ravel(item)) if isinstance(item, h5py.Dataset) else None)
    return np.concatenate(found)


@pytest.mark.system
@pytest.mark.parametrize("model", [BITS, MNIST])
def test_two_workers_train_what_one_trains(trained_project: Path, model: str) -> None:
    paths = ModelPaths(model, trained_project)
    alone, history = weights(trained_project, model), pd.read_csv(paths.history)
    paths.weights.unlink()
    again = trained(trained_project, model)
    np.testing.assert_allclose(weights(trained_project, model), alone, rtol=1e-3, atol=1e-4)
    together = pd.read_csv(paths.history)
    assert together.columns.tolist() == history.columns.tolist()
    np.testing.assert_allclose(together, history, rtol=2e-3, atol=2e-3)
    note = json.loads(paths.provenance(again).read_text())
    assert note["environment"]["workers"] == 2
    if model == BITS:
        assert trained(trained_project, model) == again, "the same bytes each time"


@pytest.mark.system
def test_a_training_whose_worker_was_lost_resumes(trained_project: Path) -> None:
    project.change(trained_project, f"models.{BITS}.recipes.fast.steps", 400)
    project.change(trained_project, f"models.{BITS}.recipes.fast.log_every", 20)
    expected = trained(trained_project, BITS)
    with workers(trained_project, BITS) as processes:
        assert until(lambda: bool(list((trained_project / "checkpoints").glob("*.npz"))), 200)
        time.sleep(0.5)
        os.kill(processes[1].pid, signal.SIGKILL)
        assert processes[0].wait(200) == 2, log(trained_project, 0)
    (error,) = (line for line in log(trained_project, 0).splitlines() if line.startswith("error:"))
    assert f"{BITS}: another worker was lost" in error
    assert "start all workers again" in error
    assert trained(trained_project, BITS) == expected
    assert "resuming from step" in log(trained_project, 0)
    assert "resuming from step" in log(trained_project, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_each_example_of_a_batch_is_one_worker_s(size: int) -> None:
    recipe = Recipe(steps=1, batch_size=7, log_every=1, learning_rate=0.1)
    them = [distributed.Workers(tuple(map(str, range(size))), index) for index in range(size)]
    shares = [each.share(np.arange(7), np.arange(7)) for each in them]
    assert sorted(np.concatenate([features for features, _ in shares]).tolist()) == list(range(7))
    assert sum(each.loss_weight(recipe) for each in them) == pytest.approx(1)


WORKER: dict[str, Any] = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}


@pytest.mark.parametrize(
    ("content", "size", "index"),
    [
        (WORKER, 2, 1),
        ({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}, 2, 1),
        ({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "chief", "index": 0}}, 2, 0),
        ({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}, 1, 0),
    ],
)
def test_tf_config_names_the_workers(
    content: dict[str, Any], size: int, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(steps=1, batch_size=7, log_every=1, learning_rate=0.1)
    monkeypatch.setenv("TF_CONFIG", json.dumps(content))
    workers = distributed.from_environment(recipe)
    assert (workers.number, workers.index) == (size, index)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "TF_CONFIG is '{', expected a cluster of workers and a task"),
        ("[]", "expected a cluster of workers and a task (its values have other names or types)"),
        (json.dumps({"cluster": WORKER["cluster"]}), "(its values have other names or types)"),
        (json.dumps(WORKER | {"task": [1]}), "(its values have other names or types)"),
        (json.dumps(WORKER | {"task": {"type": "worker", "index": 2}}), "its task is none of its cluster's workers"),
        (
            json.dumps({"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "chief", "index": 1}}),
            "its task is none of its cluster's workers",
        ),
        (json.dumps(WORKER | {"task": {"type": "ps", "index": 0}}), "its task is none of its cluster's workers"),
        (json.dumps(WORKER).replace('"b:1"', ", ".join(f'"b:{i}"' for i in range(1, 10))), "10 workers cannot share"),
        (json.dumps(WORKER).replace('"b:1"', '"a:1"'), "an address is there twice"),
        (json.dumps(WORKER).replace('"b:1"', "2"), "(its values have other names or types)"),
        (json.dumps(WORKER).replace('"b:1"', '"nonsense"'), "not a list of addresses HOST:PORT"),
        (json.dumps(WORKER).replace('"b:1"', '"127.0.0.1:99999"'), "not a list of addresses HOST:PORT"),
        (json.dumps(WORKER).replace('"index": 1', '"index": 1e999'), "the index of its task is not a whole number"),
        (json.dumps(WORKER).replace('"index": 1', '"index": 0.9'), "the index of its task is not a whole number"),
        ("[" * 100_000, "expected a cluster of workers and a task (it is nested too deeply)"),
    ],
)
def test_a_wrong_tf_config_is_refused_in_a_sentence(text: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(steps=1, batch_size=7, log_every=1, learning_rate=0.1)
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(PipelineError) as refused:
        distributed.from_environment(recipe)
    assert sentence in str(refused.value)
