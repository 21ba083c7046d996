"""Marks the exercises: what is still wrong, in a sentence. SOLUTIONS=1 marks the solutions."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

RNG = np.random.default_rng(0)


def wrong(sentence: str) -> NoReturn:
    pytest.fail(sentence, pytrace=False)


def exercise(name: str) -> Any:
    """The module of an exercise, or of its solution."""
    folder = "exercises.solutions" if os.environ.get("SOLUTIONS") else "exercises"
    return importlib.import_module(f"{folder}.{name}")


@contextmanager
def marking(name: str) -> Iterator[Any]:
    """The module of an exercise; an error that its code raises is said in a sentence."""
    try:
        yield exercise(name)
    except NotImplementedError:
        wrong(f"exercises/{name}.py has a gap that is still empty; its comment says what is missing.")
    except Exception as error:  # whatever the code of a learner raises
        wrong(f"exercises/{name}.py raises {type(error).__name__}: {error}")


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> bool:
    return np.shape(found) == np.shape(expected) and bool(np.allclose(found, expected, atol=tolerance, rtol=tolerance))


def test_1_step() -> None:
    import keras

    layer = keras.layers.LSTM(4, return_state=True)
    sequence = RNG.normal(size=(1, 3, 2)).astype(np.float32)
    _, output, cell = (np.asarray(values)[0] for values in layer(sequence))
    kernel, recurrent, bias = layer.get_weights()
    h, c = np.zeros(4), np.zeros(4)
    with marking("step") as module:
        for x in sequence[0]:
            h, c = module.step(x, h, c, kernel, recurrent, bias)
    if not close(c, cell):
        wrong(
            f"after three steps, the cell state is {c}, and Keras has {cell}: look at c, at the gates, at their order."
        )
    if not close(h, output):
        wrong(f"the cell state is right; the output is {h}, and Keras has {output}: look at h.")


def test_2_counter() -> None:
    solution = importlib.import_module("exercises.solutions.step")
    with marking("counter") as module:
        kernel, recurrent, bias = module.weights()
        for bits in ("1", "0", "0110", "1" * 50, "01" * 100):
            h, c = np.zeros(1), np.zeros(1)
            for bit in bits:
                h, c = solution.step(np.array([float(bit)]), h, c, kernel, recurrent, bias)
            if not close(c, [bits.count("1")], 1e-6):
                wrong(
                    f"after {bits[:20]} ({len(bits)} bits), the cell state is {c[0]:.4f}, expected {bits.count('1')}."
                )


def test_3_gradient() -> None:
    import tensorflow as tf

    xs, values = RNG.normal(size=6), (0.7, -0.9, 0.2)
    w, r, b = (tf.Variable(value, dtype=tf.float64) for value in values)
    with tf.GradientTape() as tape:
        h = tf.constant(0.0, tf.float64)
        for x in xs:
            h = tf.tanh(w * x + r * h + b)
    expected = [float(each) for each in tape.gradient(h, [w, r, b])]
    with marking("gradient") as module:
        found = module.gradient(xs, *values)
    for name, ours, theirs in zip("wrb", found, expected, strict=True):
        if not close(ours, theirs, 1e-9):
            wrong(f"the derivative by {name} is {ours:.6f}, and TensorFlow finds {theirs:.6f}.")


def test_4_forget() -> None:
    with marking("forget") as module:
        for bias, steps, expected in ((0.0, 3, 0.125), (1.0, 20, 0.0019), (5.0, 20, 0.8744), (40.0, 10_000, 1.0)):
            if not close(module.kept(bias, steps), expected, 1e-4):
                wrong(f"kept({bias}, {steps}) is {module.kept(bias, steps):.4f}, expected {expected}.")
        for bias, expected in ((0.0, 1), (5.0, 12), (10.0, 149), (40.0, 1_000_000)):
            if module.longest(bias) != expected:
                wrong(f"longest({bias}) is {module.longest(bias):,}, expected {expected:,}.")


def test_5_split() -> None:
    tokens = np.arange(100)  # each token once, so that a leak can be seen
    with marking("split") as module:
        train, test = module.split(tokens, 3, 0.2)
    if len(test) != 20:
        wrong(f"{len(test)} windows test, expected 20 of the 100 tokens.")
    if len(train) + len(test) != 97:
        wrong(f"{len(train) + len(test)} windows train or test, and the story has 97.")
    if leaked := set(test[:, -1].tolist()) & set(train.ravel().tolist()):
        wrong(f"{len(leaked)} of the tokens that tests predict are part of windows that train, such as {min(leaked)}.")


def test_6_temperature() -> None:
    logits = RNG.normal(size=(20_000, 5))
    powers = np.exp(logits)
    targets = (RNG.random((20_000, 1)) > np.cumsum(powers / powers.sum(axis=1, keepdims=True), axis=1)).sum(axis=1)
    with marking("temperature") as module:
        for scale in (0.5, 1.0, 3.0):
            found = module.temperature(logits * scale, np.minimum(targets, 4))
            if not close(found, scale, 0.05):
                wrong(f"logits that are {scale} times too large need a temperature of {scale}, and {found:.3f} came.")


def test_7_export() -> None:
    import keras
    import onnxruntime

    layer = keras.layers.LSTM(5)
    sequence = RNG.normal(size=(2, 7, 3)).astype(np.float32)
    expected = np.asarray(layer(sequence))
    with marking("export") as module:
        content = module.export(*layer.get_weights()).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"sequence": sequence.transpose(1, 0, 2)})
    if not close(found[0], expected):
        wrong(
            f"ONNX Runtime gives {found[0, 0].round(4)}, Keras {expected[0].round(4)}: look at the order of the gates."
        )


def test_8_task() -> None:
    with marking("task") as module:
        from pipeline.section import Section

        examples = module.Data().split(Section(), Path(), np.random.default_rng(0))
        read = module.features(examples.encoded, examples.info)
    sizes = {name: len(examples.split(name)[0]) for name in ("train", "test")}
    if sizes != {"train": 192, "test": 64}:
        wrong(f"{sizes['train']} strings train and {sizes['test']} test, expected 192 and 64.")
    bits, target = examples.encoded[0], int(examples.targets[0])
    if target != bits.sum() % 2 or not np.array_equal(examples.targets, examples.encoded.sum(axis=1) % 2):
        wrong(f"the string {''.join(map(str, bits))} has the class {target}; it is 1 if the number of ones is odd.")
    if read.shape != (256, 8, 1) or read.dtype != np.float32:
        wrong(f"features gives {read.dtype} {read.shape}, expected float32 (256, 8, 1).")
