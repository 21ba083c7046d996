"""Areas of the campaign: what the project tells its readers: certificates, cards, marks of exercises."""

import json
import random
import re
import tempfile
from pathlib import Path

import numpy as np

from exercises.generate import exercises as unsolved
from pipeline.inference.certificate import certify
from pipeline.paths import MANIFEST, ModelPaths, TaskPaths
from tests.attack.harness import changed, run
from tests.attack.mutations import damaged, retyped
from tests.harness import counter, project
from tests.test_exercises import mark

LONG = 2000  # steps of a string that is tried
ANSWERS = [  # what a function of a learner returns, or does
    *("None", "'x'", "b'x'", "[]", "{}", "1j", "10**400", "float('nan')", "object()", "lambda: 0", "f()", "1/0"),
    *("(None, None)", "(1, 'b')", "('a', 'b', 'c')", "[[1], [2, 3]]", "exec('raise SystemExit(3)')", "exec('x =')"),
    *("numpy.array(['a'])", "numpy.full(3, float('nan'))", "numpy.zeros((3, 0))", "numpy.zeros(3), numpy.zeros(3)"),
    *("[numpy.ones((1, 4)), numpy.ones((1, 4)), numpy.full(4, float('inf'))]", "open('gone')", "print('\\033[31m')"),
]


def certificate(rng: random.Random) -> tuple[str, str]:
    """A counter with other weights: no string of the length that its certificate proves is counted wrongly."""
    layers = counter.weights(rng.choice([0.0, 10 ** rng.uniform(-9, -1)]))
    noise, scale = np.random.default_rng(rng.getrandbits(64)), 10 ** rng.uniform(-12, 0)
    layer, index = rng.choice([("lstm_1", 0), ("lstm_1", 2), ("count", 0), ("count", 1)])
    shape = layers[layer][index].shape
    change = scale * noise.normal(size=shape) * (noise.random(shape) < 0.5)
    layers[layer][index] = (layers[layer][index] + change).astype(np.float32)
    done = f"the certificate of a counter with {layer}[{index}] changed by {scale:.2g}"
    with tempfile.TemporaryDirectory() as folder:
        path = counter.export(Path(folder), layers)
        certified = certify(path, counter.COUNTS).certified_steps
        for length in {1, 2, min(certified, LONG)} if certified > 1 else {certified}:
            densities = np.array([0, 0.05, 0.5, 0.95, 1, *noise.random(20)])
            strings = (noise.random((len(densities), length)) < densities[:, None]).astype(int)
            if length and (np.rint(counter.counts(path, strings)) != strings.sum(axis=1)).any():
                return done, f"it proves {certified:,} steps, and a string of {length:,} is counted wrongly"
    return done, ""


def cards(rng: random.Random) -> tuple[str, str]:
    """A card or a bill of materials of files that are damaged, or have values of other types."""
    model = rng.choice(project.MODELS)
    task = model.partition("-")[0]
    paths, data = ModelPaths(model), TaskPaths(task)
    path = rng.choice([paths.metrics, paths.info, paths.certificate, paths.export / MANIFEST, data.info, data.manifest])
    command = rng.choice(
        [("card", model), ("card", task), ("card", task, "--croissant"), ("sbom",), ("sbom", "--licences")]
    )
    before = path.read_bytes()
    new = damaged(before, rng) if rng.random() < 0.4 else json.dumps(retyped(json.loads(before), rng)).encode()
    with changed(path, new):
        result, wrong = run(*command)
    if not wrong and result.exit_code == 0 and command[-1] in ("sbom", "--croissant"):
        json.loads(result.stdout)
    return f"{' '.join(command)} with another {path}: {new[:200]!r}", wrong


def exercises(rng: random.Random) -> tuple[str, str]:
    """Exercises whose functions return anything: each is marked by a sentence."""
    texts = {}
    for path, text in unsolved().items():
        answer = rng.choice(ANSWERS)
        functions = re.findall(r"^(?:def|class) (\w+)", text, re.MULTILINE)
        texts[path] = f"import numpy\n\n\ndef f(*given, **named):\n    return {answer}\n\n\n"
        texts[path] += "\n".join(f"{name} = f" for name in functions)
        if rng.random() < 0.1:
            texts[path] = damaged(text.encode(), rng).decode(errors="replace")
    with tempfile.TemporaryDirectory() as folder:
        lines = mark(Path(folder), texts).splitlines()
    said = [line for line in lines[1:-1] if line.startswith("exercises/") and len(line) < 700 and line.isprintable()]
    solved = lines[-1].split()[0] if lines and lines[-1].endswith("of 8 solved") else ""
    good = solved.isdecimal() and len(said) == len(lines) - 2 == 8 - int(solved)
    return f"exercises with {list(texts.values())}"[:300], "" if good else "\n".join(lines)[-1000:]
