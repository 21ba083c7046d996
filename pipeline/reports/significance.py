"""The paired test of two models on the same examples: is one better by more than chance?"""

from dataclasses import dataclass

import numpy as np

from pipeline.lineage.snapshot import RunSummary
from pipeline.paths import TaskPaths

SIGNIFICANCE = 0.05  # a smaller p is called more than chance
SMALLEST = 1e-300  # a smaller p is not computed exactly


@dataclass(frozen=True)
class PairedTest:
    """How the predictions of a run differ from those of the first run on the same examples."""

    run: str
    examples: int
    better: int  # right in this run, wrong in the first
    worse: int  # wrong in this run, right in the first
    p: float  # the probability of a division at least as uneven, if both models were equally good

    def __str__(self) -> str:
        if not self.better + self.worse:
            return f"{self.run}: the same {self.examples:,} examples are right and wrong"
        p = f"p = {self.p:.2g}" if self.p > SMALLEST else f"p < {SMALLEST}"
        which = "better" if self.better > self.worse else "worse"
        verdict = f"{which} by more than chance" if self.p < SIGNIFICANCE else "within chance"
        return (
            f"{self.run}: of the same {self.examples:,} examples, {self.better:,} that were wrong are right and "
            f"{self.worse:,} that were right are wrong; {p}, {verdict}"
        )


def paired_test(first: RunSummary, other: RunSummary) -> PairedTest | None:
    """McNemar's exact test of two runs. None unless both have predictions for the same examples.

    If both models were equally good, an example that only one of them has right would be either's with probability
    1/2, and `better` would be binomial. The test accounts for the choice of the test examples, not for that of the
    seed, which may change a model by more.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947).
    """
    from scipy.special import bdtr  # scipy.stats takes a second to import

    first_wrong, other_wrong = _wrong(first), _wrong(other)
    if first_wrong is None or other_wrong is None or not _same_examples(first, other):
        return None
    better, worse = len(np.setdiff1d(first_wrong, other_wrong)), len(np.setdiff1d(other_wrong, first_wrong))
    p = min(1.0, 2 * float(bdtr(min(better, worse), better + worse, 0.5)))  # both tails are alike
    return PairedTest(other.name, int(first.metrics["examples"]), better, worse, p)


def why_none(first: RunSummary, other: RunSummary) -> str:
    """Why there is no paired test of two runs."""
    if not _same_examples(first, other):
        return "other test examples"
    missing = [run.name for run in (first, other) if _wrong(run) is None]
    return f"the predictions of {' and '.join(missing)} are not on this machine"


def _wrong(run: RunSummary) -> np.ndarray | None:
    """The examples that a run predicts wrongly; None unless all of them are recorded."""
    table = run.predictions
    if table is None or "example" not in table:
        return None
    wrong = table.loc[table["target"] != table["predicted"], "example"].to_numpy()
    return wrong if len(wrong) == run.metrics.get("wrong") else None


def _same_examples(first: RunSummary, other: RunSummary) -> bool:
    paths = TaskPaths(first.provenance.task)
    inputs = [
        (run.provenance.task, *(run.provenance.inputs.get(str(path)) for path in (paths.examples, paths.info)))
        for run in (first, other)
    ]
    return inputs[0] == inputs[1] and None not in inputs[0]
