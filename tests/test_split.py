from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import config, data, generate, split
from pipeline.errors import BadInput

CARD = data.Card("bits", "bits-2", (2, 1), ["0", "1", "2"], "")


def examples(classes: list[int], parts: list[str], codes: list[int] | None = None) -> data.Examples:
    return data.Examples(CARD, np.array(codes or range(len(classes)))[:, None], np.array(classes), np.array(parts))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (examples([0, 1, 3], ["train", "test", "test"]), "raw, example 2: class 3, expected 0 to 2"),
        (examples([0, -1, 1], ["train", "test", "test"]), "raw, example 1: class -1, expected 0 to 2"),
        (examples([0, 1], ["train", "exam"]), "raw, example 1: part 'exam', expected one of train"),
        (examples([0, 1], ["train", "train"]), "raw: the part 'test' is empty"),
        (examples([0, 1], ["test", "test"]), "raw: the part 'train' is empty"),
        (examples([0, 1, 1], ["train", "test"]), "raw: 3 codes, 3 classes, 2 parts"),
        (examples([0, 1, 1], ["train", "test", "train"], [5, 6, 6]), "raw, example 1: the example stands in the part"),
    ],
)
def test_broken_promises_are_refused(broken: data.Examples, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        split.check(broken, "test", Path("raw"))


def test_good_examples_pass_and_come_back_as_they_were(tmp_path: Path) -> None:
    good = examples([0, 1, 1, 2], ["train", "test", "validation", "test"])
    split.check(good, "test", Path("raw"))
    data.save_examples(good, tmp_path)
    back = data.load_examples(tmp_path)
    assert back.card == good.card
    for part in data.PARTS:
        for ours, theirs in zip(good.part(part), back.part(part), strict=True):
            assert ours.tolist() == theirs.tolist()


def test_the_balance_counts_each_class_in_each_part(copy: Path) -> None:
    params = config.load()
    generate.run("bits", params)
    split.run("bits", params)
    balance = pd.read_csv("data/split/bits/balance.csv").groupby("part")["examples"].sum()
    assert balance.to_dict() == {"train": 100, "test": 156}


def test_splitting_nothing_names_the_command(copy: Path) -> None:
    with pytest.raises(BadInput, match="there is no data/raw/bits: make it with `dvc repro generate@bits`"):
        split.run("bits", config.load())


@pytest.mark.parametrize(("task", "name"), [("bits", "strings.parquet"), ("fable", "tokens.json")])
def test_a_damaged_raw_file_is_named_with_the_command(copy: Path, task: str, name: str) -> None:
    params = config.load()
    generate.run(task, params)
    path = Path("data/raw") / task / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadInput, match=rf"{name} is damaged .*dvc repro --force generate@{task}"):
        split.run(task, params)
