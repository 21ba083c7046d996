"""The page of `pipeline demo`: how soon it is there, how soon it answers, and fifty people at once."""

import http.client
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import ROOT
from pipeline import tasks
from pipeline.dataset import load_examples
from pipeline.inference import predict
from pipeline.inference.predict import Predictor
from pipeline.paths import TaskPaths
from tests.harness import page as harness
from tests.harness.process import responds

PORT = 7990
HOST = f"127.0.0.1:{PORT}"
SESSIONS, SECONDS = 50, 30
EXAMPLES = 1000  # at most, for which the page and ONNX Runtime are compared
PAUSE = (0.5, 1.5)  # seconds between two inputs of a person
SEVEN = ROOT / "docs" / "seven.png"
FILES = ("/", "/app.js", "/network.js", "/style.css", "/site.json", "/models/mnist-lstm128/weights.bin")
# What the browser computes for one answer: the pixels of a drawing, all steps, the probabilities after each.
ANSWERS = """
    const { Network } = await import("/network.js"), { imageOfDrawing } = await import("/ink.js");
    const site = await fetch("/site.json").then((answer) => answer.json()), found = {};
    const canvas = Object.assign(document.createElement("canvas"), { width: 280, height: 280 });
    const pen = canvas.getContext("2d");
    Object.assign(pen, { fillStyle: "#ffffff", lineWidth: 20 });
    pen.fillRect(0, 0, 280, 280);
    pen.beginPath();
    for (const point of [[70, 60], [210, 60], [130, 250]]) pen.lineTo(...point);
    pen.stroke();
    const { data } = pen.getImageData(0, 0, 280, 280);
    for (const { name, task } of site.models) {
        const network = await Network.load(name), { shape } = network.facts.dataset, times = [];
        for (let i = 0; i < 25; i++) {
            const started = performance.now();
            let sequence = Array.from({ length: shape[0] }, () => new Float32Array(shape[1]).fill(1));
            if (task === "mnist") {
                const pixels = Float32Array.from(imageOfDrawing(data, 280, 280), (pixel) => pixel / 255);
                sequence = sequence.map((_, row) => pixels.subarray(28 * row, 28 * row + 28));
            }
            for (const { states } of network.trace(sequence)) network.probabilities(states);
            times.push(performance.now() - started);
        }
        found[name] = times.slice(5).sort((a, b) => a - b)[10];
    }
    return found;
"""


def site(full: bool) -> dict[str, Any]:
    """Seconds to the first page; milliseconds of an answer of each model; times of answers to fifty people."""
    starts = []
    for _ in range(5 if full else 3):
        with _server() as (_, seconds):
            starts.append(seconds)
    with _server() as (process, _), tempfile.TemporaryDirectory() as folder:
        with harness.opened(Path(folder), f"http://{HOST}") as page:
            page.open("bits")
            page.shows("#bits-answer", "ones of")
            script = "return Math.max(...performance.getEntries().map((entry) => entry.responseEnd ?? 0))"
            first, answers = page.run(script), page.run(ANSWERS)
            differences = {name: _difference(page, predict.load(name)) for name in answers}
        times, errors = _crowd()
        memory = _mib(process.pid)
    times.sort()
    return {
        "start_seconds": starts,
        "first_tab_ms": first,
        "answer_ms": answers,
        "differences": differences,
        "sessions": SESSIONS,
        "seconds": SECONDS,
        "answers": len(times),
        "errors": errors[:5],
        "median_ms": 1000 * statistics.median(times),
        "slowest_of_20_ms": 1000 * times[len(times) * 19 // 20],
        "memory_mib": memory,
    }


def _difference(page: harness.Page, model: Predictor) -> float:
    """The largest difference of a probability from ONNX Runtime's, over examples of the evaluated split."""
    encoded, _ = load_examples(TaskPaths(model.info.task)).chunk(0)
    encoded = encoded[:: max(1, len(encoded) // EXAMPLES)][:EXAMPLES]
    features = tasks.load(model.info.task).features(encoded, model.info)
    script = f"""
        const {{ Network }} = await import("/network.js"), network = await Network.load("{model.name}");
        return given.map((sequence) => [...network.probabilities(network.trace(sequence).at(-1).states)]);
    """
    found = np.concatenate([page.run(script, some.tolist()) for some in np.array_split(features, 10)])
    return float(np.abs(found - model.probabilities(features)).max())


@contextmanager
def _server() -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """The program, and the seconds after which its page answered; ended by Ctrl-C."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pipeline", "demo", "--no-browser", "--port", str(PORT)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while not responds(f"http://{HOST}"):
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
            time.sleep(0.02)
        yield process, time.monotonic() - started
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _crowd() -> tuple[list[float], list[str]]:
    """The seconds of each answer, and what went wrong, while fifty people load files and have a picture read."""
    times: list[float] = []
    errors: list[str] = []
    end = time.monotonic() + SECONDS
    people = [threading.Thread(target=_session, args=(seed, end, times, errors)) for seed in range(SESSIONS)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    return times, errors


def _session(seed: int, end: float, times: list[float], errors: list[str]) -> None:
    """One person, who does one thing after another until `end`."""
    rng, seven = random.Random(seed), SEVEN.read_bytes()  # noqa: S311
    while time.monotonic() < end:
        path = rng.choice([*FILES, "/read/mnist-lstm128"])
        started = time.monotonic()
        connection = http.client.HTTPConnection(HOST, timeout=60)
        try:
            if path.startswith("/read"):
                connection.request("POST", path, seven, {"Origin": f"http://{HOST}"})
            else:
                connection.request("GET", path)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200 or (path.startswith("/read") and "features" not in json.loads(content)):
                errors.append(f"{path}: {answer.status}")
        except OSError as problem:
            errors.append(repr(problem))
        finally:
            connection.close()
        times.append(time.monotonic() - started)
        time.sleep(rng.uniform(*PAUSE))


def _mib(pid: int) -> float:
    """The memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20
