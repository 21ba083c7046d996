"""A PostgreSQL and an `mlflow server` on it, on free ports of 127.0.0.1, stopped at the end."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.process import free_port, responds, running, without


@dataclass(frozen=True)
class Database:
    """A PostgreSQL that asks for a password."""

    port: int
    password: str

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg2://mlflow:{self.password}@127.0.0.1:{self.port}/postgres"

    def ask(self, name: str, *words: str, ok: bool = True) -> bytes:
        """What one of PostgreSQL's programs prints, such as `pg_dump`."""
        connection = ["--host=127.0.0.1", f"--port={self.port}", "--username=mlflow", "--no-password"]
        environment = os.environ | {"PGPASSWORD": self.password}
        command = [program(name), *connection, *words, "postgres"]
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
    """Both, until the end of the block; SIGTERM stops them, too, as Ctrl-C does."""
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
    path = shutil.which(name, path=os.pathsep.join([*map(str, debian), os.environ["PATH"]]))
    assert path, f"PostgreSQL's {name} was not found: install Debian's package `postgresql`, or put it on PATH."
    return path


@contextmanager
def _postgres(folder: Path) -> Iterator[Database]:
    database = Database(free_port(), secrets.token_hex(16))
    data, password_file = folder / "postgres", folder / "password"
    password_file.write_text(database.password)
    user: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:  # PostgreSQL refuses to be run by root
        users = {entry.pw_name for entry in pwd.getpwall()}
        name = "postgres" if "postgres" in users else "nobody"
        user |= {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
        for path in (folder, password_file):
            shutil.chown(path, name)
    options = [
        "--username=mlflow",
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        "--no-locale",
    ]
    command = [program("initdb"), *options, "--no-sync", str(data)]
    initdb = subprocess.run(command, capture_output=True, text=True, check=False, **user)
    password_file.unlink()
    assert not initdb.returncode, initdb.stdout + initdb.stderr
    settings = ("listen_addresses=127.0.0.1", f"port={database.port}", "unix_socket_directories=", "fsync=off")
    command = [program("postgres"), "-D", str(data), *(word for setting in settings for word in ("-c", setting))]
    with running(
        command,
        folder / "postgres.log",
        lambda: bool(database.ask("psql", "--command=select 1", ok=False)),
        stop=signal.SIGINT,  # a fast shutdown, which does not wait for clients
        **user,
    ):
        yield database


@contextmanager
def _mlflow(folder: Path, database: Database) -> Iterator[Server]:
    port = free_port()
    server = Server(f"http://127.0.0.1:{port}", folder / "artifacts", folder / "mlflow.log", database)
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    command += ["--serve-artifacts", f"--artifacts-destination={server.artifacts}"]
    settings = {
        "MLFLOW_BACKEND_STORE_URI": database.uri,  # not among the words that the list of processes shows
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "TMPDIR": str(folder),
    }
    environment = without("MLFLOW_") | settings
    health = f"{server.uri}/health"
    with running(command, server.log, lambda: responds(health), stop=signal.SIGINT, cwd=folder, env=environment):
        yield server
