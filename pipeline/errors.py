"""The exception whose message a user reads."""

import re

KEPT = "\n\t\u200c\u200d"  # in a terminal, though not printable; the last two shape letters and emojis


class PipelineError(Exception):
    """A problem that the user can solve: the message says what came, what was expected and what to do next.

    The command line prints the message as one sentence on standard error and exits with status 2.
    """


def redact(text: str) -> str:
    """A text without the users, passwords, profiles and queries of the addresses in it."""
    # Up to the last @, since a password that is not quoted properly may contain both / and @, and blanks.
    text = re.sub(r"://(?!/)[^\n]*@", "://***@", text)
    text = re.sub(r"(databricks://)\S+", r"\1***", text)
    text = re.sub(r"(://[^\s?#;]*)[?#;]\S+", r"\1?***", text)
    return re.sub(r"\?[\w.~%-]+=\S+", "?***", text)


def printable(text: str) -> str:
    """A text for the terminal: control characters but the newline and the tab become question marks."""
    return "".join(char if char.isprintable() or char in KEPT else "?" for char in text)


def quoted(text: str, limit: int = 60) -> str:
    """`text` in quotes, cut after `limit` characters, for the message of a PipelineError."""
    return repr(_cut(text, limit))


def shortened(text: str, limit: int = 60) -> str:
    """`text` in one line, with single blanks, cut after `limit` characters."""
    return _cut(" ".join(text.split()), limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
