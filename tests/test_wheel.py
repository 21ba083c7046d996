"""The package outside of this project: a wheel, and a folder of exports."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import project

IGNORED = shutil.ignore_patterns("__pycache__")


@pytest.mark.slow
def test_an_installed_wheel_predicts_from_exports_in_another_folder(exported: Path) -> None:
    source, installed = exported / "source", exported / "installed"
    shutil.copytree(project.ROOT / "pipeline", source / "pipeline", ignore=IGNORED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(project.ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", "wheels"], check=True)
    (wheel,) = Path("wheels").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", installed, wheel], check=True)
    shutil.rmtree(source)
    where = [sys.executable, "-c", "import pipeline; print(pipeline.__file__)"]
    predict = [sys.executable, "-m", "pipeline", "predict", "bits-lstm24", "01101010"]
    site = [sys.executable, "-m", "pipeline", "site", "page"]
    for command, expected in ((where, str(installed)), (predict, "%"), (site, "page: a page with 3 models")):
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout
    assert (exported / "page" / "index.html").is_file()
