"""The cards of datasets."""

import hashlib
import json
import logging
from pathlib import Path

import pandas as pd
import pytest

from pipeline.paths import TaskPaths
from tests.harness import project

RECOMMENDED = {"citeAs", "datePublished", "license", "url", "version"}  # what not every dataset of ours has


@pytest.mark.parametrize("task", project.TASKS)
def test_a_card_for_programs_names_the_files_of_the_split_and_the_columns_of_its_table(
    trained: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.chdir(trained)
    card = json.loads(project.invoke("card", task, "--croissant").stdout)
    folder = TaskPaths(task, trained).split
    assert {each["contentUrl"] for each in card["distribution"]} == {"examples.npy", "info.json", "balance.csv"}
    for each in card["distribution"]:
        content = (folder / each["contentUrl"]).read_bytes()
        assert each["sha256"] == hashlib.sha256(content).hexdigest()
        assert each["contentSize"] == f"{len(content)} B"
    columns = [field["source"]["extract"]["column"] for field in card["recordSet"][0]["field"]]
    assert columns == [*pd.read_csv(folder / "balance.csv")]
    assert card["name"] == json.loads((folder / "info.json").read_text())["dataset"]


@pytest.mark.parametrize("task", project.TASKS)
def test_the_library_of_the_format_finds_a_card_valid_and_reads_it(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, task: str
) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="not in the lock: it needs a package that has no wheel")
    monkeypatch.chdir(trained)
    logging.getLogger("absl").setLevel(logging.ERROR)
    printed = project.invoke("card", task, "--croissant").stdout
    folder = TaskPaths(task, trained).split.resolve()
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "croissant.json").write_text(printed)
    dataset = mlcroissant.Dataset(str(tmp_path / "croissant.json"))
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert all(any(f"/{name}" in str(warning) for name in RECOMMENDED) for warning in issues.warnings)
    found = [
        tuple(row[f"balance/{column}"] for column in ("split", "class", "examples"))
        for row in dataset.records("balance")
    ]
    table = pd.read_csv(folder / "balance.csv", dtype=str, keep_default_na=False)
    expected = [(row.split.encode(), row["class"].encode(), int(row.examples)) for _, row in table.iterrows()]
    assert [tuple(row) for row in found] == expected


def test_a_card_says_where_the_data_come_from(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    cards = {task: project.invoke("card", task).stdout for task in project.TASKS}
    assert "All strings of 8 bits" in cards["bits"]
    assert "The 1,797 digits that scikit-learn ships" in cards["mnist"], "the tiny project has no MNIST"
    assert "written for this project" in cards["fable"]
    for task, card in cards.items():
        info = json.loads(TaskPaths(task, trained).info.read_text())
        for split, size in info["splits"].items():
            assert f"| {split}" in card
            assert f" {size:,} " in card
        assert f"$ dvc repro split@{task}" in card


def test_what_has_no_card_is_refused(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    assert "has no model 'nope'" in project.invoke("card", "nope").stderr
    result = project.invoke("card", "bits-lstm24", "--croissant")
    assert (result.exit_code, "has no task 'bits-lstm24'" in result.stderr) == (2, True)
