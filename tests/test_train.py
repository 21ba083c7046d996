from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import config, data, export, generate, split, train
from pipeline.errors import BadInput
from tests import tiny
from tests.test_model import recipe


def plan(examples: int, **changes: object) -> np.ndarray:
    return train.lesson_plan(recipe(**changes), examples, 4, np.random.default_rng(1))


@given(st.integers(1, 50), st.integers(1, 30), st.integers(1, 20))
def test_every_pass_of_a_shuffled_plan_holds_each_example_once(examples: int, steps: int, batch: int) -> None:
    lessons = plan(examples, order="shuffled", steps=steps, batch=batch)
    assert lessons.shape == (steps, batch)
    rows = lessons.ravel()
    for start in range(0, len(rows) - examples + 1, examples):
        assert sorted(rows[start : start + examples]) == list(range(examples))


def test_a_fixed_plan_keeps_its_order() -> None:
    assert plan(5, order="fixed", steps=4, batch=3).tolist() == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]]


@given(st.integers(1, 60))
def test_a_walk_goes_four_words_on_and_begins_anew_past_the_end(examples: int) -> None:
    rows = plan(examples, order="walk", steps=200, batch=1).ravel()
    assert rows.min() >= 0
    assert rows.max() < examples
    assert rows[0] <= 4
    for before, after in pairwise(rows):
        assert after == before + 4 if before + 4 < examples else after <= 4


def test_the_published_walk_reads_the_published_text_from_each_start() -> None:
    rows = plan(201, order="walk", steps=50_000, batch=1).ravel()
    starts = rows[np.flatnonzero(np.diff(rows) < 0) + 1]
    assert sorted(set(starts.tolist())) == [0, 1, 2, 3, 4]
    assert len(set(rows.tolist())) == 201


def prepare(task: str) -> config.Config:
    params = config.load()
    generate.run(task, params)
    split.run(task, params)
    return params


def test_the_same_seed_makes_the_same_files_and_another_seed_others(copy: Path) -> None:
    params = prepare("bits")
    reports: list[int] = []

    def made(seed: int) -> dict[str, bytes]:
        train.run("bits-lstm24", params.model_copy(update={"seed": seed}), lambda step, row: reports.append(step))
        export.run("bits-lstm24", params)
        folder = copy / "models" / "bits-lstm24"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first, again, other = made(1), made(1), made(2)
    assert {"model.weights.h5", "history.csv", "export/model.onnx", "export/saved_model/saved_model.pb"} <= set(first)
    assert first == again
    assert first["model.weights.h5"] != other["model.weights.h5"]
    assert reports == [10, 20, 25] * 3, "a report every ten steps, and the last when the steps end"


def test_a_report_shows_what_the_published_programs_print(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = prepare("fable").model_copy(update={"recipe": "published"})
    train.run("fable-lstm512", params)
    printed = capsys.readouterr().out
    assert "cuDNN's LSTM" in printed
    assert "step     10  loss" in printed
    assert "the text has [" in printed, "one window and its guess"
    history = pd.read_csv(copy / "models" / "fable-lstm512" / "history.csv")
    assert history["step"].tolist() == [10, 20, 25]
    assert (copy / "logs" / "fable-lstm512" / "tensorboard").is_dir()


def test_weights_that_grow_past_all_numbers_are_refused(copy: Path) -> None:
    params = prepare("bits")
    model = params.models["bits-lstm24"]
    wild = model.fast.model_copy(update={"initial": config.Initial(weights="normal", deviation=3e38, bias="normal")})
    params = params.model_copy(update={"models": {"bits-lstm24": model.model_copy(update={"fast": wild})}})
    with pytest.raises(BadInput, match=r"grew past all numbers; lower models\.bits-lstm24\.fast\.rate"):
        train.run("bits-lstm24", params)
    assert not (copy / "models" / "bits-lstm24" / "model.weights.h5").exists()


def test_a_part_that_is_not_there_cannot_be_monitored(copy: Path) -> None:
    params = prepare("bits")
    model = params.models["bits-lstm24"]
    fast = model.fast.model_copy(update={"monitor": "validation"})
    params = params.model_copy(update={"models": {"bits-lstm24": model.model_copy(update={"fast": fast})}})
    with pytest.raises(BadInput, match="bits has no validation part to monitor; set monitor: none"):
        train.run("bits-lstm24", params)


def test_training_without_data_names_the_command(copy: Path) -> None:
    with pytest.raises(
        BadInput, match=r"there is no data/split/bits/examples\.parquet: make it with `dvc repro split@"
    ):
        train.run("bits-lstm24", config.load())


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    data.write_json({"a": 1}, tmp_path / "a.json")

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.write_whole(tmp_path / "a.json", fail)
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_the_copy_is_not_the_project(copy: Path) -> None:
    assert Path.cwd() == copy != tiny.ROOT
