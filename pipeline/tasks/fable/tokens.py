"""Text as tokens."""

import re

TOKEN = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]")  # a word with its apostrophes and hyphens, or one mark


def tokenize(text: str) -> list[str]:
    """The words and punctuation marks of a text, in lower case."""
    return TOKEN.findall(text.lower())
