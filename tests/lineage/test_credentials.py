"""What looks like a credential in uncommitted changes is named before MLflow gets it."""

import logging
import time

import pytest

from pipeline.lineage import provenance

PATCH = """diff --git a/pipeline/x.py b/pipeline/x.py
--- a/pipeline/x.py
+++ b/pipeline/x.py
@@ -1 +1,3 @@
-PASSWORD = "hush-hush"
+RATE = 0.01
+{line}
"""


@pytest.mark.parametrize(
    "line", ['PASSWORD = "hush-hush"', "ADDRESS = 'https://me:secretpw@host/x'", "KEY = 'AKIAIOSFODNN7EXAMPLE'"]
)
def test_a_credential_that_is_added_is_named_without_its_value(line: str, caplog: pytest.LogCaptureFixture) -> None:
    provenance.warn_of_credentials(PATCH.format(line=line).encode())
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the changes of pipeline/x.py add what looks like a credential (")
    assert line.split("'" if "'" in line else '"')[1] not in record.getMessage()


def test_a_long_text_takes_no_minutes() -> None:
    story = "+the mice met and spoke of the cat\n" * 200_000
    patch = f"+++ b/data/story.txt\n{story}+++ b/pipeline/x.py\n+PASSWORD = 'hush-hush'\n"
    started = time.monotonic()
    assert [path for path, _ in provenance.credentials(patch.encode())] == ["pipeline/x.py"]
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("line", ["learning_rate: 0.01", "md5: 0123456789abcdef0123456789abcdef", "x = [1, 2]", ""])
def test_numbers_and_hashes_are_none(line: str) -> None:
    assert not list(provenance.credentials(PATCH.format(line=line).encode()))
