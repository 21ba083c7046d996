"""Areas of the campaign: processes that are killed, and disks that become full."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from mlflow import MlflowClient

from pipeline.files import files_below, md5
from tests.attack.harness import kept, run_apart
from tests.harness import project
from tests.harness.process import with_path, without

BITS, *_ = project.MODELS
COMMANDS = (
    *(("pipeline", verb) for verb in ("check", "track", "verify", "results", "compare", "sbom", "site", "demo", "ui")),
    *(("pipeline", verb, "bits") for verb in ("generate", "split", "card")),
    *(("pipeline", verb, BITS) for verb in ("train", "export", "evaluate", "card", "promote", "reproduce")),
    ("pipeline", "predict", BITS, "01101010", "--log", "log.jsonl"),
    ("pipeline", "drift", "log.jsonl"),
    ("pipeline", "explain", BITS, "01101010"),
    ("pipeline", "report", "--base", "HEAD"),
    ("pipeline", "keys", "10.0.0.1", "--folder", "keys"),
    ("dvc", "repro", "--force", "split@bits"),
    *(("dvc", "repro", "--force", f"{verb}@{BITS}") for verb in ("train", "export", "evaluate")),
)


def store_kill(rng: random.Random) -> tuple[str, str]:
    """`pipeline track` killed while it makes its store: the next one completes it."""
    folder = Path("store").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    seconds, number = rng.uniform(0.5, 6), rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    command = [sys.executable, "-m", "pipeline", "track", "HEAD"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    process.send_signal(number)
    process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return f"track after {number.name} at {seconds:.1f} s", "" if done.returncode == 0 else done.stderr[-300:]


def kill(rng: random.Random) -> tuple[str, str]:
    """A command killed at any moment: `dvc repro` and `pipeline track` end with the same bytes and runs as before."""
    words = rng.choice(COMMANDS)
    seconds, number = rng.uniform(0.1, 8), rng.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
    environment = without("MLFLOW_", "MNIST_DIR") | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = with_path(environment, project.BIN) | {"KERAS_HOME": str(Path("keras").resolve())}
    before, runs = outputs(), recorded()
    process = subprocess.Popen(
        [sys.executable, "-m", *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(number)
    process.wait()
    what = f"{' '.join(words)} after {number.name} at {seconds:.1f} s"
    lock = Path(".dvc/tmp/rwlock")
    if lock.is_file() and not lock.read_bytes():  # docs/limits.md
        lock.unlink()
    for again in (("dvc", "repro"), ("pipeline", "track"), ("pipeline", "verify")):
        done = subprocess.run(
            [sys.executable, "-m", *again], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode or "Traceback" in done.stderr:
            return what, f"{' '.join(again)}: {(done.stdout + done.stderr)[-300:]}"
    changed = {path for path, _ in before.items() ^ outputs().items()}
    return what, f"{sorted(map(str, changed))} differ" if changed else "" if recorded() == runs else "runs differ"


def outputs() -> dict[Path, str]:
    """The hash of each file that stages write, and of dvc.lock."""
    paths = [Path("dvc.lock"), *files_below(Path("data")), *files_below(Path("models"))]
    return {path: md5(path) for path in paths}


def recorded() -> list[str]:
    """The names of the runs in the project's store, but of interrupted trainings, which stay as runs that failed."""
    client = MlflowClient(f"sqlite:///{Path('mlflow.db').resolve()}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    return sorted(str(run.info.run_name) for run in client.search_runs(experiments) if run.info.status != "FAILED")


def faults(rng: random.Random) -> tuple[str, str]:
    """A disk that becomes full, and a clock that is a day off: a sentence, and no file that is half written."""
    words = rng.choice(
        [
            ("check",),
            ("split", "bits"),
            ("export", BITS),
            ("evaluate", BITS),
            ("track",),
            ("results", "--write", "results.csv"),
            ("report", "--base", "HEAD"),
        ]
    )
    limit = rng.choice([0, 100, 3000, 20_000, 100_000, 10_000_000])
    day = rng.choice([-1, 0, 1]) * 86_400
    with kept(Path("models"), Path("data"), Path("logs"), Path("mlflow.db"), Path("mlartifacts")):
        for path in (*Path("models").rglob("*"), *Path("data").rglob("*")):
            os.utime(path, (time.time() + day, time.time() + day))
        wrong = run_apart(limit, *words)
        wrong = wrong or run_apart(resource.RLIM_INFINITY, "track")
    return f"{' '.join(words)} with files of {limit} bytes at most, the clock {day} s off", wrong
