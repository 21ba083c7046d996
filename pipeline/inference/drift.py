"""Are the inputs that a model is given like those it was tested on, and is it as sure of them? A test for each measure.

Numbers: the two-sample test of Kolmogorov and Smirnov. Names, such as predicted classes: Pearson's chi-squared test of
both tables of counts, with rare names together. Each p is multiplied by the number of tests (Bonferroni).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tabulate import tabulate

from pipeline.dataset import load_examples
from pipeline.errors import shortened
from pipeline.files import md5
from pipeline.inference.predict import Predictor
from pipeline.inference.usage import Entry
from pipeline.paths import TaskPaths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIGNIFICANCE = 0.01  # a smaller p is called drift
LEAST = 20  # entries, below which nothing is said
SAMPLE = 2000  # examples of the test set
EXPECTED = 5.0  # of each name, on average, in both tables; rarer ones are counted together
OTHERS = "others"
SHOWN = 12  # names in a figure
Values = Sequence[float | str]


@dataclass(frozen=True)
class Comparison:
    """One measure: its values in the log, those of the test set, and the probability of so large a difference."""

    measure: str
    logged: Values
    tested: Values
    p: float  # after Bonferroni

    @property
    def differs(self) -> bool:
        """Whether it differs by more than chance."""
        return self.p < SIGNIFICANCE


@dataclass(frozen=True)
class Drift:
    """What was found for one model."""

    model: str
    entries: int  # that were compared
    refused: int
    of_others: int  # of another file than models/MODEL/export has now
    comparisons: list[Comparison]

    def __str__(self) -> str:
        """A table, with what was left out."""
        head = f"{self.model}: {self.entries:,} predictions, "
        head += "compared with its test set" if self.comparisons else f"of {LEAST} that are needed to compare them"
        head += f"; {self.refused:,} inputs were refused" if self.refused else ""
        head += f"; {self.of_others:,} predictions of another export are left out" if self.of_others else ""
        if not self.comparisons:
            return head
        rows = [
            [each.measure, _typical(each.logged), _typical(each.tested), f"{each.p:.2g}", "differs" * each.differs]
            for each in self.comparisons
        ]
        return f"{head}\n{tabulate(rows, ['measure', 'log', 'test set', 'p', ''], disable_numparse=True)}"


def find(predictor: Predictor, entries: Sequence[Entry]) -> Drift:
    """Compare the entries of a model with its test set; too few of them with nothing."""
    onnx = md5(predictor.onnx)
    ours = [entry for entry in entries if entry.model == predictor.name]
    current = [entry for entry in ours if entry.onnx == onnx]
    predicted = [entry for entry in current if entry.label is not None]
    enough = len(predicted) >= LEAST
    logged = _by_measure([_values(entry.measures, entry.label, entry.probability) for entry in predicted])
    tested = _by_measure(_of_tests(predictor)) if enough else {}
    shared = [name for name in tested if name in logged]
    comparisons = [
        Comparison(name, logged[name], tested[name], min(1.0, len(shared) * p_value(logged[name], tested[name])))
        for name in shared
    ]
    return Drift(predictor.name, len(predicted), len(current) - len(predicted), len(ours) - len(current), comparisons)


def p_value(logged: Values, tested: Values) -> float:
    """The probability that two samples of one distribution differ so much: of numbers, or of names."""
    from scipy.stats import chi2_contingency, ks_2samp

    if not any(isinstance(value, str) for value in (*logged, *tested)):
        return float(ks_2samp(logged, tested).pvalue)
    tables = [Counter(map(str, values)) for values in (logged, tested)]
    smaller = min(len(logged), len(tested)) / (len(logged) + len(tested))
    common = {name for name in tables[0] | tables[1] if smaller * sum(t[name] for t in tables) >= EXPECTED}
    tables = [Counter(name if name in common else OTHERS for name in map(str, v)) for v in (logged, tested)]
    names = sorted(tables[0] | tables[1])
    return float(chi2_contingency([[t[name] for name in names] for t in tables]).pvalue) if len(names) > 1 else 1.0


def draw(found: Sequence[Drift]) -> "Figure":
    """A row for each model, and in it a panel for each measure: the log in red, the test set in grey."""
    from matplotlib.figure import Figure

    columns = max(len(drift.comparisons) for drift in found)
    figure = Figure(figsize=(3.4 * columns, 2.6 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), columns, squeeze=False)
    for row, drift in zip(panels, found, strict=True):
        for axes in row[len(drift.comparisons) :]:
            axes.axis("off")
        for axes, comparison in zip(row, drift.comparisons, strict=False):
            _panel(axes, comparison)
        row[0].set_ylabel(f"{drift.model}\nshare")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _panel(axes: "Axes", comparison: Comparison) -> None:
    both = {"test set": (comparison.tested, "#8a939c"), "log": (comparison.logged, "#c0392b")}
    if any(isinstance(value, str) for value in comparison.logged):
        counts = {name: Counter(map(str, values)) for name, (values, _) in both.items()}
        shares = {name: {key: n / count.total() for key, n in count.items()} for name, count in counts.items()}
        names = sorted(
            set().union(*shares.values()), key=lambda key: (-max(s.get(key, 0) for s in shares.values()), key)
        )
        shown = sorted(names[:SHOWN], key=lambda name: name.zfill(SHOWN) if name.isdigit() else name)
        for shift, (name, (_, colour)) in zip((-0.2, 0.2), both.items(), strict=True):
            axes.bar(
                np.arange(len(shown)) + shift,
                [shares[name].get(key, 0) for key in shown],
                0.4,
                color=colour,
                label=name,
            )
        labels = [shortened(name, 20).replace("$", r"\$") for name in shown]
        axes.set_xticks(range(len(shown)), labels, rotation=90 if max(map(len, shown)) > 2 else 0)
    else:
        numbers = {name: np.array(values, float) for name, (values, _) in both.items()}
        edges = np.histogram_bin_edges(np.concatenate([*numbers.values()]), 20)
        for name, values in numbers.items():
            weights = np.full(len(values), 1 / len(values))
            axes.hist(
                values,
                edges.tolist(),
                weights=weights,
                histtype="stepfilled",
                alpha=0.6,
                color=both[name][1],
                label=name,
            )
        axes.locator_params(axis="x", nbins=4)
    verdict = "differs" if comparison.differs else "within chance"
    axes.set_title(f"{comparison.measure}: {verdict}, p = {comparison.p:.2g}", fontsize=9)


def _of_tests(predictor: Predictor) -> list[dict[str, float | str]]:
    """The measures of examples of the evaluated split, drawn at random, and what the model predicts for them."""
    examples = load_examples(TaskPaths(predictor.info.task))
    size = examples.info.splits[examples.info.eval_split]
    drawn = np.sort(np.random.default_rng(0).choice(size, min(SAMPLE, size), replace=False))
    some, first = [], 0
    for number in range(examples.chunks):
        encoded, _ = examples.chunk(number)
        some.append(encoded[drawn[(drawn >= first) & (drawn < first + len(encoded))] - first])
        first += len(encoded)
    encoded = np.concatenate(some)
    names, scores = predictor.info.class_names, predictor.scores(encoded)
    return [
        _values(predictor.measures(code), names[row.argmax()], float(row.max()))
        for code, row in zip(encoded, scores, strict=True)
    ]


def _values(
    measures: Mapping[str, float | str], label: str | None, probability: float | None
) -> dict[str, float | str]:
    values = {**measures, "prediction": label or ""}
    return values if probability is None else values | {"probability": probability}


def _by_measure(rows: Sequence[Mapping[str, float | str]]) -> dict[str, Values]:
    """The values of each measure."""
    return {
        name: [row[name] for row in rows if name in row] for name in dict.fromkeys(name for row in rows for name in row)
    }


def _typical(values: Values) -> str:
    """The mean of numbers; of names, the most frequent one and its share."""
    if not any(isinstance(value, str) for value in values):
        return f"{np.mean(np.array(values, float)):.4g}"
    (name, count), *_ = Counter(map(str, values)).most_common(1)
    return f"{shortened(name)} ({count / len(values):.0%})"
