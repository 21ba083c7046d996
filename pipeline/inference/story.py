"""A story, word by word."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Word:
    """One word that follows."""

    index: int  # of its class
    probabilities: np.ndarray  # float32 (classes,), of every word at this place

    @property
    def probability(self) -> float:
        """Of this word, 0 to 1."""
        return float(self.probabilities[self.index])


def following(
    code: np.ndarray, predict: Callable[[np.ndarray], np.ndarray], temperature: float, rng: np.random.Generator
) -> Iterator[Word]:
    """The words that follow the encoded words `code` (steps,), without end; each is the last step of the next input.

    `predict` gives the probabilities (classes,) of what follows a code. At temperature 0, each word is the most
    probable one.
    """
    known: dict[tuple[int, ...], np.ndarray] = {}  # a story comes back to the same contexts
    context = tuple(code.tolist())
    while True:
        if context not in known:
            known[context] = predict(np.array(context, code.dtype))
        word = Word(_draw(known[context], temperature, rng), known[context])
        yield word
        context = (*context[1:], word.index)


def _draw(probabilities: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """A class: the most probable one at temperature 0; above 1, improbable ones come more often than the model says."""
    if temperature == 0:
        return int(probabilities.argmax())
    logs = np.log(np.maximum(probabilities.astype(np.float64), 1e-300))
    with np.errstate(over="ignore"):  # of a very low temperature: what is not the most probable gets 0
        weights = np.exp((logs - logs.max()) / temperature)
    return int(rng.choice(len(weights), p=weights / weights.sum()))
