"""Explain one prediction: what the network holds after each step."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import PipelineError, quoted, shortened
from pipeline.figure import write_figure
from pipeline.inference import trace_figure
from pipeline.inference.predict import Predictor, name_of
from pipeline.inference.trace import Trace
from pipeline.tasks.inputs import UserInput

DIGITS = 6  # of a value in JSON
SHOWN = 3  # classes of a step that are printed


@dataclass(frozen=True)
class Explanation:
    """A network that has read one input."""

    model: str
    input: str
    labels: list[str]  # of the steps
    features: np.ndarray  # float32 (steps, features)
    class_names: list[str]
    trace: Trace


def explain(predictor: Predictor, given: UserInput) -> Explanation:
    """Read an input step by step. Raises PipelineError if it is not a valid input."""
    features, labels = predictor.features(given)
    trace = predictor.tracer.trace(features)
    return Explanation(predictor.name, name_of(given), labels, features, predictor.info.class_names, trace)


def save(explanation: Explanation, path: Path) -> None:
    """Write the figure. Raises PipelineError if `path` is not the name of a PNG, or cannot be written."""
    if path.suffix.lower() != ".png":
        raise PipelineError(f"{quoted(str(path), 200)} is not the name of a PNG file; end it with .png.")
    readable = explanation.input.encode(errors="replace").decode()  # a file may have any name
    title = f"{explanation.model} reads {shortened(readable, 60)}"
    names = explanation.labels, explanation.class_names
    write_figure(trace_figure.draw(explanation.trace, explanation.features, *names, title), path)


def text(explanation: Explanation, picture: Path) -> str:
    """A line for each step with the most probable classes after it, and the name of the figure."""
    width = max(len(label) for label in explanation.labels)
    lines = []
    for label, probabilities in zip(explanation.labels, explanation.trace.probabilities, strict=True):
        best = np.argsort(-probabilities, kind="stable")[:SHOWN]
        classes = "  ".join(f"{explanation.class_names[i]} {probabilities[i]:.1%}" for i in best)
        lines.append(f"{label:>{width}}  {classes}")
    return "\n".join([*lines, f"states and gates: {picture}"])


def as_json(explanation: Explanation, picture: Path) -> str:
    """All values of a trace as one JSON object: lists with a row for each step."""
    trace = explanation.trace
    content = {
        "model": explanation.model,
        "input": explanation.input,
        "picture": str(picture),
        "steps": explanation.labels,
        "features": explanation.features,
        "classes": explanation.class_names,
        "probabilities": trace.probabilities,
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
