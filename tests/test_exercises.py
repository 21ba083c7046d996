"""The exercises: their solutions are right, their files are those of the generator, and an empty gap is a sentence.

Whoever has filled gaps in the working tree has broken no test: what git holds is tested.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from exercises.generate import FOLDER, exercises
from exercises.solutions import gradient, step
from tests.harness import project

MARK = [sys.executable, "-m", "pytest", "exercises", "--numprocesses", "0", "-p", "no:randomly"]
# Mistakes that learners make: for each file, what they write instead, and the sentence that helps.
MISTAKES: list[dict[str, tuple[str, str, str]]] = [
    {
        "step": (
            "i, f, g, o =",
            "i, f, o, g =",
            "the sum for input, forget, output, candidate; Keras",
        ),
        "counter": (
            "[80.0,",
            "[40.0,",
            "counter.py: after 1, the cell state is 0.5000, expected 1: for a one, input gate",
        ),
        "gradient": ("of_w += of_sum", "of_w = of_sum", "the derivative by w"),
    },
    {
        "step": ("return h, c", "return c, h", "step returns c before h; return h, c."),
        "counter": ("[-40.0,", "[0.0,", "for a zero, input gate times candidate is 0.5000 x 1.0000, and has"),
        "gradient": ("of_sum * r", "of_sum", "what reaches the output before is multiplied by r."),
    },
    {
        "step": ("* np.tanh(c)", "* c", "c is right; h is"),
        "counter": ("40.0, 40.0, 0.0]", "1.0, 40.0, 0.0]", "the forget gate is 0.7311, and has to be 1"),
        "gradient": ("(1 - h * h)", "1", "the derivative of tanh is missing"),
    },
    {
        "step": ("np.tanh(g)", "sigmoid(g)", "exercises/step.py: the candidate needs tanh; the gates need sigmoid."),
        "gradient": ("xs[::-1], outputs[:0:-1], outputs[-2::-1]", "xs, outputs[1:], outputs[:-1]", "go back through"),
    },
    {
        "step": ("return h, c", "h, c", "step returns None, expected h and c; end it with: return h, c."),
        "gradient": ("(1 - h * h)", "(1 - before * before)", "outputs[t + 1], not outputs[t]."),
    },
    {
        "step": ("x @ kernel", "kernel @ x", "; x is (2,), h (3,), kernel (2, 12), recurrent (3, 12), bias (12,)"),
        "counter": ("np.zeros((1, 4))", "np.zeros(4)", "expected [(1, 4), (1, 4), (4,)]."),
        "gradient": ("of_sum * before", "of_sum * h", "outputs is one longer than xs, and outputs[0] is 0."),
    },
]


def mark(folder: Path, texts: dict[Path, str], solutions: str = "") -> str:
    """What the marking prints of exercises with these texts."""
    shutil.copytree(FOLDER, folder / "exercises")
    for path, text in texts.items():
        (folder / "exercises" / path.name).write_text(text)
    environment = os.environ | {"SOLUTIONS": solutions, "PYTHONPATH": f"{folder}{os.pathsep}{project.ROOT}"}
    return subprocess.run(MARK, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


def test_the_files_with_gaps_are_those_of_the_solutions() -> None:
    assert len(exercises()) == 8
    for path, text in exercises().items():
        committed = project.run(project.ROOT, "git", "show", f"HEAD:exercises/{path.name}").stdout
        assert committed == text, "`python -m exercises.generate` writes it"
        assert "NotImplementedError" in text


def test_an_empty_gap_is_a_sentence(tmp_path: Path) -> None:
    said = mark(tmp_path, exercises()).splitlines()
    assert len(said) == 10, said
    assert {line.split(" ")[0] for line in said[1:-1]} == {f"exercises/{path.name}" for path in exercises()}
    assert all(" has a gap that is still empty; " in line for line in said[1:-1])
    assert said[-1] == "0 of 8 solved"


def test_the_solutions_are_right(tmp_path: Path) -> None:
    assert mark(tmp_path, {}, solutions="1").splitlines()[1:] == ["8 of 8 solved"]


@pytest.mark.parametrize("mistakes", MISTAKES)
def test_a_sentence_says_where_the_mistake_is(mistakes: dict[str, tuple[str, str, str]], tmp_path: Path) -> None:
    texts = dict(exercises())
    for name, (right, written, _) in mistakes.items():
        solution = (FOLDER / "solutions" / f"{name}.py").read_text()
        assert right in solution
        texts[FOLDER / f"{name}.py"] = solution.replace(right, written)
    said = mark(tmp_path, texts)
    for _, _, sentence in mistakes.values():
        assert sentence in said, said


@pytest.mark.slow
def test_the_solutions_compute_what_keras_and_tensorflow_compute() -> None:
    import keras
    import tensorflow as tf

    rng = np.random.default_rng(0)
    layer, sequence = keras.layers.LSTM(4), rng.normal(size=(1, 5, 3)).astype(np.float32)
    expected = np.asarray(layer(sequence))[0]
    h, c = np.zeros(4), np.zeros(4)
    for x in sequence[0]:
        h, c = step.step(x, h, c, *layer.get_weights())
    np.testing.assert_allclose(h, expected, atol=1e-6)

    xs, values = rng.normal(size=6), (0.7, -0.9, 0.2)
    w, r, b = (tf.Variable(value, dtype=tf.float64) for value in values)
    with tf.GradientTape() as tape:
        output = tf.constant(0.0, tf.float64)
        for number in xs:
            output = tf.tanh(w * number + r * output + b)
    np.testing.assert_allclose(gradient.gradient(xs, *values), tape.gradient(output, [w, r, b]), rtol=1e-9)
