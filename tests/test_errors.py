"""The words of errors: nothing secret, nothing that a terminal obeys, nothing without end."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import printable, quoted, redact, shortened


def test_what_a_terminal_would_obey_becomes_question_marks() -> None:
    assert printable("a\x1b]0;title\x07b\nc\td\u202e") == "a?]0;title?b\nc\td?"


def test_long_texts_are_cut() -> None:
    assert quoted("x" * 61) == repr("x" * 60 + "…")
    assert shortened("x" * 60) == "x" * 60
    assert shortened("a\n\n  b\t" + "x" * 60) == "a b " + "x" * 56 + "…"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://u:p@host:5000/x is down", "http://***@host:5000/x is down"),
        ("postgresql://u:a/b@c d@host/db, again", "postgresql://***@host/db, again"),
        ("postgresql://host/db?password=secret failed", "postgresql://host/db?*** failed"),
        ("http://host failed with url: /?token=secret (refused)", "http://host failed with url: /?*** (refused)"),
        ("http://127.0.0.1:9/?a&token=S3cret is down", "http://127.0.0.1:9/?*** is down"),
        ("http://host/x#S3cret, http://host/y;token=S3cret", "http://host/x?*** http://host/y?***"),
        ("sqlite:///a.db?pw=S3cret; choose another", "sqlite:///a.db?*** choose another"),
        ("look at http://host/x; then try again", "look at http://host/x; then try again"),
        ("databricks://PROFILE failed", "databricks://*** failed"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
        ("file:///a@b/c", "file:///a@b/c"),
        ("no address at all, is it?", "no address at all, is it?"),
    ],
)
def test_no_user_password_profile_or_query_of_an_address_is_shown(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("words", [["predict", "bits", "0110"], ["results"]])
def test_an_answer_that_nobody_can_read_is_an_error(words: list[str], tmp_path: Path) -> None:
    """Standard output is closed, as by `>&-` in a shell."""
    command = shlex.join([sys.executable, "-m", "pipeline", *words])
    done = subprocess.run(["sh", "-c", f"{command} >&-"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
