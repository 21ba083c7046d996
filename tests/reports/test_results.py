"""The table of results, and the same table in documents."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline import config
from pipeline.formats import write_csv
from pipeline.reports import results
from tests.harness import project

TABLE = pd.DataFrame(
    [
        [
            *("bits-lstm24", "bits-20", "fast", 1038576, 526, 0.999493537, 0.95, "20", 0.0),
            *(None, 8_304_947, 0.997, 11.31, "CPU (2 cores)", "0123456"),
        ],
        [
            *("mnist-lstm128", "uci-digits", "fast", 1797, 20, 0.98887, 0.98, "8", 0.94444),
            *(None, None, None, None, None, "0123456"),
        ],
    ],
    columns=list(results.COLUMNS),
)
# ruff: noqa: E501
MARKDOWN = """\
| model         | dataset    | recipe   |            wrong |   accuracy |   worst class |       proven to |   reference |   training |
|:--------------|:-----------|:---------|-----------------:|-----------:|--------------:|----------------:|------------:|-----------:|
| bits-lstm24   | bits-20    | fast     | 526 of 1,038,576 |    99.949% |     `20` 0.0% | 8,304,947 steps |      99.70% |     11.3 s |
| mnist-lstm128 | uci-digits | fast     |      20 of 1,797 |    98.887% |     `8` 94.4% |               - |           - |          - |"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_csv(TABLE, tmp_path / "results" / "fast.csv")
    return tmp_path


def test_the_table_has_units_and_a_dash_where_a_value_is_missing() -> None:
    assert results.show(TABLE) == MARKDOWN


def test_a_document_shows_a_csv_file_between_blank_lines(folder: Path) -> None:
    assert results.markdown(str(folder / "results" / "fast.csv")) == f"\n{MARKDOWN}\n\n"


def test_results_of_several_seeds_become_means_and_deviations(tmp_path: Path) -> None:
    rows = [
        {"model": "m", "dataset": "d", "recipe": "best", "seed": seed, "examples": 1000, "wrong": wrong}
        | {"accuracy": 1 - wrong / 1000, "reference": 0.9, "seconds": 10.0 * seed}
        for seed, wrong in ((1, 10), (2, 20), (3, 30))
    ]

    def cells(rows: list[dict[str, Any]]) -> list[str]:
        pd.DataFrame(rows).to_csv(tmp_path / "seeds.csv", index=False)
        text = results.markdown(str(tmp_path / "seeds.csv"))
        return [cell.strip() for cell in text.splitlines()[3].split("|")[1:-1]]

    assert cells(rows) == ["m", "d", "best", "3", "10, 20, 30 of 1,000", "98.000% ± 1.000", "90.00%", "20 s"]
    printed = [row | {"training_accuracy": accuracy} for row, accuracy in zip(rows, (0.7, 0.8, 0.9), strict=True)]
    assert cells(printed)[5:7] == ["98.000% ± 1.000", "80.000% ± 10.000"]


def test_a_reference_of_another_dataset_is_left_out(trained_project: Path) -> None:
    def reference() -> float | None:
        rows = results.collect(config.load()).set_index("model").to_dict("index")
        value = rows["fable-lstm512"]["reference"]
        return None if pd.isna(value) else float(value)

    assert reference() is None, "the published program had another telling"
    project.change(trained_project, "models.fable-lstm512.reference.dataset", "belling_the_cat_retold")
    assert reference() == 0.906
