"""Fixtures that several test files share. The tiny project is trained once for all workers; each test gets a copy."""

import os
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import dvc.repo  # noqa: F401  # DVC binds its log to the standard output of its first import: not to that of a test
import hypothesis
import pytest

from pipeline.paths import ModelPaths
from tests.harness import project, shared

LIBRARIES = {"ORT_DISABLE_TELEMETRY": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "TF_CPP_MIN_LOG_LEVEL": "3"}
# A SavedModel is written without the GPU, which TensorFlow refuses in a process that has trained on it, as a test does.
LIBRARIES["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.update(LIBRARIES)
hypothesis.settings.register_profile("project", deadline=None)  # the first example imports libraries
hypothesis.settings.load_profile("project")
# Fixtures that train, or that need what was trained: their tests are left out of `make test-fast`.
SLOW = {"trained", "trained_project"}
LONG = 60  # seconds
SYSTEM = Path(__file__).parent / "system"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that need a training, those that run whole flows, and with --dist loadgroup those of one process.

    These are the tests of a file, and all tests that share a server or a cluster.
    """
    if SYSTEM in item.path.parents:
        item.add_marker(pytest.mark.system)
    if SLOW & set(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.slow)
    shared = next((name for name in ("cluster", "server") if item.get_closest_marker(name)), "")
    item.add_marker(pytest.mark.xdist_group(shared or item.path.stem))


@pytest.hookimpl(trylast=True)  # after pytest-randomly has shuffled the files
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in an order in which no worker waits for the trained project.

    One worker begins with a file that needs it, and makes it; meanwhile the other runs the tests of the cluster, which
    take long, and the files that do not need it.
    """
    needing = [item.path for item in items if SLOW & set(getattr(item, "fixturenames", ()))]
    clustered = [item.path for item in items if item.get_closest_marker("cluster")]
    items.sort(key=lambda item: (item.path not in needing[:1], item.path not in clustered, item.path in needing))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seconds of each part of a long run, those of all processes; CONTRIBUTING.md has them of a whole run."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds["/".join(report.nodeid.split("::")[0].split("/")[:2])] += report.duration
    if sum(seconds.values()) > LONG:
        terminalreporter.section("seconds by part")
        for part, taken in sorted(seconds.items(), key=lambda each: -each[1]):
            terminalreporter.write_line(f"{taken:6.0f}  {part}")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No variable of the user's that changes where data and runs go."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "MNIST_DIR"):
        monkeypatch.delenv(name, raising=False)
    if mlflow_utils := sys.modules.get("mlflow.tracking._tracking_service.utils"):
        # MLflow remembers the folder of each run by its id, which copies of the trained project share.
        mlflow_utils._artifact_repos_cache.clear()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path_factory.getbasetemp() / "keras"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project after all stages, committed. Tests must not change it: see trained_project."""

    def make(folder: Path) -> None:
        project.make(folder)
        project.run_stages(folder, "check", *project.IN_ORDER)
        project.commit(folder, "trained")

    return shared.made_once(tmp_path_factory, "trained", make)


@pytest.fixture
def trained_project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained tiny project, the working folder of the test, which may change it."""
    folder = project.copy(trained, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def untrained_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny project in which no stage has run, the working folder of the test."""
    folder = project.make(tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def exported(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: it holds three tiny exported models and nothing else, and the test may change it."""
    for name in project.MODELS:
        shutil.copytree(ModelPaths(name, trained).export, ModelPaths(name, tmp_path).export)
    monkeypatch.chdir(tmp_path)
    return tmp_path
