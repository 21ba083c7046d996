"""The one exception that a person is meant to read."""


class BadInput(Exception):
    """Something from outside is wrong: its text says what came, what was expected and what to do.

    The command line prints it as one sentence on standard error and exits with status 2.
    """


def quoted(text: str, most: int = 60) -> str:
    """What came, in quotes, cut after `most` characters: for the text of a BadInput."""
    return repr(text if len(text) <= most else f"{text[:most]}…")
