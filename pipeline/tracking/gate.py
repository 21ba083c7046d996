"""Whether a model may become the champion: it reaches the floors, and is not worse than the present champion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import Gate


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


def judge(model: str, metrics: Mapping[str, Any], gate: Gate, champion: Champion | None) -> Verdict:
    """Judge a model by its metrics.json. The verdict has the reason of each check, passed or not."""
    accuracy, stand_in = float(metrics["accuracy"]), metrics["stand_in"]
    itself = ", which only stands in for another dataset" if stand_in else " itself"
    checks = [
        (not stand_in, f"it was measured on {metrics['dataset']}{itself}"),
        _check_floor("its accuracy", accuracy, gate.floor),
    ]
    if gate.worst_class:
        name = f"the accuracy of its worst class, {metrics['worst_class']},"
        checks.append(_check_floor(name, float(metrics["worst_class_accuracy"]), gate.worst_class))
    checks.append(_check_champion(accuracy, champion))
    passed, reasons = zip(*checks, strict=True)
    return Verdict(model, all(passed), accuracy, gate.floor, champion, list(reasons))


def _check_floor(name: str, accuracy: float, floor: float) -> tuple[bool, str]:
    passed = accuracy >= floor
    how = "at least" if passed else "below"
    own, least = _distinct_percents(accuracy, floor)
    return passed, f"{name} of {own} is {how} the floor of {least}"


def _check_champion(accuracy: float, champion: Champion | None) -> tuple[bool, str]:
    if champion is None:
        return True, "there was no champion to compare it with"
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
