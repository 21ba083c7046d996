"""Whether a model may become the champion: a floor, and not worse than today's, on the same test data."""

from dataclasses import dataclass

from pipeline import data


@dataclass(frozen=True)
class Champion:
    """Who holds the title; its accuracy on the challenger's test data, None where it cannot read them."""

    name: str  # as a person calls it: "version 3"
    accuracy: float | None


@dataclass(frozen=True)
class Verdict:
    """What the gate said of one model, and why."""

    model: str
    passed: bool
    accuracy: float
    floor: float
    champion: Champion | None
    reasons: list[str]


def judge(model: str, dataset: str, accuracy: float, floor: float, champion: Champion | None) -> Verdict:
    """Judge a model by its accuracy (0 to 1) on `dataset`; every reason stands in the verdict, passed or not."""
    checks = [_stands_for_itself(dataset), _floor(accuracy, floor), _champion(accuracy, champion)]
    return Verdict(
        model, all(passed for passed, _ in checks), accuracy, floor, champion, [reason for _, reason in checks]
    )


def _stands_for_itself(dataset: str) -> tuple[bool, str]:
    if dataset in data.STAND_INS:
        return False, f"it was measured on {dataset}, which only stands in for another data set"
    return True, f"it was measured on {dataset} itself"


def _floor(accuracy: float, floor: float) -> tuple[bool, str]:
    reached = accuracy >= floor
    how = "at least" if reached else "below"
    mine, least = _apart(accuracy, floor)
    return reached, f"its accuracy of {mine} is {how} the floor of {least}"


def _champion(accuracy: float, champion: Champion | None) -> tuple[bool, str]:
    if champion is None:
        return True, "there is no champion yet"
    if champion.accuracy is None:
        return True, f"the champion ({champion.name}) cannot read these test data, so only the floor counts"
    holds = accuracy >= champion.accuracy
    mine, theirs = _apart(accuracy, champion.accuracy)
    how = "not worse" if holds else "worse"
    reason = f"with {mine} it is {how} than the champion ({champion.name}), which has {theirs} on the same test data"
    return holds, reason


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two shares in per cent, with as many digits as tell them apart."""
    for digits in range(3, 10):
        texts = f"{one:.{digits}%}", f"{other:.{digits}%}"
        if texts[0] != texts[1]:
            return texts
    return f"{one:.3%}", f"{other:.3%}"
