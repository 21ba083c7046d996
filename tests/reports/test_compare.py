"""Runs beside each other: tables, the paired test, the learning curves."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.figure import write_figure
from pipeline.lineage.provenance import Provenance
from pipeline.lineage.snapshot import NO_HISTORY, RunSummary
from pipeline.reports import compare, curves, significance

PICTURE = Path("curves.png")
EXAMPLES = "data/split/bits/examples.npy"
INFO = "data/split/bits/info.json"


def predictions(right: list[bool]) -> pd.DataFrame:
    predicted = [1 if each else 2 for each in right]
    return pd.DataFrame({"example": range(len(right)), "target": 1, "predicted": predicted})


def a_run(name: str, predicted: pd.DataFrame | None = None, **other: Any) -> RunSummary:
    """A run by hand; `other` replaces its fields and those of its provenance."""
    step = pd.Index([10, 20], name="step")
    made_from: dict[str, Any] = {
        "model": "bits-lstm24",
        "task": "bits",
        "recipe": "fast",
        "commit": "",
        "uncommitted": False,
        "experiment": "",
        "params": {"learning_rate": 0.01, "steps": 20},
        "inputs": {EXAMPLES: "0123456789abcdef", INFO: "0f"},
        "outputs": {},
        "environment": {},
    }
    fields: dict[str, Any] = {
        "id": f"{name}-id",
        "name": name,
        "metrics": {"accuracy": 0.5, "wrong": 1000.0, "training_seconds": 2.5},
        "history": pd.DataFrame({"loss": [2.0, 1.0], "accuracy": [0.25, 0.5]}, index=step),
        "predictions": predicted,
    }
    if predicted is not None and "target" in predicted:
        wrong = (predicted["target"] != predicted["predicted"]).sum()
        fields["metrics"] |= {"examples": float(len(predicted)), "wrong": float(wrong)}
    made_from |= {key: other.pop(key) for key in set(other) & set(made_from)}
    return RunSummary(**(fields | {"provenance": Provenance(**made_from)} | other))


def exact(better: int, worse: int) -> float:
    """McNemar's p by hand: of fair coins, how often is a split as uneven as this one, or more?"""
    coins = better + worse
    tail = sum(math.comb(coins, heads) for heads in range(min(better, worse) + 1)) / 2**coins
    return min(1.0, float(2 * tail))


@pytest.mark.parametrize(
    ("better", "worse"), [(0, 0), (1, 0), (0, 1), (5, 5), (1, 8), (8, 1), (0, 10), (3, 17), (40, 61)]
)
def test_the_paired_test_is_mcnemar_s_exact_one(better: int, worse: int) -> None:
    first = [False] * better + [True] * worse + [True] * 7 + [False] * 4
    other = [True] * better + [False] * worse + [True] * 7 + [False] * 4
    test = significance.paired_test(a_run("first", predictions(first)), a_run("other", predictions(other)))
    assert test is not None
    assert (test.run, test.examples, test.better, test.worse) == ("other", better + worse + 11, better, worse)
    assert test.p == pytest.approx(exact(better, worse), rel=1e-9)


@pytest.mark.parametrize(("better", "verdict"), [(5, "within chance"), (6, "better by more than chance")])
def test_its_sentence_says_whether_it_is_more_than_chance(better: int, verdict: str) -> None:
    assert (exact(5, 0) > significance.SIGNIFICANCE > exact(6, 0)) and significance.SIGNIFICANCE == 0.05
    test = significance.paired_test(a_run("a", predictions([False] * better)), a_run("b", predictions([True] * better)))
    assert str(test) == (
        f"b: of the same {better} examples, {better} that were wrong are right and 0 that were right are wrong; "
        f"p = {exact(better, 0):.2g}, {verdict}"
    )


def test_a_p_that_is_too_small_to_compute_is_not_zero() -> None:
    many = 2000
    test = significance.paired_test(a_run("a", predictions([True] * many)), a_run("b", predictions([False] * many)))
    assert str(test).endswith("p < 1e-300, worse by more than chance")


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": {EXAMPLES: "another hash"}},
        {"inputs": {}},
        {"task": "mnist"},
        {"predictions": None},
        {"predictions": predictions([True, True, True])},
    ],
    ids=["other data", "data unknown", "other task", "no predictions", "other number of predictions"],
)
def test_only_predictions_for_the_same_examples_are_paired(other: dict[str, Any]) -> None:
    first = a_run("first", predictions([True, False]))
    assert significance.paired_test(first, a_run("same", predictions([True, True]))) is not None
    second = a_run("other", **({"predictions": predictions([True, True])} | other))
    assert significance.paired_test(first, second) is None
    assert significance.paired_test(second, first) is None
    known = "predictions" not in other
    reason = "other test examples" if known else "the predictions of other are not on this machine"
    assert f"other: no paired test, {reason}" in compare.text([[first, second]], PICTURE)


