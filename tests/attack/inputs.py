"""Areas of the campaign: parameters, and inputs of predictions."""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from bench.measure import LAUNCHER
from pipeline.files import md5
from pipeline.paths import PARAMS
from tests.attack.harness import changed, problem, run
from tests.attack.mutations import NASTY, WORDS, damaged, edited
from tests.harness import project

BITS, MNIST, FABLE = project.MODELS
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "PCX", "TGA", "EPS")


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


def memory(rng: random.Random) -> tuple[str, str]:
    """A picture with many pixels, and a text without end: at most 1 GiB."""
    path, kind = Path("attack.png"), rng.choice(FORMATS[:6])
    width, height = rng.choice([(7000, 7000), (49, 20_000), (20_000, 2400), (40_000, 40), (9000, 9000)])
    if kind == "WEBP":
        width, height = min(width, 16_000), min(height, 3000)
    mode = rng.choice(["L", "RGB", "RGBA"] if kind in ("PNG", "TIFF", "WEBP") else ["L", "RGB"])
    if stream := rng.random() < 0.2:
        command, case = ["sh", "-c", f"{sys.executable} -m pipeline predict {BITS} - < /dev/zero"], "/dev/zero"
    else:
        image = Image.new(mode, (width, height), rng.randint(0, 255) if mode == "L" else 0)
        image.paste(1, (width // 3, height // 3, width // 2, height // 2))
        image.save(path, kind)
        command = [sys.executable, "-m", "pipeline", "predict", MNIST, str(path)]
        case = f"a {kind} of {width} x {height} pixels, {mode}"
    with tempfile.NamedTemporaryFile("r") as peak:
        started = time.monotonic()
        process = subprocess.run(
            [sys.executable, "-S", "-c", LAUNCHER, peak.name, *command],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        wrong = problem(process.returncode, process.stdout, process.stderr, time.monotonic() - started)
        kib = int(peak.read())
    if not stream:
        path.unlink()
    if not wrong and kib > 2**20:
        wrong = f"{kib / 2**20:.1f} GiB"
    return f"predict {case}", wrong
