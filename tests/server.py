"""A PostgreSQL and an `mlflow server` on it, on free ports of this machine, taken down at the end."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 120  # seconds that either may take to answer


@dataclass(frozen=True)
class Database:
    """A PostgreSQL that asks for a password."""

    port: int
    password: str

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg2://mlflow:{self.password}@127.0.0.1:{self.port}/postgres"

    def ask(self, name: str, *words: str, ok: bool = True) -> bytes:
        """What one of PostgreSQL's programs answers: `pg_dump`, say."""
        where = ["--host=127.0.0.1", f"--port={self.port}", "--username=mlflow", "--no-password"]
        environment = os.environ | {"PGPASSWORD": self.password}
        command = [program(name), *where, *words, "postgres"]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert not ok or done.returncode == 0, done.stderr.decode()
        return b"" if done.returncode else done.stdout


@dataclass(frozen=True)
class Server:
    """An `mlflow server` that keeps runs in a database and artifacts in a folder of its own."""

    uri: str
    artifacts: Path
    log: Path
    database: Database


@contextmanager
def started() -> Iterator[Server]:
    """Both, until the end; a test run that is told to end takes them down as well as one that is interrupted."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lstm-server-") as name,
            _postgres(Path(name)) as database,
            _mlflow(Path(name), database) as server,
        ):
            yield server
    finally:
        signal.signal(signal.SIGTERM, before)


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs, which Debian keeps out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, debian), os.environ["PATH"]]))
    assert found, f"PostgreSQL's {name} was not found: install Debian's package `postgresql`, or put it on PATH."
    return found


@contextmanager
def _postgres(folder: Path) -> Iterator[Database]:
    database = Database(_free_port(), secrets.token_hex(16))
    place, secret = folder / "postgres", folder / "password"
    secret.write_text(database.password)
    someone: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
        known = {each.pw_name for each in pwd.getpwall()}
        name = "postgres" if "postgres" in known else "nobody"
        someone |= {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
        for path in (folder, secret):
            shutil.chown(path, name)
    options = ["--username=mlflow", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-locale"]
    command = [program("initdb"), *options, "--no-sync", str(place)]
    made = subprocess.run(command, capture_output=True, text=True, check=False, **someone)
    secret.unlink()
    assert not made.returncode, made.stdout + made.stderr
    settings = ("listen_addresses=127.0.0.1", f"port={database.port}", "unix_socket_directories=", "fsync=off")
    command = [program("postgres"), "-D", str(place), *(word for each in settings for word in ("-c", each))]
    with _running(
        command, folder / "postgres.log", lambda: bool(database.ask("psql", "--command=select 1", ok=False)), **someone
    ):
        yield database


@contextmanager
def _mlflow(folder: Path, database: Database) -> Iterator[Server]:
    port = _free_port()
    server = Server(f"http://127.0.0.1:{port}", folder / "artifacts", folder / "mlflow.log", database)
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += ["--serve-artifacts", f"--artifacts-destination={server.artifacts}"]
    settings = {
        "MLFLOW_BACKEND_STORE_URI": database.uri,  # not among the words that the list of processes shows
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "TMPDIR": str(folder),
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")} | settings
    with _running(command, server.log, lambda: _healthy(server.uri), cwd=folder, env=environment):
        yield server


@contextmanager
def _running(command: Sequence[str], log: Path, ready: Callable[[], bool], **more: Any) -> Iterator[None]:
    """A process in a group of its own, so that it and its children can be ended, and nobody else's."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, process_group=0, **more
        )
    try:
        end = time.monotonic() + PATIENCE
        while not ready():
            said = f"{' '.join(command)}:\n{log.read_text(errors='replace')[-4000:]}"
            assert process.poll() is None, f"ended at once: {said}"
            assert time.monotonic() < end, f"did not answer within {PATIENCE} seconds: {said}"
            time.sleep(0.2)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # a quick end: PostgreSQL waits for no client, MLflow hands it on
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(uri: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{uri}/health", timeout=5) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


def _free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])
