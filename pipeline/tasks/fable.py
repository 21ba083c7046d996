"""Name the word that follows a few words of a story; every window of the story trains, and is asked."""

import re
from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from pipeline.data import Answers, Card, Examples, load_json, write_json
from pipeline.errors import BadInput, quoted
from pipeline.tasks import Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENCODING = (
    "words and punctuation marks in lower case; each is one step of one feature, its place in the labels as a float"
)
EVALUATED = "train"  # as published: how much of the story the model has by heart
CONTINUES = True
TOKEN = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")  # a word with its apostrophes and hyphens, or one mark


class Generate(Section):
    """Keys of tasks.fable.generate: none, for tasks.fable.source names the story."""


class Split(Section):
    """Keys of tasks.fable.split."""

    context: Annotated[int, Field(ge=1, le=100)]  # words read before the one to name


def tokenise(text: str) -> list[str]:
    """The words and punctuation marks of a text, in lower case."""
    return TOKEN.findall(text.lower())


def generate(params: Generate, source: Path, folder: Path) -> None:
    """Write the tokens of the story in `source`."""
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{source} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    write_json({"dataset": source.stem, "tokens": tokenise(text)}, folder / "tokens.json")


def split(params: Split, folder: Path, rng: np.random.Generator) -> Examples:
    """Every window of `context` words with the word that follows; the vocabulary by frequency."""
    path = folder / "tokens.json"
    raw = load_json(path, "dvc repro --force generate@fable")
    tokens = raw["tokens"]
    if len(tokens) <= params.context:
        raise BadInput(
            f"{path} holds {len(tokens)} words and marks, expected more than tasks.fable.split.context, "
            f"{params.context}; name a longer story in tasks.fable.source, or a shorter context."
        )
    for row, token in enumerate(tokens):
        if tokenise(token) != [token]:
            raise BadInput(
                f"{path}, token {row}: {token!r} is not one word or mark; `dvc repro --force generate@fable`."
            )
    labels = [word for word, _ in Counter(tokens).most_common()]  # ties in order of appearance
    number = {word: i for i, word in enumerate(labels)}
    ids = np.array([number[token] for token in tokens], np.int32)
    windows = np.lib.stride_tricks.sliding_window_view(ids, params.context + 1)
    card = Card("fable", raw["dataset"], (params.context, 1), labels, ENCODING)
    return Examples(card, windows[:, :-1], windows[:, -1], np.full(len(windows), EVALUATED))


def features(codes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Word numbers (batch, context) as plain floats, float32 (batch, context, 1)."""
    return codes[:, :, None].astype(np.float32)


def read(text: str, card: Card) -> np.ndarray:
    """The word numbers (context,) of a few words of the story."""
    words = tokenise(text)
    for word in words:
        if word not in card.labels:
            near = get_close_matches(word, card.labels, n=1, cutoff=0.0)[0]
            raise BadInput(f"{quoted(word)} is not a word of {card.dataset}; the nearest that is: {near!r}.")
    if len(words) != card.shape[0]:
        raise BadInput(
            f"{quoted(text)} has {len(words)} words and marks, expected {card.shape[0]}; give as many, in quotes, "
            "with spaces between."
        )
    return np.array([card.labels.index(word) for word in words], np.int32)


def write(code: np.ndarray, labels: Sequence[str]) -> str:
    """The words of a code."""
    return " ".join(labels[i] for i in code)


def metrics(answers: Answers) -> dict[str, float]:
    """The ceiling: the accuracy of always naming the commonest follower of a context. No model can do better."""
    followers: dict[tuple[int, ...], Counter[int]] = {}
    for code, follower in zip(answers.codes.tolist(), answers.classes.tolist(), strict=True):
        followers.setdefault(tuple(code), Counter())[follower] += 1
    best = sum(counts.most_common(1)[0][1] for counts in followers.values())
    return {"ceiling": best / len(answers.classes)}


def draw(answers: Answers) -> "Figure":
    """The story's first words as the model has them: a wrong word struck in red, above it the right one."""
    from matplotlib.figure import Figure

    shown, width = 400, 92  # words; characters a line
    labels = answers.card.labels
    words = [(labels[i], None) for i in answers.codes[0]]
    for right, said in zip(answers.classes[:shown].tolist(), answers.said[:shown].tolist(), strict=True):
        words.append((labels[said], labels[right] if said != right else None))
    line, column, placed = 0, 0, []
    for said, right in words:
        room = max(len(said), len(right or ""))
        if column + room > width:
            line, column = line + 1, 0
        placed.append((line, column, said, right))
        column += room + 1
    figure = Figure(figsize=(10, 0.42 * (line + 1) + 0.7), layout=None)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.98 - 0.45 / figure.get_figheight()))
    axes.set(xlim=(0, width), ylim=(line + 1, 0))
    axes.axis("off")
    for row, start, said, right in placed:
        style: dict[str, Any] = {"family": "monospace", "fontsize": 12.4, "va": "baseline"}
        colour = "#222222" if right is None else "#c0392b"
        axes.text(start, row + 0.9, said, color=colour, weight="normal" if right is None else "bold", **style)
        if right is not None:
            axes.text(start, row + 0.42, right, color="#1e8449", family="monospace", fontsize=10, va="baseline")
    figure.suptitle(
        f"{answers.card.dataset}: {answers.wrong.sum()} of {len(answers.classes)} words wrong"
        " (red: said, green: the story's)",
        fontsize=12,
    )
    return figure
