"""Which model becomes the champion."""

import pytest

from pipeline.config import Gate
from pipeline.tracking import gate
from pipeline.tracking.gate import Champion


def judge(accuracy: float, floor: float, champion: Champion | None = None, stand_in: bool = False) -> gate.Verdict:
    metrics = {"dataset": "a-dataset", "stand_in": stand_in, "accuracy": accuracy}
    return gate.judge("a-model", metrics, Gate(floor=floor), champion)


@pytest.mark.parametrize(("accuracy", "passed"), [(0.79, False), (0.8, True)])
def test_a_class_that_is_rarely_right_stops_a_model_with_a_good_accuracy(accuracy: float, passed: bool) -> None:
    metrics = {"dataset": "a-dataset", "stand_in": False, "accuracy": 0.99}
    metrics |= {"worst_class": "7", "worst_class_accuracy": accuracy}
    verdict = gate.judge("a-model", metrics, Gate(floor=0.9, worst_class=0.8), None)
    assert verdict.passed == passed
    how = "at least" if passed else "below"
    assert f"the accuracy of its worst class, 7, of {accuracy:.3%} is {how} the floor of 80.000%" in verdict.reasons


def test_the_first_needs_only_the_floor() -> None:
    verdict = judge(0.9, 0.8)
    assert verdict.passed
    assert verdict.reasons == [
        "it was measured on a-dataset itself",
        "its accuracy of 90.000% is at least the floor of 80.000%",
        "there was no champion to compare it with",
    ]


def test_the_floor_itself_is_enough() -> None:
    assert judge(0.995, 0.995).passed
    assert judge(1.0, 1.0).passed
    assert judge(0.0, 0.0).passed


def test_below_the_floor_it_does_not_pass_even_if_better_than_the_champion() -> None:
    verdict = judge(0.7999, 0.8, Champion("version 1", 0.1))
    assert not verdict.passed
    assert "its accuracy of 79.990% is below the floor of 80.000%" in verdict.reasons
    assert (
        "with 79.990% it is not worse than the champion (version 1), which has 10.000% on the same test data"
        in verdict.reasons
    )


@pytest.mark.parametrize(("accuracy", "passed"), [(0.9499, False), (0.95, True), (0.9501, True)])
def test_it_must_not_be_worse_than_the_champion(accuracy: float, passed: bool) -> None:
    verdict = judge(accuracy, 0.5, Champion("version 3", 0.95))
    assert verdict.passed == passed
    reason = f"with {accuracy:.3%} it is {'not worse' if passed else 'worse'} than"
    assert f"{reason} the champion (version 3), which has 95.000% on the same test data" in verdict.reasons


@pytest.mark.parametrize(("accuracy", "passed"), [(0.49, False), (0.5, True)])
def test_against_a_champion_that_cannot_read_the_data_only_the_floor_counts(accuracy: float, passed: bool) -> None:
    verdict = judge(accuracy, 0.5, Champion("version 2", None))
    assert verdict.passed == passed
    assert "the champion (version 2) cannot read these test data, so only the floor counts" in verdict.reasons


@pytest.mark.parametrize("champion", [None, Champion("version 1", 0.1), Champion("version 1", None)])
def test_a_stand_in_never_passes(champion: Champion | None) -> None:
    verdict = judge(1.0, 0.0, champion, stand_in=True)
    assert not verdict.passed
    assert "it was measured on a-dataset, which only stands in for another dataset" in verdict.reasons


def test_no_accuracy_at_all_does_not_pass() -> None:
    assert not judge(float("nan"), 0.0).passed
    assert not judge(float("nan"), 0.0, Champion("version 1", 0.0)).passed


def test_every_reason_is_in_the_verdict() -> None:
    verdict = judge(0.2, 0.9, Champion("version 1", 0.3), stand_in=True)
    assert not verdict.passed
    assert verdict.reasons == [
        "it was measured on a-dataset, which only stands in for another dataset",
        "its accuracy of 20.000% is below the floor of 90.000%",
        "with 20.000% it is worse than the champion (version 1), which has 30.000% on the same test data",
    ]
    assert (verdict.model, verdict.accuracy, verdict.floor) == ("a-model", 0.2, 0.9)
    assert verdict.champion == Champion("version 1", 0.3)


def test_two_accuracies_that_differ_do_not_look_the_same() -> None:
    """One prediction in a million decides here, too: the reason must show it."""
    verdict = judge(0.9949999, 0.995, Champion("version 1", 0.9950001))
    assert not verdict.passed
    assert verdict.reasons[1:] == [
        "its accuracy of 99.49999% is below the floor of 99.50000%",
        "with 99.49999% it is worse than the champion (version 1), which has 99.50001% on the same test data",
    ]
