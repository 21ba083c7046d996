"""A few words of the story."""

from difflib import get_close_matches

import numpy as np
import regex

from pipeline.dataset import DatasetInfo
from pipeline.errors import PipelineError, quoted
from pipeline.tasks import inputs
from pipeline.tasks.fable.data import tokenize

BETWEEN_HAN = regex.compile(r"(?<=\p{Han}) (?=\p{Han})")


class Inputs(inputs.Inputs):
    """A few words are the numbers of their tokens."""

    help = 'a few words of the story, such as "there came a"'

    def encode(self, given: str, info: DatasetInfo) -> np.ndarray:
        """The token numbers (context,) of a few words of the story."""
        tokens = tokenize(given)
        for token in tokens:
            if token not in info.class_names:
                nearest = get_close_matches(token, info.class_names, n=1, cutoff=0.0)[0]
                raise PipelineError(
                    f"{quoted(token)} is not a word of {info.dataset}; use one that is, such as {nearest!r}."
                )
        if len(tokens) != info.shape[0]:
            raise PipelineError(
                f"{quoted(given)} has {len(tokens)} words and marks, expected {info.shape[0]}; type them in quotes, "
                "with spaces between."
            )
        return np.array([info.class_names.index(token) for token in tokens], np.int32)

    def decode(self, code: np.ndarray, info: DatasetInfo) -> str:
        """The words of a code (any length,), with a space between them, but for two Chinese characters."""
        return str(BETWEEN_HAN.sub("", " ".join(info.class_names[i] for i in code)))

    def step_names(self, code: np.ndarray, info: DatasetInfo) -> list[str]:
        """The words."""
        return [info.class_names[i] for i in code]

    def measures(self, code: np.ndarray, info: DatasetInfo) -> dict[str, float | str]:
        """The last word."""
        return {"last word": info.class_names[code[-1]]}
