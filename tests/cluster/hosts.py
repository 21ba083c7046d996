"""Hosts on this machine, which share a network and nothing else: no file, process, memory, name or address."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.harness.process import until

SWITCH = Path(__file__).parent / "switch.sh"
ADDRESSES = {"driver": "10.77.0.1", "first": "10.77.0.2", "second": "10.77.0.3", "stranger": "10.77.0.4"}
NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child")
PATHS = {"PATH": "/opt/environment/bin:/usr/bin:/usr/sbin", "HOME": "/root", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Host:
    """One host. Below `folder` are its files, as this machine sees them."""

    name: str
    address: str
    folder: Path
    init: int  # its first process
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, words: Sequence[str], cwd: str, environment: dict[str, str]) -> list[str]:
        """The command of this machine that runs a command on the host."""
        variables = [f"{key}={value}" for key, value in (PATHS | environment).items()]
        inside = ["env", "-i", "-C", cwd, *variables, *words]
        return ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-n", "-p", "-r", "-w", *inside]

    def run(
        self, *words: str, cwd: str = "/root", ok: bool = True, seconds: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the host to its end."""
        command = self.command(words, cwd, environment)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return done

    def start(self, *words: str, log: Path, cwd: str = "/root", **environment: str) -> subprocess.Popen[bytes]:
        """Start a command on the host; it ends with the host, at the latest."""
        with log.open("wb") as file:
            process = subprocess.Popen(
                self.command(words, cwd, environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def processes(self) -> list[psutil.Process]:
        """All that run on the host but the first."""
        here, found = Path(f"/proc/{self.init}/ns/pid").readlink(), []
        for process in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                if process.pid != self.init and Path(f"/proc/{process.pid}/ns/pid").readlink() == here:
                    found.append(process)
        return found


@dataclass(frozen=True)
class Hosts:
    """Hosts at one switch."""

    switch: int  # a process there
    hosts: dict[str, Host]

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def cable(self, name: str, state: str) -> None:
        """Pull the cable of a host out (down), or put it back (up)."""
        subprocess.run(
            ["nsenter", "-t", str(self.switch), "-n", "ip", "link", "set", name, state], check=True, capture_output=True
        )


def reason_against() -> str:
    """Why this machine can have no hosts; empty: it can."""
    try:
        done = subprocess.run(
            [*NAMESPACES, "sh", "-c", "mount --make-rprivate / && ip link add switch type bridge"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    return "" if done.returncode == 0 else f"namespaces are not allowed here ({done.stderr.strip()[-200:]})"


@contextmanager
def hosts(folder: Path) -> Iterator[Hosts]:
    """The hosts, with their files below `folder`, until the end of the block."""
    for name in ADDRESSES:
        (folder / name).mkdir(parents=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOST_PYTHON": sys.base_prefix,
        "HOST_VERSION": version,
        "HOST_LIBRARIES": str(Path(sys.prefix) / "lib" / version / "site-packages"),
    }
    words = [f"{name}={address}" for name, address in ADDRESSES.items()]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*NAMESPACES, "bash", str(SWITCH), str(folder), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    them: dict[str, Host] = {}
    try:
        started = until(lambda: (folder / "up").exists() and len(_inits(process.pid)) == len(ADDRESSES), 30)
        assert started, (folder / "log").read_text()
        inits = _inits(process.pid)
        switch = psutil.Process(process.pid).children()[0].pid
        them |= {name: Host(name, address, folder / name, inits[name]) for name, address in ADDRESSES.items()}
        yield Hosts(switch, them)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        for each in [each for host in them.values() for each in host.started]:
            each.wait()


def _inits(switch: int) -> dict[str, int]:
    """The first process of each host that is up, as this machine numbers it."""
    found = {}
    for each in psutil.Process(switch).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            name = (each.cmdline() or [""])[0]
            if name.startswith("host-"):
                found[name.removeprefix("host-")] = each.pid
    return found
