"""A story as tokens; every window of `context` tokens is an example, the token after it is its class.

"the cat and the dog": the window (the, cat, and) has the target "the".
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from pipeline.dataset import DatasetInfo, Examples
from pipeline.errors import PipelineError
from pipeline.files import load_json, write_json
from pipeline.paths import repro
from pipeline.section import Section
from pipeline.tasks.fable.tokens import tokenize

AGAIN = repro("generate", "fable", force=True)


class Generate(Section):
    """Keys of tasks.fable.generate: none; tasks.fable.source names the story."""


class Split(Section):
    """Keys of tasks.fable.split."""

    context: Annotated[int, Field(ge=1, le=100)]  # tokens read before the one to predict
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the tokens, the last ones: they test and do not train


def generate(params: Generate, source: Path, folder: Path) -> None:
    """Write the tokens of the story in `source`, a text file in UTF-8."""
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PipelineError(f"{source} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    write_json({"dataset": source.stem, "tokens": tokenize(text)}, folder / "tokens.json")


def split(params: Split, folder: Path, rng: np.random.Generator) -> Examples:
    """Every window of `context` tokens with the token that follows; classes by frequency.

    As in the published programs, the windows that train are evaluated: the accuracy tells how much of the story the
    model remembers. Without a `test_share`, all of them train.
    """
    path = folder / "tokens.json"
    raw = load_json(path, AGAIN)
    tokens = raw["tokens"]
    if len(tokens) <= params.context:
        raise PipelineError(
            f"{path} holds {len(tokens)} tokens, expected more than tasks.fable.split.context, {params.context}; use a "
            "longer story in tasks.fable.source, or a shorter context."
        )
    for row, token in enumerate(tokens):
        if tokenize(token) != [token]:
            raise PipelineError(f"{path}, token {row}: {token!r} is not one token; run `{AGAIN}`.")
    class_names = [word for word, _ in Counter(tokens).most_common()]  # ties in order of appearance
    number = {word: i for i, word in enumerate(class_names)}
    ids = np.array([number[token] for token in tokens], np.int32)
    test = round(params.test_share * len(tokens))  # windows
    windows = np.lib.stride_tricks.sliding_window_view(ids, params.context + 1)
    info = DatasetInfo(
        task="fable",
        dataset=raw["dataset"],
        stand_in=False,
        shape=(params.context, 1),
        class_names=class_names,
        eval_split="train",
        autoregressive=True,
        encoding="words and punctuation marks in lower case; each is one step of one feature, its class as a float",
    )
    splits = np.where(np.arange(len(windows)) < len(windows) - test, "train", "test")
    return Examples(info, windows[:, :-1], windows[:, -1], splits)
