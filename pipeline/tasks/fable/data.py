"""A story as tokens; every window of `context` tokens is an example, the token after it is its class.

"the cat and the dog": the window (the, cat, and) has the target "the".
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import regex
from pydantic import Field

from pipeline.dataset import DatasetInfo, Examples, Outline
from pipeline.errors import PipelineError
from pipeline.files import damaged, require, write_atomic
from pipeline.paths import repro
from pipeline.section import Section
from pipeline.tasks import data

AGAIN = repro("generate", "fable", force=True)
PIECE = 50_000  # characters of a story that are read at once
LONGEST = 1_000_000  # characters without a space or a newline
SUFFIX = ".tokens.txt"
# A Chinese character, since Chinese has no spaces; a word with its accents, apostrophes and hyphens; or a mark.
LETTER = r"[[\w\p{M}]--\p{Han}]"
TOKEN = regex.compile(rf"\p{{Han}}|{LETTER}+(?:['\u2019-]{LETTER}+)*|[^\w\s]", regex.VERSION1)


class Data(data.Data):
    """The windows of a story, each with the token that follows."""

    class Generate(Section):
        """Keys of tasks.fable.generate: none; tasks.fable.source names the story."""

    class Split(Section):
        """Keys of tasks.fable.split."""

        context: Annotated[int, Field(ge=1, le=100)]  # tokens read before the one to predict
        test_share: Annotated[float, Field(ge=0, lt=1)] = (
            0.0  # of the tokens, the last ones: they test and do not train
        )

        def windows(self, tokens: int) -> tuple[int, int]:
            """How many windows of so many tokens train, and how many test."""
            test = round(self.test_share * tokens)
            return tokens - self.context - test, test

    def outline(self, generate: Generate, split: Split, source: Path) -> Outline:
        """Windows of `context` tokens. Raises PipelineError if the story is no text, or so short that none would train.

        All of it is read, since any part may be no text, but its tokens are counted only until they are enough.
        """
        tokens, train, test = 0, 0, 0
        for text in _pieces(source):
            if train < 1 or (split.test_share and test < 1):
                tokens += len(tokenize(text))
                train, test = split.windows(tokens)
        _require_training(tokens, split, source)
        return Outline((split.context, 1), ("train", "test") if test else ("train",))

    def generate(self, params: Generate, source: Path, folder: Path) -> None:
        """Write the tokens of the story in `source`, a text file in UTF-8, a line for each, under the same name."""
        path = folder / f"{source.stem}{SUFFIX}"

        def write(draft: Path) -> None:
            with draft.open("w", encoding="utf-8", newline="\n") as file:
                for text in _pieces(source):
                    file.writelines(f"{token}\n" for token in tokenize(text))

        write_atomic(path, write)
        for old in set(folder.glob(f"*{SUFFIX}")) - {path}:
            old.unlink()

    def split(self, params: Split, folder: Path, rng: np.random.Generator) -> Examples:
        """Every window of `context` tokens with the token that follows; classes by frequency.

        As in the published programs, the windows that train are evaluated: the accuracy tells how much of the story the
        model remembers. Without a `test_share`, all of them train.
        """
        path = next(folder.glob(f"*{SUFFIX}"), folder / f"story{SUFFIX}")
        counts = Counter(_tokens(path))
        tokens = counts.total()
        _require_training(tokens, params, path)
        class_names = [word for word, _ in counts.most_common()]  # ties in order of appearance
        number = {word: i for i, word in enumerate(class_names)}
        ids = np.fromiter((number[token] for token in _tokens(path)), np.int32, tokens)
        windows = np.lib.stride_tricks.sliding_window_view(ids, params.context + 1)
        train, test = params.windows(tokens)
        info = DatasetInfo(
            task="fable",
            dataset=path.name.removesuffix(SUFFIX),
            stand_in=False,
            shape=(params.context, 1),
            class_names=class_names,
            eval_split="train",
            autoregressive=True,
            encoding="words and punctuation marks in lower case; each is one step of one feature, its class as a float",
            splits={"train": train, "test": test},
        )
        return Examples(info, windows[:, :-1], windows[:, -1])


def tokenize(text: str) -> list[str]:
    """The words, Chinese characters and marks of a text, in lower case and Unicode's composed form (NFC)."""
    return list(TOKEN.findall(unicodedata.normalize("NFC", text.lower())))


def _require_training(tokens: int, params: Data.Split, story: Path) -> None:
    if params.windows(tokens)[0] < 1:
        raise PipelineError(
            f"{story} holds {tokens} tokens, too few to train with tasks.fable.split.context {params.context} and "
            f"test_share {params.test_share}; use a longer story in tasks.fable.source, or smaller values."
        )


def _pieces(source: Path) -> Iterator[str]:
    """The text of a story in pieces that end with a space or a newline: no token goes on in the next one.

    Raises PipelineError if it is not a text in UTF-8, or has no space for very long.
    """
    if not source.is_file():  # a folder, a pipe, a device without end
        raise PipelineError(f"{source} is not a text file; name one in tasks.fable.source.")
    try:
        with source.open(encoding="utf-8-sig") as text:
            rest = ""
            while read := text.read(PIECE):
                rest += read
                end = max(rest.rfind(" "), rest.rfind("\n")) + 1
                if not end and len(rest) > LONGEST:
                    raise PipelineError(
                        f"{source} has more than {LONGEST:,} characters without a space or a newline; add some."
                    )
                yield rest[:end]
                rest = rest[end:]
            yield rest
    except UnicodeDecodeError as error:
        raise PipelineError(f"{source} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None


def _tokens(path: Path) -> Iterator[str]:
    require(path, AGAIN)
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n")
    except UnicodeDecodeError as error:
        raise damaged(path, AGAIN, f"byte {error.start} is not UTF-8") from None
