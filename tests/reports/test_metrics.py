"""What is known of each metric."""

import math

import pytest

from pipeline.lineage.artifacts import numeric
from pipeline.reports.metrics import METRICS, facts, metric


@pytest.mark.parametrize(
    ("name", "value", "number", "text", "difference"),
    [
        ("accuracy", 0.125, "12.500%", "12.500%", "+12.500 points"),
        ("accuracy_first_256", 0.5, "50.000%", "50.000%", "+50.000 points"),
        ("ceiling", 1.0, "100.000%", "100.000%", "+100.000 points"),
        ("wrong", 1000, "1,000", "1,000", "+1,000"),
        ("loss", 0.123456, "0.1235", "0.1235", "+0.1235"),
        ("training_seconds", 2.5, "2.5", "2.5 s", "+2.5 s"),
        ("peak_memory_mib", 1234.0, "1,234", "1,234 MiB", "+1,234 MiB"),
        ("of_a_new_task", -2, "-2", "-2", "-2"),
    ],
)
def test_a_metric_is_shown_in_its_unit(name: str, value: float, number: str, text: str, difference: str) -> None:
    known = metric(name)
    assert (known.number(value), known.text(value), known.difference(value)) == (number, text, difference)


def test_the_loss_has_another_name_in_tables() -> None:
    assert metric("loss").title == "test_loss"
    renamed = {"loss", "expected_calibration_error", "expected_calibration_error_by_chance"}
    assert {name for name, known in METRICS.items() if known.title != name} == renamed


def test_only_numbers_are_metrics() -> None:
    content = {"dataset": "mnist", "stand_in": False, "wrong": 3, "accuracy": 0.5, "missing": None}
    assert numeric(content) == {"wrong": 3, "accuracy": 0.5}


def test_the_facts_of_a_model_have_one_order_and_are_numbers() -> None:
    known = {
        "training_seconds": 2.5,
        "wrong": 3,
        "of_a_task": 7,
        "accuracy": 0.5,
        "ceiling": math.nan,
        "loss": None,
    }
    shown = facts(known | {"dataset": "mnist", "stand_in": False})
    assert [(fact.title, value) for fact, value in shown.items()] == [
        ("accuracy", 0.5),
        ("wrong", 3),
        ("of_a_task", 7),
        ("training_seconds", 2.5),
    ]