def test_runs_whose_data_are_not_known_are_not_paired() -> None:
    pair = [a_run(name, predictions([True]), inputs={}) for name in "ab"]
    assert significance.paired_test(pair[0], pair[1]) is None


def test_the_rows_are_what_differs_then_all_metrics() -> None:
    group = [
        a_run("a", inputs={EXAMPLES: "0123456789", "pipeline/networks/keras_network.py": "aaaaaaaaaa"}),
        a_run(
            "b",
            params={"learning_rate": "0.02", "steps": "20", "min_probability": "0.1"},
            inputs={EXAMPLES: "0123456789", "pipeline/networks/keras_network.py": "bbbbbbbbbb"},
            metrics={"accuracy": 0.5, "wrong": 1000.0, "training_seconds": 3.0},
        ),
    ]
    frame = compare.differences(group)
    assert list(frame.columns) == ["a", "b"]
    assert list(frame.index) == [
        "learning_rate",
        "min_probability",
        "pipeline/networks/keras_network.py",
        "accuracy",
        "wrong",
        "training_seconds",
    ]
    assert list(frame.loc["learning_rate"]) == ["0.01", "0.02"]
    assert list(frame.loc["min_probability"]) == ["-", "0.1"]
    assert list(frame.loc["pipeline/networks/keras_network.py"]) == ["aaaaaaa", "bbbbbbb"]
    assert list(frame.loc["training_seconds"]) == [2.5, 3.0]


def test_inputs_that_differ_only_at_their_ends_differ() -> None:
    group = [a_run(name, inputs={EXAMPLES: f"0123456-{name}"}) for name in "ab"]
    assert EXAMPLES in compare.differences(group).index


def test_runs_of_other_models_say_which() -> None:
    frame = compare.differences([a_run("a"), a_run("b", model="bits-lstm48")])
    assert list(frame.loc["model"]) == ["bits-lstm24", "bits-lstm48"]


def lines(group: list[RunSummary], markdown: bool = False) -> list[list[str]]:
    return [line.split() for line in compare.table(group, markdown).splitlines()]


def test_two_runs_stand_side_by_side_with_their_difference() -> None:
    group = [
        a_run("a", metrics={"accuracy": 0.5, "wrong": 1000, "training_seconds": 2.5, "loss": 0.25, "ceiling": 0.75}),
        a_run("b", metrics={"accuracy": 0.625, "wrong": 750, "training_seconds": 2.0, "loss": 0.5}),
    ]
    assert lines(group) == [
        ["a", "b", "difference"],
        [*map(str, lines(group)[1])],  # the rule
        ["accuracy", "50.000%", "62.500%", "+12.500", "points"],
        ["wrong", "1,000", "750", "-250"],
        ["ceiling", "75.000%", "-"],
        ["test_loss", "0.25", "0.5", "+0.25"],
        ["training_seconds", "2.5", "2", "-0.5", "s"],
    ]


def test_three_stand_side_by_side_without_one() -> None:
    rows = lines([a_run(name) for name in "abc"])
    assert rows[0] == ["a", "b", "c"]
    assert ["accuracy", "50.000%", "50.000%", "50.000%"] in rows


def test_from_four_on_each_is_a_row() -> None:
    group = [
        a_run(name, params={"learning_rate": name}, metrics={"accuracy": accuracy, "wrong": 7.0})
        for name, accuracy in zip("abcd", (0.5, 0.75, 0.25, 1.0), strict=True)
    ]
    rows = lines(group)
    assert rows[0] == ["learning_rate", "accuracy", "wrong"]
    assert [row[:3] for row in rows[2:]] == [
        *(["d", "d", "100.000%"], ["b", "b", "75.000%"], ["a", "a", "50.000%"], ["c", "c", "25.000%"]),
    ], "the best first"


def test_a_sweep_over_seeds_has_their_mean_and_spread() -> None:
    group = [
        a_run(f"{rate}-{seed}", params={"learning_rate": rate, "seed": str(seed)}, metrics={"accuracy": accuracy})
        for rate, seed, accuracy in (("0.1", 1, 0.5), ("0.1", 2, 0.7), ("0.2", 1, 0.8), ("0.2", 2, 0.9))
    ]
    rows = [line.split() for line in compare.over_seeds(group).splitlines()]
    assert rows[0] == ["learning_rate", "seeds", "mean", "accuracy"]
    assert rows[2:] == [["0.2", "2", "85.000%", "±", "7.071"], ["0.1", "2", "60.000%", "±", "14.142"]]
    assert compare.over_seeds(group) in compare.text([group], PICTURE)
    assert compare.over_seeds(group[::2]) == "", "two runs that differ in more than the seed"


