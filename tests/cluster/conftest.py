"""A Ray cluster of two nodes, and a tiny project to sweep in."""

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import project
from tests.harness.process import with_path, without

TWO_NODES = Path(__file__).parent / "two_nodes.py"
MODEL = "bits-lstm24"


@dataclass
class Cluster:
    """Two nodes on 127.0.0.1."""

    process: subprocess.Popen[str]
    address: str
    environment: dict[str, str]  # for a driver
    lost: bool = False  # whether the second node is not there

    def tell(self, word: str) -> None:
        """Have a node killed (lose) or started (add)."""
        assert self.process.stdin
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        _read(self.process, word, 60)
        self.lost = word == "lose"


def _read(process: subprocess.Popen[str], start: str, seconds: float) -> str:
    assert process.stdout
    while True:
        assert select.select([process.stdout], [], [], seconds)[0], f"no line {start!r}"
        line = process.stdout.readline()
        assert line, "the cluster ended"
        if line.startswith(start):
            return line.strip()


def hidden(folders: list[Path]) -> list[str]:
    """The beginning of a command for which these folders are empty, where the system can do that (Linux, root)."""
    mounts = " && ".join(f"mount -t tmpfs tmpfs {folder}" for folder in folders)
    command = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh"]
    works = subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
    return command if works else []


@contextmanager
def start(folder: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`pipeline WORDS` in a process group of its own, which ends with the `with`."""
    with (folder.parent / "out").open("w") as out, (folder.parent / "err").open("w") as error:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *words],
            cwd=folder,
            env=with_path(without("DVC_", "MLFLOW_", "GIT_", "RAY_", "COV_"), project.BIN) | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=error,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end(process: subprocess.Popen[str], folder: Path, status: int = 0) -> tuple[str, str]:
    """Wait for the end of a command; return what it printed, and its errors."""
    process.wait(600)
    out, error = ((folder.parent / name).read_text() for name in ("out", "err"))
    assert process.returncode == status, out + error
    return out, error


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all projects, which the nodes of the cluster do not see."""
    return tmp_path_factory.mktemp("projects")


@pytest.fixture(scope="session")
def prepared(projects: Path) -> Path:
    """A tiny project with one model, whose data are made and committed, but which has not been trained."""
    folder = project.make(projects / "prepared", models=[MODEL])
    project.run(folder, "dvc", "repro", "split@bits")
    project.commit(folder, "data")
    return folder


@pytest.fixture
def swept(projects: Path, prepared: Path) -> Path:
    """A copy of the prepared project; what commands print lies beside it."""
    folder = projects / f"test{len(list(projects.iterdir()))}" / "project"
    shutil.copytree(prepared, folder, symlinks=True)
    return folder


@pytest.fixture
def cluster(two_nodes: Cluster) -> Iterator[Cluster]:
    """The cluster; a node that a test lost is started again."""
    yield two_nodes
    if two_nodes.lost:
        two_nodes.tell("add")


@pytest.fixture(scope="session")
def two_nodes(projects: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose nodes see neither this checkout's code nor the projects of the driver."""
    tmp_path = tmp_path_factory.mktemp("cluster")
    token, home = tmp_path / "token", tmp_path / "node"
    token.write_text("0" * 64)
    home.mkdir()
    # A socket's path has at most 107 characters.
    environment = with_path(without("DVC_", "MLFLOW_", "GIT_", "RAY_", "PYTHONPATH", "COV_"), project.BIN)
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    script = home / "two_nodes.py"
    script.write_text(TWO_NODES.read_text())
    with (tmp_path / "cluster.log").open("w") as log:
        process = subprocess.Popen(
            [*hidden([projects, project.ROOT / "pipeline"]), sys.executable, str(script)],
            cwd=home,
            env=environment | {"HOME": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        address = _read(process, "address", 120).split()[1]
        driver = {key: environment[key] for key in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")}
        driver |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "HOME": os.environ["HOME"]}
        yield Cluster(process, address, driver)
    finally:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
