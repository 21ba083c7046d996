"""What a network computes at each step, as tables of coloured cells, which a screen reader reads, too."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from pipeline.demo.exports import Answer
from pipeline.inference.story import Word
from pipeline.inference.trace import LayerTrace

CLASSES = 12  # that are shown of a step
UNITS = 6  # whose gates are shown
GATES = ("input", "forget", "output", "update", "reset")
RUNNERS_UP = 3
CIRCLE = '<span class="given">… and so on: these words have come before.</span>'
AMBIGUOUS = 0.1  # probability of a runner-up from which on a context is ambiguous


def error(message: str) -> str:
    """An error as HTML."""
    return f'<p role="alert" class="error">{html.escape(message)}</p>'


def probabilities(answer: Answer) -> str:
    """A row for each step, a column for each class that is probable at some step."""
    values = answer.trace.probabilities
    best = np.sort(np.argsort(-values.max(axis=0), kind="stable")[:CLASSES])
    table = pd.DataFrame(values[:, best], columns=[answer.class_names[i] for i in best])
    table.index = pd.Index([f"{step}" for step in range(1, len(table) + 1)])
    if answer.image is None:
        table.index = pd.Index([f"{step}: {label}" for step, label in enumerate(answer.labels, 1)])
    style = table.style.background_gradient(cmap="Greens", vmin=0, vmax=1, axis=None)
    return _html(style.format(_percent, escape="html"), "probability of each class, if the input ended after this step")


def counter(answer: Answer) -> str:
    """A column for each bit: the count after it, and the gates and cell states of the units that change most."""
    trace = answer.trace
    rows: dict[str, np.ndarray] = {}
    best, probability = trace.probabilities.argmax(axis=1), [_percent(each) for each in trace.probabilities.max(axis=1)]
    counts = [answer.class_names[i] for i in best] if answer.class_names else []
    if not answer.class_names and trace.count is not None:  # a longer string than trained has counts alone
        counts, probability = [f"{count:.0f}" for count in trace.count], [""] * len(trace.count)
    layer = trace.layers[-1]
    for unit in _most_active(layer):
        for gate in GATES:
            if gate in layer.gates:
                rows[f"unit {unit}: {gate} gate"] = layer.gates[gate][:, unit]
        if layer.cell is not None:
            rows[f"unit {unit}: cell state"] = layer.cell[:, unit]
    table = pd.DataFrame(rows, index=pd.RangeIndex(1, len(counts) + 1)).T
    states = [name for name in rows if name.endswith("state")]
    largest = float(table.loc[states].abs().to_numpy().max(initial=1e-9)) if states else 1.0
    style = table.style.format("{:.2f}")
    gates, steps = [name for name in rows if name not in states], table.columns
    style = style.background_gradient("Blues", vmin=0, vmax=1, axis=None, subset=(gates, steps))
    style = style.background_gradient("RdBu_r", vmin=-largest, vmax=largest, axis=None, subset=(states, steps))
    read = pd.DataFrame({"bit": answer.labels, "count": counts, "probability": probability}, index=steps).T
    return _html(read.style, "the count after each bit") + _html(style, "the units that change most")


def story(given: str, following: Sequence[Word], class_names: Sequence[str], ended: bool = False) -> str:
    """The words that follow, each with its probability and, when it is touched or has the focus, its runners-up.

    A word that could also have been another one is marked: the words before did not decide. A story that has `ended`
    would go in circles.
    """
    words = "".join(_word(word, class_names) for word in following)
    return f'<p class="story"><span class="given">{html.escape(given)}</span> {words}{CIRCLE * ended}</p>'


def picture(image: np.ndarray) -> str:
    """An image uint8 (rows, columns) as the network sees it, each pixel a square."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(255 - image).save(content, "PNG")
    encoded = base64.b64encode(content.getvalue()).decode()
    rows, columns = image.shape
    size = f"{columns} x {rows}"
    return (
        f'<figure class="seen"><img alt="the {size} pixels that the model saw" src="data:image/png;base64,{encoded}">'
        f"<figcaption>what the model saw: {size} pixels</figcaption></figure>"
    )


def facts(values: dict[str, str]) -> str:
    """A list of names and values; a value that is an address becomes a link."""
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{_linked(value)}</dd>" for name, value in values.items())
    return f'<dl class="facts">{rows}</dl>'


def _word(word: Word, class_names: Sequence[str]) -> str:
    order = np.argsort(-word.probabilities, kind="stable")[: RUNNERS_UP + 1]
    others = [i for i in order.tolist() if i != word.index][:RUNNERS_UP]
    more = ", ".join(f"{class_names[i]} {_percent(word.probabilities[i])}" for i in others)
    ambiguous = " ambiguous" if is_ambiguous(word) else ""
    return (
        f'<span class="word{ambiguous}" tabindex="0">{html.escape(class_names[word.index])}'
        f'<sub>{_percent(word.probability)}</sub><span class="more" role="note">or {html.escape(more)}</span></span> '
    )


def is_ambiguous(word: Word) -> bool:
    """Whether another word could well have followed."""
    return float(np.sort(word.probabilities)[-2:][0]) >= AMBIGUOUS


def _percent(value: Any) -> str:
    """A probability; what is less than half a per cent is left blank."""
    return f"{value:.0%}" if value >= 0.005 else ""


def _most_active(layer: LayerTrace) -> list[int]:
    states = layer.output if layer.cell is None else layer.cell
    return [int(unit) for unit in np.argsort(-np.ptp(states, axis=0), kind="stable")[:UNITS]]


def _html(style: Styler, caption: str) -> str:
    style = style.format_index(escape="html", axis=0).format_index(escape="html", axis=1)
    style = style.set_table_attributes('class="steps"').set_caption(caption)
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">{style.to_html()}</div>'


def _linked(value: str) -> str:
    text = html.escape(value)
    return f'<a href="{text}" target="_blank" rel="noopener">{text}</a>' if value.startswith("http") else text