def test_what_is_the_same_has_no_difference() -> None:
    rows = lines([a_run("a", metrics={"examples": 10.0}), a_run("b", metrics={"examples": 10.0})])
    assert ["examples", "10", "10"] in rows


def test_as_text_each_group_has_its_model_its_tests_and_the_picture() -> None:
    group = [a_run(name, predictions([name == "a", True])) for name in "abc"]
    text = compare.text([group, [a_run("d"), a_run("e")]], PICTURE)
    assert text.startswith("bits-lstm24\n\n")
    assert text.count("of the same 2 examples, 0 that were wrong are right and 1 that were right are wrong") == 2
    assert text.count("\nAgainst a:\n") == 1
    assert text.count("no paired test") == 1
    assert text.endswith("learning curves: curves.png")


def test_markdown_is_markdown() -> None:
    group = [
        a_run("a", predictions([True])),
        a_run("b", predictions([True]), params={"learning_rate": "0.02", "steps": "20"}),
    ]
    text = compare.text([group], PICTURE, markdown=True).splitlines()
    assert text[0] == "### bits-lstm24"
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text if line.startswith("|")]
    assert table[0] == ["", "a", "b", "difference"]
    assert all(set(cell) <= set("-:") for cell in table[1])
    assert table[2] == ["learning_rate", "0.01", "0.02", ""]
    assert all(len(row) == 4 for row in table)
    assert [line for line in text if line.startswith("- ")] == [f"- {significance.paired_test(*group)}"]
    assert text[-1] == "![learning curves](curves.png)"


def test_json_holds_the_same() -> None:
    half: dict[str, float] = {"accuracy": 0.5, "ceiling": 0.75, "examples": 2, "wrong": 1}
    whole: dict[str, float] = {"accuracy": 1.0, "examples": 2, "wrong": 0}
    group = [
        a_run("a", predictions([True, False]), metrics=half),
        a_run("b", predictions([True, True]), metrics=whole, params={"learning_rate": "0.02", "steps": "20"}),
    ]
    content = json.loads(compare.as_json([group], PICTURE), parse_constant=pytest.fail)
    assert content["picture"] == "curves.png"
    (entry,) = content["groups"]
    assert [each["name"] for each in entry["runs"]] == ["a", "b"]
    assert [each["id"] for each in entry["runs"]] == ["a-id", "b-id"]
    assert entry["runs"][0]["metrics"] == half
    assert entry["differences"] == [
        {"learning_rate": "0.01", "accuracy": 0.5, "ceiling": 0.75, "examples": 2, "wrong": 1},
        {"learning_rate": "0.02", "accuracy": 1.0, "ceiling": None, "examples": 2, "wrong": 0},
    ]
    assert entry["paired"] == [{"run": "b", "examples": 2, "better": 1, "worse": 0, "p": 1.0}]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_picture_has_a_panel_for_each_group_and_a_line_for_each_run(split: str) -> None:
    monitored = pd.DataFrame(
        {"accuracy": [0.25, 0.5], "batch_accuracy": [0.3, 0.6], f"{split}_accuracy": [0.2, 0.4]}, index=[10, 20]
    )
    groups = [[a_run("a"), a_run("b")], [a_run("c", history=monitored), a_run("d"), a_run("e")]]
    first, second = curves.plot(groups).axes
    assert [line.get_label() for line in first.lines if not str(line.get_label()).startswith("_")] == ["a", "b"]
    assert np.array(first.lines[0].get_data()).tolist() == [[10, 20], [75.0, 50.0]]
    legend = second.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["c", "d", "e"]
    assert np.array(second.lines[0].get_data()).tolist() == [[10, 20], [80.0, 60.0]], "the monitored split"
    (dotted,) = [line for line in second.lines if line.get_linestyle() == ":"]
    assert np.array(dotted.get_data()).tolist() == [[10, 20], [75.0, 50.0]]
    assert dotted.get_color() == second.lines[0].get_color()
    final = [line for line in second.lines if line.get_marker() == "o"]
    assert [line.get_ydata() for line in final] == [[50.0]] * 3, "of the evaluated model"
    assert second.get_yscale() == "symlog"


def test_a_picture_is_saved_as_png(tmp_path: Path) -> None:
    history = pd.DataFrame({"loss": [1.0]}, index=[10])
    runs = a_run("costs $1 and $2"), a_run("no accuracy", history=history), a_run("no history", history=NO_HISTORY)
    write_figure(curves.plot([[*runs]]), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
