"""What `make` says before it starts."""

import os
import shutil
import subprocess
import sys
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


@pytest.mark.parametrize(("recorded", "anew"), [("here", False), ("elsewhere", True), ("no python", True)])
def test_a_project_that_was_moved_is_set_up_anew(tmp_path: Path, recorded: str, anew: bool) -> None:
    for name in ("Makefile", "requirements.lock", "requirements-cuda.lock", "pyproject.toml", "install.py"):
        shutil.copy(project.ROOT / name, tmp_path)
    folder = tmp_path / ".venv"
    (folder / "bin").mkdir(parents=True)
    if recorded != "no python":
        (folder / "bin" / "python").symlink_to(sys.executable)
    for name in ("requirements.lock", "requirements-cuda.lock"):
        (folder / f".from-{name}").write_text(f"{tmp_path if recorded != 'elsewhere' else '/elsewhere'}\n")
    command = ["make", "--dry-run", "setup"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ("install.py requirements" in done.stdout) is anew
