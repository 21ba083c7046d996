"""Areas of the campaign: processes that are killed, and disks that become full."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.attack.harness import kept, run_apart
from tests.harness import project

BITS, *_ = project.MODELS


def kills(rng: random.Random) -> tuple[str, str]:
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
