"""The exercises: their solutions are right, their files are those of the generator, and an empty gap is a sentence.

Whoever has filled gaps in the working tree has broken no test: what git holds is tested.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exercises.generate import FOLDER, exercises
from tests.harness import project

MARK = [sys.executable, "-m", "pytest", "exercises", "--numprocesses", "0", "-p", "no:randomly", "--tb=line"]


def test_the_files_with_gaps_are_those_of_the_solutions() -> None:
    assert len(exercises()) == 8
    for path, text in exercises().items():
        committed = project.run(project.ROOT, "git", "show", f"HEAD:exercises/{path.name}").stdout
        assert committed == text, "`python -m exercises.generate` writes it"
        assert "NotImplementedError" in text


@pytest.mark.slow
@pytest.mark.parametrize("solutions", ["", "1"])
def test_the_marks_are_right(solutions: str, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "exercises")
    for path, text in exercises().items():
        (tmp_path / "exercises" / path.name).write_text(text)
    environment = os.environ | {"SOLUTIONS": solutions, "PYTHONPATH": f"{tmp_path}{os.pathsep}{project.ROOT}"}
    done = subprocess.run(MARK, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    said = re.findall(r"^exercises/(\w+)\.py has a gap that is still empty", done.stdout, re.MULTILINE)
    assert sorted(set(said)) == ([] if solutions else sorted(path.stem for path in exercises())), done.stdout
    assert ("8 passed" if solutions else "8 failed") in done.stdout
