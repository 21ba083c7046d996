"""Text as tokens."""

import unicodedata

import regex

# A Chinese character, since Chinese has no spaces; a word with its accents, apostrophes and hyphens; or a mark.
LETTER = r"[[\w\p{M}]--\p{Han}]"
TOKEN = regex.compile(rf"\p{{Han}}|{LETTER}+(?:['\u2019-]{LETTER}+)*|[^\w\s]", regex.VERSION1)
BETWEEN_HAN = regex.compile(r"(?<=\p{Han}) (?=\p{Han})")


def tokenize(text: str) -> list[str]:
    """The words, Chinese characters and marks of a text, in lower case and Unicode's composed form (NFC)."""
    return list(TOKEN.findall(unicodedata.normalize("NFC", text.lower())))


def join(tokens: list[str]) -> str:
    """Tokens as text: with a space between them, but for two Chinese characters."""
    return str(BETWEEN_HAN.sub("", " ".join(tokens)))
