"""Sweeps on Ray: what a trial costs beside a bare run, how many trials an hour, and what limits a large cluster."""

import heapq
import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from statistics import median
from typing import Any

from bench.clone import DVC, set_params
from bench.measure import ROOT, interleaved, ratio, run
from pipeline.lineage import exchange
from pipeline.paths import stage

BITS = "bits-lstm24"
NODES = (10, 100, 1000)
EACH = 10  # trials for each node of a simulated cluster


def cluster(full: bool) -> dict[str, Any]:
    """Seconds of a trial and of a bare run, in turns; of four trials one by one and two by two; a simulation."""
    repeats = 5 if full else 2
    with tempfile.TemporaryDirectory() as folder:
        clone = _clone(ROOT, Path(folder) / "project")  # whose cache is its own: nobody wants these trials
        run([*DVC, "repro", stage("split", "bits")], clone)
        seeds = iter(range(1000, 2000))
        seconds = interleaved(
            {
                "bare run": lambda: _bare(clone, next(seeds)),
                "sweep of one trial": lambda: _sweep(clone, [next(seeds)], 1)["seconds"],
                "four trials, one at a time": lambda: _sweep(clone, [next(seeds) for _ in range(4)], 2)["seconds"],
                "four trials, two at a time": lambda: _sweep(clone, [next(seeds) for _ in range(4)], 1)["seconds"],
            },
            repeats,
        )
        last = _sweep(clone, [next(seeds) for _ in range(4)], 1)
        sent = sum(path.stat().st_size for path in last["objects"])
        store = _store_seconds(clone, _clone(clone, Path(folder) / "other"), last["objects"])
    trial = median(seconds["bare run"])
    return {
        "seconds": seconds,
        "trial / bare": ratio(seconds["sweep of one trial"], seconds["bare run"]),
        "one at a time / two at a time": ratio(
            seconds["four trials, one at a time"], seconds["four trials, two at a time"]
        ),
        "sent_mib": sent / 2**20,
        "store_seconds": store,
        "record_seconds": last["record_seconds"],
        "simulation": [simulated(nodes, trial, store, last["record_seconds"]) for nodes in NODES],
    }


def _clone(source: Path, folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(source), str(folder)], check=True)
    return folder


def _bare(clone: Path, seed: int) -> float:
    before = (clone / "params.yaml").read_bytes()
    set_params(clone, {"seed": seed})
    seconds = run([*DVC, "repro", stage("evaluate", BITS)], clone).seconds
    (clone / "params.yaml").write_bytes(before)  # the data of the first seed are those that a sweep sends
    run([*DVC, "repro", stage("split", "bits")], clone)
    return seconds


def _store_seconds(clone: Path, other: Path, objects: list[Path]) -> float:
    """Seconds that the outputs of a trial take to be checked and put into another clone's cache."""
    content = {"".join(path.parts[-2:]): path.read_bytes() for path in objects}
    with chdir(other):
        started = time.perf_counter()
        exchange.add(content, {})
        return time.perf_counter() - started


def _sweep(clone: Path, seeds: list[int], cpus: int) -> dict[str, Any]:
    """Seconds of a sweep over seeds, and of recording a trial, from when its lines came."""
    words = ["-S", f"seed={','.join(map(str, seeds))}", "--cpus-per-trial", str(cpus)]
    started, lines = time.perf_counter(), []
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", "sweep", BITS, *words], cwd=clone, stdout=subprocess.PIPE, text=True
    ) as process:
        lines = [(time.perf_counter() - started, line) for line in process.stdout or ()]
    if process.returncode:
        raise RuntimeError("".join(line for _, line in lines))
    recorded = [at for at, line in lines if line.startswith("recorded ")]
    ended = max(at for at, line in lines if re.search(r": finished, accuracy", line))
    files = [path for path in (clone / "sweeps").glob("*/*.json") if path.name != "sweep.json"]
    newest = json.loads(max(files, key=lambda path: path.stat().st_mtime).read_text())
    hashes = [out["md5"] for entry in newest["entries"].values() for out in entry.get("outs", [])]
    cached = [clone / ".dvc" / "cache" / "files" / "md5" / each[:2] / each[2:] for each in hashes]
    return {
        "seconds": time.perf_counter() - started,
        "record_seconds": (recorded[-1] - ended) / len(recorded),
        "objects": [path for path in cached if path.is_file()],
    }


def simulated(nodes: int, trial: float, store: float, record: float) -> dict[str, Any]:
    """A sweep of `EACH` trials on each of so many nodes, with measured durations; only the scheduling is simulated.

    Trials last `trial` seconds. One driver stores each, `store` seconds, then records each, `record` seconds.
    """
    waiting = EACH * nodes
    running = [trial] * min(nodes, waiting)
    heapq.heapify(running)
    waiting -= len(running)
    driver = 0.0
    while running:
        ended = heapq.heappop(running)
        driver = max(driver, ended) + store
        if waiting:
            waiting -= 1
            heapq.heappush(running, driver + trial)  # Tune starts the next trial when it has seen the end
    trained = driver
    total = trained + EACH * nodes * record
    return {
        "nodes": nodes,
        "trials": EACH * nodes,
        "trained_seconds": trained,
        "total_seconds": total,
        "busy": EACH * trial / trained,
        # Seconds of work that come to the one driver in a second: above 1, it falls behind.
        "driver_load": nodes / trial * (store + record),
    }
