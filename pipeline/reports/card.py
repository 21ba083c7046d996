"""The model card: what a model is for, its data, its figures, its limits, and how to make it again, as Markdown.

Source: M. Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

import math
from statistics import NormalDist
from typing import Any

from tabulate import tabulate

from pipeline.dataset import DatasetInfo, load_info
from pipeline.errors import printable
from pipeline.files import load_json
from pipeline.lineage.artifacts import Artifacts
from pipeline.lineage.provenance import Provenance, load_training
from pipeline.paths import repro
from pipeline.reports.metrics import facts

CONFIDENCE = 0.95  # of the interval of the accuracy
SHOWN = 12  # names of classes


def card(artifacts: Artifacts) -> str:
    """The card of an evaluated model. Raises PipelineError if a file is missing or damaged."""
    paths, metrics = artifacts.paths, artifacts.metrics()
    info = load_info(paths.info, ("export", paths.name))
    parameters = load_json(paths.info, repro("export", paths.name), {"parameters": int})["parameters"]
    training = load_training(paths.name, info.task, artifacts.weights_md5, paths.root)
    sections = {
        "Intended use": [
            f"Reads a sequence and predicts its class, one of {len(info.class_names):,}: {_some(info.class_names)}.",
            f"An input: {info.encoding}. {_lengths(info)}",
            f"The network has {parameters:,} parameters. Its answers come with probabilities.",
        ],
        "Data": _data(info),
        "Figures": [_figures(metrics | (training.costs if training else {})), _interval(metrics)],
        "Limits": _limits(info, metrics.get("certified_steps", 0)),
        "How to make it again": _source(artifacts, training),
    }
    text = "\n\n".join(f"## {title}\n\n" + "\n\n".join(parts) for title, parts in sections.items())
    return printable(f"# {paths.name}\n\n{text}\n")


def _some(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _lengths(info: DatasetInfo) -> str:
    steps, features = info.shape
    shortest, longest = info.min_steps or steps, info.max_steps or steps
    length = f"{steps:,}" if shortest == longest == steps else f"{shortest:,} to {max(longest, steps):,}"
    return f"It has {length} steps of {features:,} {'feature' if features == 1 else 'features'}."


def _data(info: DatasetInfo) -> list[str]:
    sizes = ", ".join(f"{size:,} {split}" for split, size in info.splits.items() if size)
    lines = [f"Dataset {info.dataset}: {sizes}. It was evaluated on the {info.eval_split} split."]
    if info.stand_in:
        lines.append(
            "This dataset only stands in for another one, which was not available: compare no figure with others."
        )
    if info.eval_split == "train":
        lines.append(
            "These are the examples that trained it: the figures say how well it has learned them, not how well it "
            "reads others."
        )
    return lines


def _figures(known: dict[str, Any]) -> str:
    units = {"s": " seconds", "MiB": " mib"}  # which the values have
    titles = {fact: fact.title.replace("_", " ").removesuffix(units.get(fact.unit, "")) for fact in facts(known)}
    rows = [(titles[fact], fact.text(value)) for fact, value in facts(known).items()]
    return tabulate(rows, ["metric", "value"], "pipe", colalign=("left", "right"), disable_numparse=True)


def _interval(metrics: dict[str, Any]) -> str:
    low, high = wilson(metrics["examples"] - metrics["wrong"], metrics["examples"])
    worst = f"Of the worst class, `{metrics['worst_class']}`, {metrics['worst_class_accuracy']:.1%} are right. "
    return (
        f"With {metrics['examples']:,} examples, Wilson's {CONFIDENCE:.0%} interval of the accuracy is {low:.4%} to "
        f"{high:.4%}. {worst if metrics['worst_class_accuracy'] < 1 else ''}Another seed moves the figures, too."
    )


def wilson(right: int, examples: int) -> tuple[float, float]:
    """The interval of an accuracy. Source: E. B. Wilson, "Probable inference", JASA 22 (1927).

    scipy.stats has it, and takes almost a second to import.
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    share, spread = right / examples, z**2 / examples
    margin = z * math.sqrt((share * (1 - share) + spread / 4) / examples)
    low, high = ((share + spread / 2 + sign * margin) / (1 + spread) for sign in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def _limits(info: DatasetInfo, certified: int) -> list[str]:
    knows = "It knows the classes above and no others: it answers with one of them, whatever the input shows."
    if info.max_steps:
        proven = f"Up to {certified:,} steps, that number is proven to be right" if certified else "No length is proven"
        knows = f"Of more than {info.shape[0]:,} steps it gives a number, which is no class and has no probability. "
        knows += f"{proven}; the figures say how often it is right for some lengths."
    lines = [
        knows,
        f"Its figures are those of {info.dataset}. Data from elsewhere may differ, and it was not tested on them.",
    ]
    if info.autoregressive:
        lines.append("A text that it goes on with is made of what it has learned by heart; it states nothing.")
    return lines


def _source(artifacts: Artifacts, training: Provenance | None) -> list[str]:
    made = f"The weights have the MD5 {artifacts.weights_md5}."
    if training is None or not training.commit:
        return [made, "Where they were trained is not recorded here; MLflow may have it: `pipeline compare`."]
    recipe, commit = f" by the recipe {training.recipe}" if training.recipe else "", training.commit[:12]
    trained = f"{made} They were trained{recipe} from commit {commit}"
    if training.uncommitted:
        return [f"{trained} with changes that were not committed. Their run in MLflow has these: `pipeline reproduce`."]
    return [f"{trained}.", f"```console\n$ git checkout {commit} && make repro\n```"]
