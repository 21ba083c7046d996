"""Whether a model may become the champion: it reaches the floor, and is not worse than the present champion."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Champion:
    """The present champion, and its accuracy on the challenger's test data; None if it cannot read them."""

    name: str  # for people: "version 3"
    accuracy: float | None


@dataclass(frozen=True)
class Verdict:
    """What the gate decided about one model, and why."""

    model: str
    passed: bool
    accuracy: float
    floor: float
    champion: Champion | None
    reasons: list[str]


def judge(
    model: str, dataset: str, stand_in: bool, accuracy: float, floor: float, champion: Champion | None
) -> Verdict:
    """Judge a model by its accuracy (0 to 1) on `dataset`. The verdict has the reason of each check, passed or not."""
    checks = [_check_dataset(dataset, stand_in), _check_floor(accuracy, floor), _check_champion(accuracy, champion)]
    return Verdict(
        model, all(passed for passed, _ in checks), accuracy, floor, champion, [reason for _, reason in checks]
    )


def _check_dataset(dataset: str, stand_in: bool) -> tuple[bool, str]:
    if stand_in:
        return False, f"it was measured on {dataset}, which only stands in for another dataset"
    return True, f"it was measured on {dataset} itself"


def _check_floor(accuracy: float, floor: float) -> tuple[bool, str]:
    passed = accuracy >= floor
    how = "at least" if passed else "below"
    own, least = _distinct_percents(accuracy, floor)
    return passed, f"its accuracy of {own} is {how} the floor of {least}"


def _check_champion(accuracy: float, champion: Champion | None) -> tuple[bool, str]:
    if champion is None:
        return True, "there is no champion yet"
    if champion.accuracy is None:
        return True, f"the champion ({champion.name}) cannot read these test data, so only the floor counts"
    passed = accuracy >= champion.accuracy
    how = "not worse" if passed else "worse"
    own, other = _distinct_percents(accuracy, champion.accuracy)
    reason = f"with {own} it is {how} than the champion ({champion.name}), which has {other} on the same test data"
    return passed, reason


def _distinct_percents(one: float, other: float) -> tuple[str, str]:
    """Two accuracies in percent, with three to nine decimals: as many as it takes to tell them apart."""
    for digits in range(3, 10):
        texts = f"{one:.{digits}%}", f"{other:.{digits}%}"
        if texts[0] != texts[1]:
            return texts
    return f"{one:.3%}", f"{other:.3%}"
