"""Behavioural tests of bits-lstm24 as the project trains it: accuracy, minimum functionality, invariance, direction."""

import os
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from pipeline.files import load_json
from pipeline.inference import predict
from pipeline.inference.predict import Prediction
from pipeline.paths import ModelPaths
from pipeline.stages import evaluate, export, train
from tests.harness import project
from tests.harness.stages import prepare

pytestmark = pytest.mark.slow
BITS = "bits-lstm24"


@pytest.fixture(scope="session")
def trained_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after all stages of bits-lstm24, with its own parameters, the fast recipe; one for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained-bits"
    own = project.read(project.ROOT)
    own |= {"tasks": {"bits": own["tasks"]["bits"]}, "models": {BITS: own["models"][BITS]}}
    own["models"][BITS]["recipe"] = "fast"
    with FileLock(f"{folder}.lock"), pytest.MonkeyPatch.context() as patch:
        if not ModelPaths(BITS, folder).errors.exists():  # the last file that the stages write
            project.make(folder, [BITS])
            project.write(folder, own)
            patch.chdir(folder)
            setup = prepare(BITS)
            train.run(setup)
            export.run(setup)
            evaluate.run(setup)
    return folder


@pytest.fixture(autouse=True)
def in_the_project(trained_bits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained_bits)


@pytest.fixture
def rows() -> np.ndarray:
    """A thousand strings of 20 bits, most of them with 5 to 15 ones; none is all ones."""
    rng = np.random.default_rng(1)
    rows = (rng.random((1000, 20)) < rng.uniform(0.4, 0.6, (1000, 1))).astype(int)
    assert rows.sum(axis=1).max() < 20
    return rows


def count(rows: np.ndarray) -> np.ndarray:
    """The ones that the model counts in rows of bits."""
    results = predict.load(BITS).predict("".join(map(str, row)) for row in rows)
    return np.array([int(result.label) for result in results if isinstance(result, Prediction)])


def test_the_fast_recipe_counts_every_string_of_every_length() -> None:
    metrics = load_json(ModelPaths(BITS).metrics, "")
    assert metrics["examples"] == 1_038_576
    assert metrics["wrong"] == metrics["wrong_shorter"] == 0
    assert metrics["accuracy_10000_bits"] == 1
    assert metrics["certified_steps"] >= 1_000_000


def test_minimum_functionality_ones_are_counted(rows: np.ndarray) -> None:
    assert (count(rows) == rows.sum(axis=1)).mean() == 1


def test_invariance_shuffled_bits_keep_their_count(rows: np.ndarray) -> None:
    shuffled = np.random.default_rng(2).permuted(rows, axis=1)
    assert (count(shuffled) == count(rows)).all()


def test_direction_one_more_one_adds_one_to_the_count(rows: np.ndarray) -> None:
    rng, more = np.random.default_rng(3), rows.copy()
    for row in more:
        row[rng.choice(np.flatnonzero(row == 0))] = 1
    assert (count(more) == count(rows) + 1).all()
