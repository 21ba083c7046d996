"""A language model that only counts: the baseline that a network has to beat on text it did not train on.

Source: S. Chen, J. Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1999), interpolated
Kneser-Ney; below one word, it falls back to a uniform distribution, so that words new to it have a probability, too.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

Gram = tuple[int, ...]


class KneserNey:
    """Interpolated Kneser-Ney of one order: the probability of a token after the `order - 1` tokens before it."""

    def __init__(self, tokens: Sequence[int], order: int, vocabulary: int):
        """Count the training `tokens`, each from 0 to `vocabulary` - 1."""
        self.order, self.vocabulary = order, vocabulary
        self.counts: list[Counter[Gram]] = [Counter() for _ in range(order)]  # of grams with 1, 2, ... tokens
        for end in range(order, len(tokens) + 1):
            self.counts[order - 1][tuple(tokens[end - order : end])] += 1
        for size in range(order - 1, 0, -1):  # shorter grams: how many different tokens come before them
            for gram in self.counts[size]:
                self.counts[size - 1][gram[1:]] += 1
        self.totals: list[Counter[Gram]] = [Counter() for _ in range(order)]  # by the tokens before the last
        self.followers: list[defaultdict[Gram, int]] = [defaultdict(int) for _ in range(order)]
        self.discounts = []
        for size, counts in enumerate(self.counts):
            for gram, count in counts.items():
                self.totals[size][gram[:-1]] += count
                self.followers[size][gram[:-1]] += 1
            once, twice = (sum(count == n for count in counts.values()) for n in (1, 2))
            self.discounts.append(once / (once + 2 * twice) if once else 0.5)

    def probability(self, context: Gram, token: int) -> float:
        """Of `token` after the `order - 1` tokens of `context`."""
        probability = 1 / self.vocabulary
        for size in range(self.order):
            before = context[len(context) - size :]
            total = self.totals[size][before]
            if not total:
                break  # longer contexts did not occur either
            discount = self.discounts[size]
            kept = max(self.counts[size][(*before, token)] - discount, 0.0)
            probability = (kept + discount * self.followers[size][before] * probability) / total
        return probability


def perplexity(tokens: Sequence[int], windows: np.ndarray, targets: np.ndarray, vocabulary: int) -> float:
    """Of a model that counted `tokens`, on windows (examples, context) and the tokens that follow them (examples,)."""
    model = KneserNey(tokens, windows.shape[1] + 1, vocabulary)
    pairs = zip(windows.tolist(), targets.tolist(), strict=True)
    return float(np.exp(-np.mean([np.log(model.probability(tuple(window), target)) for window, target in pairs])))
