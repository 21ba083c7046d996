"""The page of `pipeline demo`: how soon it is there, and fifty people at once for a minute."""

import base64
import json
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from bench.measure import ROOT

PORT = 7990
ADDRESS = f"http://127.0.0.1:{PORT}"
SESSIONS, SECONDS = 50, 60
PAUSE = (0.5, 1.5)  # seconds between two inputs of a person
SAMPLES = 6  # of the memory


def demo(full: bool) -> dict[str, Any]:
    """Seconds to the first page; times of answers to people who draw, click and tell; memory meanwhile."""
    starts = []
    for _ in range(5 if full else 3):
        with _server() as (_, seconds):
            starts.append(seconds)
    with _server() as (process, _):
        functions = _functions()
        _session(functions, 0, time.monotonic() + 5, [], [])  # what is imported at the first use is imported
        times: list[float] = []
        errors: list[str] = []
        end = time.monotonic() + SECONDS
        people = [
            threading.Thread(target=_session, args=(functions, seed, end, times, errors)) for seed in range(SESSIONS)
        ]
        for person in people:
            person.start()
        memory = []
        for _ in range(SAMPLES):
            time.sleep(SECONDS / SAMPLES)
            memory.append(_mib(process.pid))
        for person in people:
            person.join()
    times.sort()
    return {
        "start_seconds": starts,
        "sessions": SESSIONS,
        "seconds": SECONDS,
        "answers": len(times),
        "errors": errors[:5],
        "median_ms": 1000 * statistics.median(times),
        "slowest_of_20_ms": 1000 * times[len(times) * 19 // 20],
        "memory_mib": memory,
    }


@contextmanager
def _server() -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """The program, and the seconds after which its page answered; ended by Ctrl-C."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pipeline", "demo", "--no-browser", "--port", str(PORT)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
            with suppress(httpx.TransportError):
                if httpx.get(ADDRESS, timeout=5).status_code == 200:
                    break
            time.sleep(0.02)
        yield process, time.monotonic() - started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _functions() -> dict[str, tuple[int, Callable[[random.Random], list[Any]]]]:
    """What a person does: the number of a function of the page, and its inputs."""
    seven = base64.b64encode((ROOT / "docs" / "seven.png").read_bytes()).decode()
    config = httpx.get(f"{ADDRESS}/config").json()
    numbers = {function["api_name"]: function["id"] for function in config["dependencies"]}

    def bits(rng: random.Random) -> list[Any]:
        return ["bits-lstm24", "".join(rng.choice("01") for _ in range(rng.randint(1, 20)))]

    return {
        "draw": (numbers["drawn"], lambda rng: [rng.choice(["mnist-lstm128", "mnist-lstm256x2"]), seven]),
        "type bits": (numbers["typed"], bits),
        "next word": (
            numbers["next_word"],
            lambda rng: ["fable-lstm512", "there came a", None, 0.5, rng.randint(0, 9)],
        ),
    }


def _session(
    functions: dict[str, tuple[int, Callable[[random.Random], list[Any]]]],
    seed: int,
    end: float,
    times: list[float],
    errors: list[str],
) -> None:
    """One person, who does one thing after another until `end`."""
    rng = random.Random(seed)  # noqa: S311
    with httpx.Client(base_url=f"{ADDRESS}/gradio_api/queue", timeout=60) as client:
        while time.monotonic() < end:
            number, inputs = rng.choice(list(functions.values()))
            started = time.monotonic()
            try:
                error = _ask(client, f"person-{seed}", number, inputs(rng))
            except httpx.HTTPError as problem:
                error = repr(problem)
            times.append(time.monotonic() - started)
            if error:
                errors.append(error)
            time.sleep(rng.uniform(*PAUSE))


def _ask(client: httpx.Client, session: str, number: int, data: list[Any]) -> str:
    """Call one function of the page as the browser does; what went wrong."""
    client.post("/join", json={"data": data, "fn_index": number, "session_hash": session}).raise_for_status()
    with client.stream("GET", "/data", params={"session_hash": session}) as events:
        for line in events.iter_lines():
            if line.startswith("data:"):
                message = json.loads(line.removeprefix("data:"))
                if message["msg"] == "process_completed":
                    return "" if message["success"] else json.dumps(message["output"])
    return "the stream ended without an answer"


def _mib(pid: int) -> float:
    """The memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20
