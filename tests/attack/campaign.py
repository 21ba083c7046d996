"""The areas of the campaign. Each case changes one thing in a trained tiny project, runs a command, and puts it back.

A command must end with exit status 0, 1 or 2 and without a traceback; an error is one short line. What was damaged is
refused, or harmless: the outputs stay as they were. No file outside of the project changes.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from typer.testing import Result

from pipeline.files import md5
from pipeline.paths import LOCK, PARAMS, ModelPaths, TaskPaths
from tests.attack.mutations import NASTY, WORDS, damaged, edited
from tests.harness import project

BITS, MNIST, FABLE = project.MODELS
SECONDS = 20  # that a command may take on a busy machine
LONGEST = 700  # characters of an error
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "PCX", "TGA", "EPS")


@dataclass(frozen=True)
class Outcome:
    """One case: what was done, and what is wrong with what came of it; "" if nothing is."""

    area: str
    case: str
    problem: str


Area = Callable[[random.Random], tuple[str, str]]  # returns what was done, and the problem


def campaign(cases: int, seed: int, seconds: float = float("inf")) -> Iterator[Outcome]:
    """Run cases of all areas in the working folder, a trained project, until `seconds` have passed."""
    end, areas = time.monotonic() + seconds, list(AREAS)
    for number in range(cases):
        if time.monotonic() > end:
            return
        rng = random.Random(f"{seed} {number}")  # noqa: S311
        area = rng.choices(areas, [AREAS[each][1] for each in areas])[0]
        yield Outcome(area, *AREAS[area][0](rng))


def run(*words: str) -> tuple[Result, str]:
    """A command in this process, and what is wrong with how it ended."""
    started = time.monotonic()
    result = project.invoke(*words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return result, f"traceback: {result.exception!r}"[:300]
    return result, problem(result.exit_code, result.stdout, result.stderr, time.monotonic() - started)


def run_apart(limit: int, *words: str) -> str:
    """A command in a process that can write no file of more than `limit` bytes; what is wrong with how it ended."""

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words], capture_output=True, text=True, check=False, preexec_fn=full
    )
    return problem(done.returncode, done.stdout, done.stderr, time.monotonic() - started)


def problem(status: int, stdout: str, stderr: str, seconds: float) -> str:
    """What is wrong with how a command ended; "" if nothing is."""
    errors = [line for line in stderr.splitlines() if not line.startswith(("warning: ", "Usage: ", "Try "))]
    errors = [line for line in errors if line.strip() and line[0] not in "╭│╰"]
    if status not in (0, 1, 2):
        return f"exit status {status}"
    if status == 2 and (len(errors) != 1 or len(errors[0]) > LONGEST):
        return f"{len(errors)} lines of errors: {errors}"[:500]
    if "Traceback" in stdout + stderr or "\x1b" in stdout + stderr:
        return "a traceback or an escape sequence in the output"
    return f"{seconds:.0f} s" if seconds > SECONDS else ""


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """A file with other content inside the `with`."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(mode)


def parameters(rng: random.Random) -> tuple[str, str]:
    """params.yaml with another value, key or byte: checked, or refused in a sentence."""
    text = edited(PARAMS.read_text(), rng)
    command = rng.choice([("check",), ("check",), ("results",), ("split", "bits"), ("predict", BITS, "0110")])
    with changed(PARAMS, text.encode(errors="replace")):
        _, wrong = run(*command)
    return f"{' '.join(command)} with {_difference(text)}", wrong


def _difference(text: str) -> str:
    old = set(PARAMS.read_text().splitlines())
    return "; ".join(repr(line[:80]) for line in text.splitlines() if line not in old)[:200]


def words(rng: random.Random) -> tuple[str, str]:
    """Inputs that are no strings of bits, words of the story or pictures."""
    model = rng.choice([BITS, MNIST, FABLE])
    text = rng.choice([*WORDS, *NASTY, rng.randbytes(rng.randint(0, 40)).decode(errors="replace")])
    _, wrong = run("predict", model, "--", text)
    return f"predict {model} {text[:60]!r}", wrong


def pictures(rng: random.Random) -> tuple[str, str]:
    """Picture files of several formats, damaged."""
    path, kind = Path("attack.png"), rng.choice(FORMATS)
    image = Image.effect_noise((rng.randint(1, 200), rng.randint(1, 200)), rng.randint(0, 200))
    image.convert(rng.choice(["RGB", "L"])).save(path, kind)
    path.write_bytes(damaged(path.read_bytes(), rng))
    _, wrong = run("predict", MNIST, str(path), *rng.choice([[], ["--digits"], ["--json"]]))
    path.unlink()
    return f"predict a damaged {kind}", wrong


def exports(rng: random.Random) -> tuple[str, str]:
    """A damaged export predicts nothing else."""
    model, text = rng.choice([(BITS, "01101010"), (FABLE, "there came a")])
    path = rng.choice([ModelPaths(model).onnx, ModelPaths(model).info, ModelPaths(model).export / "manifest.json"])
    expected = project.invoke("predict", model, text).stdout
    with changed(path, damaged(path.read_bytes(), rng)):
        result, wrong = run("predict", model, text)
    if not wrong and result.exit_code == 0 and result.stdout != expected:
        wrong = f"predicted {result.stdout!r}, undamaged {expected!r}"
    return f"predict with a damaged {path}", wrong


