from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import data
from pipeline.errors import BadInput
from pipeline.tasks import bits

CARD = data.Card("bits", "bits-20", (20, 1), [str(i) for i in range(21)], bits.ENCODING)


def parts(folder: Path, length: int, train: int, seed: int = 1) -> data.Examples:
    bits.generate(bits.Generate(length=length), Path("unused"), folder)
    return bits.split(bits.Split(train=train), folder, np.random.default_rng(seed))


@given(st.text("01", min_size=20, max_size=20))
def test_read_features_and_write_agree_with_the_text(text: str) -> None:
    code = bits.read(text, CARD)
    assert "".join("01"[int(step)] for step in bits.features(code[None], (20, 1))[0, :, 0]) == text
    assert bits.write(code, CARD.labels) == text


def test_counts_are_what_counting_says(tmp_path: Path) -> None:
    bits.generate(bits.Generate(length=10), Path("unused"), tmp_path)
    table = pd.read_parquet(tmp_path / "strings.parquet")
    assert [f"{number:b}".count("1") for number in table["number"]] == table["ones"].tolist()
    assert len(table) == 1024


def test_the_parts_partition_all_strings(tmp_path: Path) -> None:
    examples = parts(tmp_path, length=10, train=100)
    train, test = examples.part("train")[0], examples.part("test")[0]
    assert len(train) == 100
    assert sorted(np.concatenate([train, test])[:, 0].tolist()) == list(range(1024))


def test_the_seed_draws_the_training_strings(tmp_path: Path) -> None:
    first, again, other = (parts(tmp_path, 8, 50, seed).part("train")[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_all_but_ten_thousand_of_all_strings_of_twenty_bits_test(tmp_path: Path) -> None:
    assert len(parts(tmp_path, 20, 10_000).part("test")[0]) == 1_038_576


def test_more_training_strings_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"tasks\.bits\.split\.train asks for 256 of the 256 strings"):
        parts(tmp_path, 8, 256)


@pytest.mark.parametrize(("column", "row", "value"), [("number", 7, 9), ("ones", 3, 5)])
def test_a_wrong_row_is_named(tmp_path: Path, column: str, row: int, value: int) -> None:
    bits.generate(bits.Generate(length=4), Path("unused"), tmp_path)
    table = pd.read_parquet(tmp_path / "strings.parquet")
    table.loc[row, column] = value
    table.to_parquet(tmp_path / "strings.parquet")
    with pytest.raises(BadInput, match=rf"strings\.parquet, row {row}: {column} is {value}, expected"):
        bits.split(bits.Split(train=4), tmp_path, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0" * 19, "has 19 bits, expected 20"),
        ("0" * 19 + "2", "holds '2', expected 20 characters, each 0 or 1"),
        ("", "has 0 bits, expected 20"),
        ("\u0660" * 20, "holds '\u0660'"),
    ],
)
def test_what_is_no_string_of_bits_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        bits.read(text, CARD)
