"""Sweeps on Ray: what a trial costs beside a bare run, how many trials an hour, and what limits a large cluster."""

import heapq
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path
from statistics import median
from typing import Any

from dvc.repo import Repo

from bench.clone import DVC, set_params
from bench.measure import ROOT, interleaved, ratio, run
from pipeline import config
from pipeline.paths import ModelPaths, stage

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
        four = [next(seeds) for _ in range(4)]
        last = _sweep(clone, four, 1)
        again = _sweep(clone, four, 1)  # of which all is recorded
        sent = sum(len(content) for content in last["objects"].values())
        store = _store_seconds(clone, last, pushed=frozenset())
        known = _store_seconds(clone, last, pushed=_pushed(clone))
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
        "store_pushed_seconds": known,
        "ask_seconds": again["record_seconds"],
        "simulation": [simulated(nodes, trial, store, last["record_seconds"]) for nodes in NODES],
        "simulation_pushed": [simulated(nodes, trial, known, again["record_seconds"]) for nodes in NODES],
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


def _pushed(clone: Path) -> frozenset[str]:
    """The paths that DVC pushes to a remote."""
    with Repo(str(clone)) as repo:
        return frozenset(str(out) for out in repo.index.outs if out.use_cache)


def _store_seconds(clone: Path, trial: dict[str, Any], pushed: frozenset[str]) -> float:
    """Seconds that what a trial sends takes to be checked and stored, in a clone that has none of it.

    Files whose paths are `pushed` are sent by their hashes alone.
    """
    from pipeline.cluster import overrides, plan, receiver  # which need Ray
    from pipeline.cluster.results import Results

    entries = trial["entries"]
    hashes = {out["path"]: out["md5"] for entry in entries.values() for out in entry.get("outs", [])}
    known = frozenset(hash_name for path, hash_name in hashes.items() if path in pushed)
    metrics = trial["objects"][hashes[str(ModelPaths(BITS).metrics)]]
    content = {
        "objects": {name: value for name, value in trial["objects"].items() if name not in known},
        "runs": {},
        "provenances": {},
        "entries": entries,
        "metrics": metrics,
        "pushed": known,
    }
    with tempfile.TemporaryDirectory() as folder, chdir(clone):
        planned = overrides.trials(BITS, ["seed=1"], [], None, config.load())
        sweep = plan.plan(config.load().model(BITS), planned, "stored")
        os.chdir(_clone(clone, Path(folder) / "other"))
        started = time.perf_counter()
        record = receiver.receive(sweep, "stored-1", content, [])
        Results(sweep).save(record)
        seconds = time.perf_counter() - started
    if record.outcome != "finished":
        raise RuntimeError(record.reason)
    return seconds


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
    ended = max((at for at, line in lines if re.search(r": finished, accuracy", line)), default=0.0)
    files = [path for path in (clone / "sweeps").glob("*/*.json") if path.name != "sweep.json"]
    newest = json.loads(max(files, key=lambda path: path.stat().st_mtime).read_text())
    hashes = [out["md5"] for entry in newest["entries"].values() for out in entry.get("outs", [])]
    cached = {each: clone / ".dvc" / "cache" / "files" / "md5" / each[:2] / each[2:] for each in hashes}
    return {
        "seconds": time.perf_counter() - started,
        "record_seconds": (recorded[-1] - max(ended, recorded[0])) / max(1, len(recorded) - 1),
        "objects": {name: path.read_bytes() for name, path in cached.items() if path.is_file()},
        "entries": newest["entries"],
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
