"""What several tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of one model that DVC has made and MLflow recorded; tests leave its files and this run as they are."""
    folder = tiny.make(tmp_path_factory.mktemp("made"), models=["bits-lstm24"])
    tiny.run(folder, "dvc", "repro", "evaluate@bits-lstm24")
    tiny.commit(folder, "made")
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as the working folder of the test."""
    monkeypatch.chdir(made)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tiny copy of the project, the working folder of the test."""
    folder = tiny.make(tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    yield folder
