"""How fast exported models answer, and in how much memory."""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import handwriting
from bench.measure import ROOT, interleaved, ratio, run

BITS, DIGITS = "bits-lstm24", "mnist-lstm128"
PIPELINE = str(Path(sys.executable).parent / "pipeline")
BARE = (
    "import numpy, onnxruntime, sys; s = onnxruntime.InferenceSession(sys.argv[1]);"
    "print(s.run(['probabilities'], {'sequence': numpy.ones((1, 20, 1), 'float32')})[0].argmax())"
)


def inference(full: bool) -> dict[str, Any]:
    """Cold start beside bare Python; a stream of strings and a stream of pictures, with the memory of a short one."""
    onnx = str(ROOT / "models" / BITS / "export" / "model.onnx")
    starts = interleaved(
        {
            "pipeline": lambda: run([PIPELINE, "predict", BITS, "1" * 20]).seconds,
            "bare": lambda: run([sys.executable, "-c", BARE, onnx]).seconds,
        },
        20 if full else 10,
    )
    with tempfile.TemporaryDirectory() as folder:
        lines = 1_000_000 if full else 100_000
        rng = np.random.default_rng(1)
        strings = ["".join(row) for row in rng.choice(["0", "1"], (lines, 20))]
        pictures = enumerate(handwriting.collection(200, 5))
        paths = [str(handwriting.save(picture, Path(folder), str(number))) for number, picture in pictures]
        return {
            "cold_start": {**starts, "ratio": ratio(starts["pipeline"], starts["bare"])},
            "strings": _stream(Path(folder), BITS, strings),
            "pictures": _stream(Path(folder), DIGITS, paths * (50 if full else 5)),
        }


def _stream(folder: Path, model: str, lines: list[str]) -> dict[str, float]:
    """Seconds and peak memory of a stream of lines, and the memory of its first tenth."""
    result: dict[str, float] = {"lines": len(lines)}
    for name, part in (("tenth", lines[: len(lines) // 10]), ("all", lines)):
        path = folder / "lines"
        path.write_text("\n".join(part) + "\n")
        program = (
            "import sys; from pipeline import cli; sys.argv = ['pipeline', 'predict', sys.argv[1], '-'];"
            "\ntry: cli.app()\nexcept SystemExit as end: sys.exit(end.code if end.code != 1 else 0)"
        )  # status 1: a picture in which no digit was found
        done = run([sys.executable, "-c", program, model], stdin=path)
        result |= {f"{name}_seconds": done.seconds, f"{name}_mib": done.mib}
    return result
