"""Whom a training tells of its rows."""

import json
from pathlib import Path

import pytest

from pipeline.cluster import progress


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a repository of DVC, the working folder."""
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tell(*steps: int) -> list[dict[str, float]]:
    """Tell of rows with these steps; return what the training's own listener got."""
    heard: list[dict[str, float]] = []
    report = progress.reported(heard.append)
    for step in steps:
        report({"step": step, "loss": 0.5})
    return heard


def test_a_trial_gets_each_row_and_an_editor_a_signal_every_twenty_seconds(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_PROGRESS", str(folder / "rows"))
    rows = tell(10, 20, 30)
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert [json.loads(line) for line in (folder / "rows").read_text().splitlines()] == rows
    assert progress.SIGNAL.read_text() == "10"
    monkeypatch.setattr(progress, "PAUSE", 0)
    tell(10, 20)
    assert progress.SIGNAL.read_text() == "20"


@pytest.mark.parametrize("obstacle", ["a file", "no repository"])
def test_a_training_goes_on_where_no_signal_can_be_given(folder: Path, obstacle: str) -> None:
    if obstacle == "a file":
        (folder / ".dvc" / "tmp").touch()
    else:
        (folder / ".dvc").rmdir()
    assert len(tell(10, 20)) == 2
    assert not (folder / progress.SIGNAL).exists()
    assert (folder / ".dvc").exists() == (obstacle == "a file")
