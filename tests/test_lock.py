"""The lock files: a hash for each package, no address, one version everywhere, and nothing missing on any platform."""

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness import project

PYTHONS = ("3.11", "3.12", "3.13")
LINUX = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
MACOS = "aarch64-apple-darwin"
PLATFORMS = {
    "requirements.lock": (*LINUX, MACOS),
    "requirements-cluster.lock": (*LINUX, MACOS),
    "requirements-cuda.lock": LINUX,
    "requirements-uv.lock": (*LINUX, MACOS),
}
WITHOUT_WHEELS = "antlr4-python3-runtime"  # of Hydra, which DVC needs: built by the setuptools of the lock


def entries(text: str) -> dict[str, str]:
    """The text of each pinned package by its name, version and marker."""
    found = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    return {entry.split("\\")[0].strip(): entry for entry in found}


def problem(lock: Path, python: str, platform: str) -> str:
    """What uv says of a lock that does not have all that its packages need, as wheels; "" if it has."""
    uv = shutil.which("uv", path=f"{project.BIN}{os.pathsep}{os.environ['PATH']}")
    assert uv, "the set-up installs it, or found it"
    command = [uv, "pip", "install", "--dry-run", "--quiet", "--require-hashes"]
    command += ["--only-binary", ":all:", "--no-binary", WITHOUT_WHEELS, "--python", str(project.BIN / "python")]
    command += ["--python-version", python, "--python-platform", platform, "--requirements", str(lock)]
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0", "UV_SYSTEM_CERTS": "true"}
    with tempfile.TemporaryDirectory() as target:
        done = subprocess.run(
            [*command, "--target", target], env=environment, capture_output=True, text=True, check=False
        )
    return done.stderr if done.returncode else ""


def without(text: str, package: str) -> str:
    """A lock without one package."""
    kept = "".join(entry for pin, entry in entries(text).items() if not pin.startswith(f"{package}=="))
    assert kept != text
    return kept


def test_a_package_is_the_same_in_every_lock_that_has_it() -> None:
    everything = entries((project.ROOT / "requirements.lock").read_text()).items()
    for name in ("requirements-cluster.lock", "requirements-cuda.lock"):
        assert everything <= entries((project.ROOT / name).read_text()).items()


@pytest.mark.system  # it needs a network, and takes a minute
@pytest.mark.parametrize("name", PLATFORMS)
def test_a_lock_has_all_that_its_packages_need_on_every_python_and_platform(name: str) -> None:
    """uv reads the requirements of each pinned package from the package index: extras and markers, too."""
    combinations = list(itertools.product(PYTHONS, PLATFORMS[name]))
    with ThreadPoolExecutor(2) as pool:
        problems = list(pool.map(lambda combination: problem(project.ROOT / name, *combination), combinations))
    assert dict(zip(combinations, problems, strict=True)) == dict.fromkeys(combinations, "")


@pytest.mark.system
@pytest.mark.parametrize(
    ("package", "python", "platform"),
    [
        ("pysocks", "3.11", LINUX[0]),  # of an extra: urllib3[socks] of Selenium
        ("librt", "3.12", LINUX[1]),  # with a marker, of mypy
        ("contourpy", "3.13", MACOS),  # in two versions, by Python, of matplotlib
    ],
)
def test_a_lock_that_lacks_a_package_is_noticed(tmp_path: Path, package: str, python: str, platform: str) -> None:
    lock = tmp_path / "damaged.lock"
    lock.write_text(without((project.ROOT / "requirements.lock").read_text(), package))
    assert package in problem(lock, python, platform)
