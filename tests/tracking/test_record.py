"""What MLflow holds of a model, and what of it is written again."""

from pathlib import Path

import pytest

from pipeline.files import md5
from pipeline.paths import ModelPaths
from tests.harness import project

MODEL = project.MODELS[0]


@pytest.mark.parametrize("name", ["provenance.json", "predictions.parquet"])
@pytest.mark.parametrize("damage", ["a bit", "empty", "gone"])
def test_track_writes_a_damaged_artifact_of_a_run_again(trained_project: Path, name: str, damage: str) -> None:
    (path,) = (path for path in Path("mlartifacts").rglob(name) if "bits" in str(path))
    before = path.read_bytes()
    place = len(before) // 2
    flipped = before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :]
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(flipped if damage == "a bit" else b"")
    done = project.invoke("track")
    assert done.exit_code == 0
    assert "note:" not in done.stdout
    assert path.read_bytes() == before


def test_a_run_holds_the_provenance_that_the_logs_have(trained_project: Path) -> None:
    paths = ModelPaths(MODEL)
    logged = paths.provenance(md5(paths.weights)).read_bytes()
    assert logged in [path.read_bytes() for path in Path("mlartifacts").rglob("provenance.json")]


def test_the_artifacts_of_an_intact_run_are_left_alone(trained_project: Path) -> None:
    project.invoke("track")
    before = {path: path.stat().st_mtime_ns for path in Path("mlartifacts").rglob("*.parquet")}
    project.invoke("track")
    assert {path: path.stat().st_mtime_ns for path in Path("mlartifacts").rglob("*.parquet")} == before != {}
