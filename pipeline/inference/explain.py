"""Explain one prediction: what the network holds after each step."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline.errors import PipelineError, quoted, shortened
from pipeline.figure import write_figure
from pipeline.inference import trace_figure
from pipeline.inference.predict import Predictor, name_of
from pipeline.inference.trace import Trace
from pipeline.tasks.inputs import UserInput

DIGITS = 6  # of a value in JSON
SHOWN = 3  # classes of a step that are printed
STEPS = 200  # of a longer input, so many are shown, evenly spaced


@dataclass(frozen=True)
class Explanation:
    """A network that has read one input."""

    model: str
    input: str
    labels: list[str]  # of the steps that are shown
    features: np.ndarray  # float32 (steps, features)
    class_names: list[str]  # none where a count is longer than the list of classes
    trace: Trace


def explain(predictor: Predictor, given: UserInput) -> Explanation:
    """Read an input step by step. Raises PipelineError if it is not a valid input."""
    features, labels = predictor.features(given)
    steps, classes = len(features), predictor.info.class_names
    shown = np.unique(np.linspace(0, steps - 1, min(steps, STEPS)).round().astype(int)).tolist()
    trace = predictor.tracer.trace(tqdm(features, unit="step", disable=None if steps > STEPS else True), set(shown))
    if steps > STEPS:
        labels = [f"step {number + 1:,}: {label}" for number, label in enumerate(labels)]
    if trace.count is not None and steps > predictor.info.shape[0]:
        classes = []
    labels = [labels[number] for number in shown]
    return Explanation(predictor.name, name_of(given), labels, features[shown], classes, trace)


def save(explanation: Explanation, path: Path) -> None:
    """Write the figure. Raises PipelineError if `path` is not the name of a PNG, or cannot be written."""
    if path.suffix.lower() != ".png":
        raise PipelineError(f"{quoted(str(path), 200)} is not the name of a PNG file; end it with .png.")
    if not path.parent.is_dir():
        raise PipelineError(f"there is no folder {quoted(str(path.parent), 200)}; make it, or name another one.")
    readable = explanation.input.encode(errors="replace").decode()  # a file may have any name
    title = f"{explanation.model} reads {shortened(readable, 60)}"
    names = explanation.labels, explanation.class_names
    write_figure(trace_figure.draw(explanation.trace, explanation.features, *names, title), path)


def text(explanation: Explanation, picture: Path) -> str:
    """A line for each step with the most probable classes after it, or the count, and the name of the figure."""
    width = max(len(label) for label in explanation.labels)
    after = [_classes(explanation, row) for row in explanation.trace.probabilities]
    if not explanation.class_names and explanation.trace.count is not None:
        after = [f"{count:z.4f}" for count in explanation.trace.count]
    lines = [f"{label:>{width}}  {classes}" for label, classes in zip(explanation.labels, after, strict=True)]
    return "\n".join([*lines, f"states and gates: {picture}"])


def _classes(explanation: Explanation, probabilities: np.ndarray) -> str:
    best = np.argsort(-probabilities, kind="stable")[:SHOWN] if explanation.class_names else ()
    return "  ".join(f"{explanation.class_names[i]} {probabilities[i]:.1%}" for i in best)


def as_json(explanation: Explanation, picture: Path) -> str:
    """All values of a trace as one JSON object: lists with a row for each step."""
    trace = explanation.trace
    content = {
        "model": explanation.model,
        "input": explanation.input,
        "picture": str(picture),
        "steps": explanation.labels,
        "features": explanation.features,
        "classes": explanation.class_names or None,
        "probabilities": trace.probabilities if explanation.class_names else None,
        "count": trace.count,
        "layers": [_without_none(vars(layer)) for layer in trace.layers],
    }
    return json.dumps(
        _without_none(content),
        default=lambda values: np.round(values.astype(np.float64), DIGITS).tolist(),
        ensure_ascii=False,
    )


def _without_none(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value is not None}
