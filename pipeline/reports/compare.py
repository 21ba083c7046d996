"""Runs beside each other: what differs between them, their metrics, and whether the difference is more than chance."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from tabulate import tabulate

from pipeline.lineage.snapshot import RunSummary
from pipeline.reports.metrics import Metric, facts, metric
from pipeline.reports.significance import paired_test, why_none

Key = TypeVar("Key")
ROW_EACH = 4  # from so many runs on, a run is a row of the table instead of a column


def differences(group: Sequence[RunSummary]) -> pd.DataFrame:
    """The parameters and inputs that differ, then all metrics: a row for each, a column for each run.

    A parameter or input that a run does not have is "-"; hashes are cut to seven characters.
    """
    params = _that_differ(_by_key([{"model": run.model} | run.params for run in group], "-"))
    inputs = _that_differ(_by_key([run.provenance.inputs for run in group], "-"))
    metrics = _by_key([facts(run.metrics) for run in group], None)
    rows: dict[str, list[Any]] = {
        **params,
        **{path: [md5[:7] for md5 in hashes] for path, hashes in inputs.items()},
        **{known.title: values for known, values in metrics.items()},
    }
    return pd.DataFrame(list(rows.values()), index=list(rows), columns=[run.name for run in group])


def table(group: Sequence[RunSummary], markdown: bool = False) -> str:
    """The differences as text.

    Two runs are two columns, and a third holds the difference of each metric. From ROW_EACH runs on, each is a row, and
    the best is the first.
    """
    if len(group) >= ROW_EACH:
        group = sorted(group, key=lambda run: -run.metrics.get("accuracy", 0.0))
    frame = differences(group)
    metrics = {known.title: known for run in group for known in facts(run.metrics)}
    headers = ["", *frame.columns]
    rows = []
    for label, values in zip(frame.index, frame.to_numpy().tolist(), strict=True):
        row = [label, *(_cell(value, metrics.get(label)) for value in values)]
        if len(group) == 2:
            row.append(_difference(values, metrics.get(label)))
        rows.append(row)
    if len(group) == 2:
        headers.append("difference")
    if len(group) >= ROW_EACH:
        headers, *rows = [list(column) for column in zip(headers, *rows, strict=True)]
    alignment = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(rows, headers, "github" if markdown else "simple", disable_numparse=True, colalign=alignment)


def over_seeds(group: Sequence[RunSummary], markdown: bool = False) -> str:
    """The mean accuracy and its standard deviation over the runs that differ in nothing but the seed, the best first.

    "" unless some runs do.
    """
    same: dict[tuple[tuple[str, str], ...], list[RunSummary]] = {}
    for run in group:
        params = {"model": run.model} | run.params
        same.setdefault(tuple((key, value) for key, value in params.items() if key != "seed"), []).append(run)
    if len(same) == len(group):
        return ""
    differing = _that_differ(_by_key([dict(params) for params in same], "-"))
    rows = []
    for place, runs in enumerate(same.values()):
        accuracy = pd.Series([run.metrics["accuracy"] for run in runs])
        cells = [*(values[place] for values in differing.values()), len(runs), metric("accuracy").mean(accuracy)]
        rows.append((accuracy.mean(), cells))
    best_first = [cells for _, cells in sorted(rows, key=lambda row: -row[0])]
    headers = [*differing, "seeds", "mean accuracy"]
    return tabulate(best_first, headers, "github" if markdown else "simple", disable_numparse=True)


def text(groups: Sequence[Sequence[RunSummary]], picture: Path, markdown: bool = False) -> str:
    """For each group its title, its table and the paired tests; at the end the name of the picture of the curves."""
    paragraphs = []
    for group in groups:
        title = " and ".join(dict.fromkeys(run.model for run in group))
        paragraphs += [f"### {title}" if markdown else title, table(group, markdown)]
        if seeds := over_seeds(group, markdown) if len(group) >= ROW_EACH else "":
            paragraphs.append(seeds)
        tests = [_paired_line(group[0], run) for run in group[1:]]
        if markdown:
            tests = [f"- {test}" for test in tests]
        if len(group) > 2:
            tests.insert(0, f"Against {group[0].name}:" + ("\n" if markdown else ""))
        paragraphs.append("\n".join(tests))
    paragraphs.append(f"![learning curves]({picture})" if markdown else f"learning curves: {picture}")
    return "\n\n".join(paragraphs)


def as_json(groups: Sequence[Sequence[RunSummary]], picture: Path) -> str:
    """The same as JSON: for each group its runs, for each run what differs, and the paired tests."""
    content = [
        {
            "runs": [{"id": run.id, "name": run.name, "model": run.model, "metrics": run.metrics} for run in group],
            "differences": json.loads(differences(group).T.to_json(orient="records")),
            "paired": [vars(test) for run in group[1:] if (test := paired_test(group[0], run))],
        }
        for group in groups
    ]
    return json.dumps({"groups": content, "picture": str(picture)}, indent=2, ensure_ascii=False)


def _by_key(mappings: Sequence[Mapping[Key, Any]], missing: Any) -> dict[Key, list[Any]]:
    """The values of each key, one of each mapping; `missing` where a mapping does not have the key."""
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)  # in the order of their first appearance
    return {key: [mapping.get(key, missing) for mapping in mappings] for key in keys}


def _that_differ(rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _cell(value: Any, known: Metric | None) -> str:
    if pd.isna(value):
        return "-"
    return known.number(value) if known else str(value)


def _difference(values: list[Any], known: Metric | None) -> str:
    first, other = values
    if known is None or pd.isna(first) or pd.isna(other) or first == other:
        return ""
    return known.difference(other - first)


def _paired_line(first: RunSummary, other: RunSummary) -> str:
    return str(paired_test(first, other) or f"{other.name}: no paired test, {why_none(first, other)}")
