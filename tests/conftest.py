"""What several tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tiny copy of the project, the working folder of the test."""
    folder = tiny.make(tmp_path)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(folder / "keras"))
    yield folder
