"""Programs that a test starts, and stops again with all their children."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_OPEN = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy: only this machine is asked


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    seconds: float = 180,
    stop: signal.Signals = signal.SIGTERM,
    **options: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a process group of its own, from when `ready()` is true to the end of the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, **options
        )
    try:

        def answers() -> bool:
            assert process.poll() is None, f"{command} ended:\n{log.read_text(errors='replace')[-4000:]}"
            return ready()

        assert until(answers, seconds), f"{command} is not ready:\n{log.read_text(errors='replace')[-4000:]}"
        yield process
    finally:
        process.send_signal(stop)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition is true, at most for `seconds`; whether it is."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.2)
    return true


def responds(address: str) -> bool:
    """Whether a server answers a GET with status 200."""
    with suppress(OSError), _OPEN.open(address, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def without(*prefixes: str) -> dict[str, str]:
    """This process's environment, without the variables that begin with these."""
    return {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}


def with_path(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """An environment whose PATH begins with a folder."""
    return {**environment, "PATH": f"{folder}{os.pathsep}{environment['PATH']}"}
