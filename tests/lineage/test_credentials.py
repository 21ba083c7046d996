"""What looks like a credential in uncommitted changes is named before MLflow gets it."""

import logging
import time
from pathlib import Path

import pytest

from pipeline.lineage import git, provenance

KEY = "KEY = 'AKIAIOSFODNN7EXAMPLE'"
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


def _file(name: str, lines: list[str]) -> str:
    """The patch of a new file."""
    added = "".join(f"+{line}\n" for line in lines)
    path = f'"b/{name}"' if "\\" in name else f"b/{name}"  # as git quotes it
    return f"diff --git a/{name} {path}\n--- /dev/null\n+++ {path}\n@@ -0,0 +1,{len(lines)} @@\n{added}"


@pytest.mark.parametrize(
    ("patch", "name"),
    [
        (_file("data/a.txt", ["x"] * 6000) + _file("pipeline/ü.py", [KEY]), "pipeline/ü.py"),
        (_file("data/a.txt", ["x"] * 6000) + _file("pipeline/\\303\\274.py", [KEY]), r"pipeline/\303\274.py"),
        (_file("pipeline/x.py", ["++ b/data/a.txt", f"++ b/{KEY}"]), "pipeline/x.py"),
        (_file("pipeline/x.py", ["x = 1"] * 6000 + [KEY]), "pipeline/x.py"),
        (_file("pipeline/AKIAIOSFODNN7EXAMPLE.py", ["x = 1"]), "pipeline/AKIAIOSFODNN7EXAMPLE.py"),
    ],
    ids=["name with an umlaut", "quoted name", "line like a head", "late line", "in the name"],
)
def test_no_form_of_a_patch_hides_a_credential(patch: str, name: str) -> None:
    assert {path for path, _ in provenance.credentials(patch.encode())} == {name}


def test_git_s_own_patch_names_a_file_as_it_is(untrained_project: Path) -> None:
    path = Path("pipeline/ü.py")
    path.write_text(f"{KEY}\n")
    assert {name for name, _ in provenance.credentials(git.patch([]))} == {str(path)}


def test_a_long_text_takes_no_minutes() -> None:
    story = _file("data/story.txt", ["the mice met and spoke of the cat"] * 200_000)
    patch = story + _file("pipeline/x.py", ["PASSWORD = 'hush-hush'"])
    started = time.monotonic()
    assert [path for path, _ in provenance.credentials(patch.encode())] == ["pipeline/x.py"]
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("line", ["learning_rate: 0.01", "md5: 0123456789abcdef0123456789abcdef", "x = [1, 2]", ""])
def test_numbers_and_hashes_are_none(line: str) -> None:
    assert not list(provenance.credentials(PATCH.format(line=line).encode()))
