"""What `make` says before it starts."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness import project


@pytest.mark.parametrize("known", [False, True])
def test_a_git_without_an_identity_is_noted_at_the_start(tmp_path: Path, known: bool) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "XDG_CONFIG_HOME": str(tmp_path)}
    (tmp_path / "Makefile").write_text((project.ROOT / "Makefile").read_text())
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, env=environment, check=True)
    if known:
        for key in ("user.name", "user.email"):
            subprocess.run(["git", "config", key, "x"], cwd=tmp_path, env=environment, check=True)
    done = subprocess.run(
        ["make", "identity"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert ("dvc exp run fail; set them with git config --global" in done.stderr) is not known
