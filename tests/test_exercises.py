"""The exercises: their solutions are right, their files are those of the generator, and an empty gap is a sentence."""

import os
import re
import subprocess
import sys

import pytest

from exercises.generate import exercises
from tests.harness import project

MARK = [sys.executable, "-m", "pytest", "exercises", "--numprocesses", "0", "-p", "no:randomly", "--tb=line"]


def test_the_files_with_gaps_are_those_of_the_solutions() -> None:
    assert len(exercises()) == 8
    for path, text in exercises().items():
        assert path.read_text(encoding="utf-8") == text, "`python -m exercises.generate` writes it"
        assert "NotImplementedError" in text


@pytest.mark.slow
@pytest.mark.parametrize("solutions", ["", "1"])
def test_the_marks_are_right(solutions: str) -> None:
    environment = os.environ | {"SOLUTIONS": solutions}
    done = subprocess.run(MARK, cwd=project.ROOT, env=environment, capture_output=True, text=True, check=False)
    said = re.findall(r"^exercises/(\w+)\.py has a gap that is still empty", done.stdout, re.MULTILINE)
    assert sorted(set(said)) == ([] if solutions else sorted(path.stem for path in exercises())), done.stdout
    assert ("8 passed" if solutions else "8 failed") in done.stdout
