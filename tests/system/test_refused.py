"""A value that is refused costs nothing: `dvc repro` stops before DVC removes an output."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.paths import PARAMS
from tests.harness import project

BITS, MNIST, FABLE = project.MODELS
Edit = Callable[[Path], None]


def value(key: str, new: Any) -> Edit:
    return values({key: new})


def values(changes: dict[str, Any]) -> Edit:
    def edit(folder: Path) -> None:
        for key, new in changes.items():
            project.change(folder, key, new)

    return edit


def text(old: str, new: str) -> Edit:
    def edit(folder: Path) -> None:
        params = folder / PARAMS
        content = params.read_text()
        assert old in content
        params.write_text(content.replace(old, new, 1))

    return edit


WALK = {"order": "walk", "steps": 10**8, "batch_size": 10**5}
REFUSED: dict[str, tuple[Edit, str]] = {
    "unknown key": (value(f"models.{BITS}.recipes.fast.epoch", 1), f"models.{BITS}.recipes.fast.epoch is not a param"),
    "wrong type": (value(f"models.{BITS}.network.units", "24"), "network.units: got '24'"),
    "out of range": (value(f"models.{BITS}.recipes.fast.learning_rate", -1.0), "fast.learning_rate: got -1.0"),
    "not together": (value(f"models.{BITS}.recipes.fast.epochs", 3), "steps or epochs, and not both"),
    "unknown task": (value(f"models.{BITS}.task", "bit"), f"models.{BITS}.task: got 'bit', expected one of"),
    "unknown recipe": (value(f"models.{BITS}.recipe", "brief"), "recipe: got 'brief', expected one of its"),
    "no source": (value("tasks.bits.source", "pipeline/none"), "tasks.bits.source: 'pipeline/none' does not exist"),
    "password": (value("tasks.mnist.generate.mirrors", ["https://u:p@example.org"]), "an address contains a user name"),
    "all strings train": (value("tasks.bits.split.train", 256), "tasks.bits.split.train is 256, but there are 256"),
    "all images validate": (value("tasks.mnist.split.validation", 60_000), "tasks.mnist.split.validation: got 60000"),
    "no word trains": (value("tasks.fable.split.test_share", 0.9999), "too few to train with tasks.fable.split"),
    "a folder as story": (value("tasks.fable.source", "data/fable"), "data/fable is not a text file"),
    "a split that is not stored": (value(f"models.{BITS}.recipes.fast.monitor", "test"), "stores no test split"),
    "weights of one step": (
        value(f"models.{FABLE}.recipes.fast.step_power", 2.0),
        "a step_power weights the steps of supervise: every-step",
    ),
    "an embedding of pictures": (value(f"models.{MNIST}.network.embedding", 4), "needs one number at each step"),
    "a walk without end": (
        values({f"models.{FABLE}.recipes.fast.{key}": new for key, new in WALK.items()}),
        "a walk of 10,000,000,000,000 rows",
    ),
    "not YAML": (text("seed: ", "seed:\t- "), "params.yaml"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_value_removes_nothing(trained_project: Path, kind: str) -> None:
    edit, sentence = REFUSED[kind]
    kept = files(trained_project)
    edit(trained_project)
    done = project.run(trained_project, "dvc", "repro", ok=False)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert project.run(trained_project, "git", "status", "--porcelain").stdout == " M params.yaml\n"
    assert files(trained_project) == kept


def test_a_story_that_became_too_short_removes_nothing(trained_project: Path) -> None:
    kept = files(trained_project)
    story = trained_project / project.read(trained_project)["tasks"]["fable"]["source"]
    story.write_text("One two.")
    done = project.run(trained_project, "dvc", "repro", ok=False)
    assert "holds 3 tokens, too few to train" in done.stdout + done.stderr
    assert (
        project.run(trained_project, "git", "status", "--porcelain").stdout
        == f" M {story.relative_to(trained_project)}\n"
    )
    assert files(trained_project) == kept


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("$x_{.txt", b"one two three four five six seven eight nine ten", "without $ and control characters"),
        ("n" * 240 + ".txt", b"one two three four five six seven eight nine ten", "at most 200 bytes"),
        ("late.txt", b"one two three " * 50_000 + b"\xff", "is not UTF-8 text"),
        ("endless.txt", b"one two three " * 50_000 + b"x" * 1_100_000, "without a space or a newline"),
    ],
)
def test_a_story_that_cannot_be_one_removes_nothing(
    trained_project: Path, name: str, content: bytes, sentence: str
) -> None:
    kept = files(trained_project)
    (trained_project / "data" / "fable" / name).write_bytes(content)
    project.change(trained_project, "tasks.fable.source", f"data/fable/{name}")
    done = project.run(trained_project, "dvc", "repro", ok=False)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert files(trained_project) == kept


def files(folder: Path) -> dict[Path, int]:
    """Every output with its time of writing."""
    return {
        path: path.stat().st_mtime_ns
        for name in ("data/raw", "data/split", "models")
        for path in (folder / name).rglob("*")
    }