def data(rng: random.Random) -> tuple[str, str]:
    """A damaged file is refused by the stage that reads it, or changes none of its outputs."""
    model, task = rng.choice([(BITS, "bits"), (FABLE, "fable"), (MNIST, "mnist")])
    paths, files = ModelPaths(model), TaskPaths(task)
    folder, command, outputs = rng.choice(
        [
            (files.raw, ("split", task), files.split),
            (files.split, ("evaluate", model), paths.folder),
            (paths.export, ("evaluate", model), paths.folder),
        ]
    )
    path = rng.choice(sorted(file for file in folder.rglob("*") if file.is_file() and file.name[0] != "."))
    before = _hashes(outputs, path)
    with changed(path, damaged(path.read_bytes(), rng)):
        result, wrong = run(*command)
    if not wrong and _hashes(outputs, path) != before:
        wrong = f"exit status {result.exit_code}, and other outputs"
    return f"{' '.join(command)} with a damaged {path}", wrong


def _hashes(folder: Path, without: Path) -> dict[Path, str]:
    return {path: md5(path) for path in folder.rglob("*") if path.is_file() and path != without}


def lock(rng: random.Random) -> tuple[str, str]:
    """A damaged dvc.lock is refused, or shown to differ; what it names outside of the project stays as it is."""
    precious = Path("..") / "precious"
    precious.write_text("precious")
    text = LOCK.read_text()
    if rng.random() < 0.3:
        old = rng.choice([str(ModelPaths(BITS).metrics), str(TaskPaths("bits").info), str(ModelPaths(BITS).weights)])
        new = rng.choice([precious.resolve(), precious, f"data/split/../../{precious}"])
        text = text.replace(f"path: {old}", f"path: {new}")
    else:
        text = edited(text, rng)
    command = rng.choice([("verify",), ("results",), ("track", "HEAD"), ("track",), ("report", "--base", "HEAD")])
    with changed(LOCK, text.encode()):
        _, wrong = run(*command)
    if not wrong and precious.read_text() != "precious":
        wrong = "a file outside of the project was overwritten"
    return f"{' '.join(command)} with a damaged {LOCK}", wrong


def names(rng: random.Random) -> tuple[str, str]:
    """Names and values in params.yaml that are shell code: `dvc repro` runs nothing and removes no weights."""
    text = PARAMS.read_text()
    name = rng.choice(["x; touch pwned #", "x$(touch pwned)", "x`touch pwned`", "x|touch pwned", "x > pwned", "../x"])
    where = rng.choice(["models", "tasks", "recipe", "task"])
    if where in ("models", "tasks"):
        old = {"models": BITS, "tasks": "fable"}[where]
        text = text.replace(f"\n  {old}:", f"\n  '{name}':")
    else:
        text = text.replace("recipe: fast" if where == "recipe" else "task: bits", f"{where}: '{name}'", 1)
    weights = {path: md5(path) for path in Path("models").glob("*/model.weights.h5")}
    with changed(PARAMS, text.encode()):
        done = project.run(Path.cwd(), "dvc", "repro", ok=False)
    wrong = "it ran" if list(Path.cwd().glob("pwned*")) else ""
    if {path: md5(path) for path in Path("models").glob("*/model.weights.h5")} != weights:
        wrong = "weights were removed"
    return f"dvc repro with {where} {name!r}", wrong or ("exit status 0" if done.returncode == 0 else "")


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
    with _kept(Path("models"), Path("data"), Path("logs"), Path("mlflow.db"), Path("mlartifacts")):
        for path in (*Path("models").rglob("*"), *Path("data").rglob("*")):
            os.utime(path, (time.time() + day, time.time() + day))
        wrong = run_apart(limit, *words)
        wrong = wrong or run_apart(resource.RLIM_INFINITY, "track")
    return f"{' '.join(words)} with files of {limit} bytes at most, the clock {day} s off", wrong


@contextmanager
def _kept(*paths: Path) -> Iterator[None]:
    """Files and folders, put back after the `with`."""
    with tempfile.TemporaryDirectory() as name:
        for path in paths:
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, Path(name) / path.name)
        try:
            yield
        finally:
            for path in paths:
                if path.is_dir():
                    shutil.rmtree(path)
                shutil.move(Path(name) / path.name, path)


def recorded(rng: random.Random) -> tuple[str, str]:
    """A damaged artifact of a run in MLflow: `pipeline track` writes it again."""
    run("track")
    path = rng.choice(
        [path for path in Path("mlartifacts").rglob("*") if path.is_file() and "/models/" not in str(path)]
    )
    before = path.read_bytes()
    with changed(path, damaged(before, rng)):
        _, wrong = run(*rng.choice([("results",), ("compare", "HEAD", "workspace"), ("report", "--base", "HEAD")]))
        _, late = run("track")
        wrong = wrong or late
        if not wrong and path.name in ("provenance.json", "predictions.parquet") and path.read_bytes() != before:
            wrong = "`pipeline track` believed it"
    return f"track with a damaged {path.name}", wrong


def run_cache(rng: random.Random) -> tuple[str, str]:
    """A damaged entry or file of DVC's cache: `pipeline track` and `pipeline verify` name it, or do not need it."""
    path = rng.choice([path for path in Path(".dvc/cache").rglob("*") if path.is_file()])
    content = path.read_bytes()
    if "runs" in path.parts and rng.random() < 0.5:
        new = edited(content.decode(), rng).encode()
    else:
        new = damaged(content, rng)
    with changed(path, new):
        _, wrong = run(*rng.choice([("track",), ("track", "HEAD"), ("verify",)]))
    return f"a damaged {path.parts[2]} of the cache", wrong


AREAS: dict[str, tuple[Area, float]] = {  # with their shares of the cases
    "parameters": (parameters, 40),
    "words": (words, 12),
    "pictures": (pictures, 20),
    "exports": (exports, 12),
    "data": (data, 12),
    "dvc.lock": (lock, 3),
    "names": (names, 0.4),
    "kills": (kills, 0.4),
    "faults": (faults, 1),
    "recorded": (recorded, 1),
    "run cache": (run_cache, 2),
}
