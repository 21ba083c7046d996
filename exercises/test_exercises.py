"""Marks the exercises: what is still wrong, in a sentence. SOLUTIONS=1 marks the solutions."""

import importlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from exercises.solutions.step import sigmoid
from exercises.solutions.step import step as right_step

RNG = np.random.default_rng(0)
GATES = ("input", "forget", "candidate", "output")  # in Keras' order


def wrong(sentence: str) -> NoReturn:
    raise pytest.fail.Exception(sentence, pytrace=False) from None


def exercise(name: str) -> Any:
    """The module of an exercise, or of its solution."""
    folder = "exercises.solutions" if os.environ.get("SOLUTIONS") else "exercises"
    return importlib.import_module(f"{folder}.{name}")


def marks(name: str) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """A test that is given the module of an exercise; an error that its code causes is said in a sentence."""

    def decorate(check: Callable[[Any], None]) -> Callable[[], None]:
        def test() -> None:
            try:
                check(exercise(name))
                return
            except NotImplementedError:
                said = "has a gap that is still empty; its comment says what is missing."
            except (Exception, SystemExit) as error:  # whatever the code of a learner raises, or what it returns causes
                said = f"raises {type(error).__name__}: {' '.join(str(error).split())}"
            wrong(f"exercises/{name}.py {said}")

        return test

    return decorate


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> bool:
    return np.shape(found) == np.shape(expected) and bool(np.allclose(found, expected, atol=tolerance, rtol=tolerance))


def lstm(features: int, units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random kernel (features, 4 * units), recurrent (units, 4 * units) and bias (4 * units,)."""
    width = 4 * units
    return RNG.normal(size=(features, width)), RNG.normal(size=(units, width)), RNG.normal(size=width)


@marks("step")
def test_1_step(module: Any) -> None:
    (kernel, recurrent, bias), x = lstm(2, 3), RNG.normal(size=2)
    h, c = RNG.normal(size=3), RNG.normal(size=3)
    expected_h, expected_c = right_step(x, h, c, kernel, recurrent, bias)
    try:
        found = module.step(x, h, c, kernel, recurrent, bias)
    except ValueError as error:
        raise ValueError(f"{error}; x is (2,), h (3,), kernel (2, 12), recurrent (3, 12), bias (12,)") from None
    if not isinstance(found, tuple | list):
        wrong(f"step returns {found!r}, expected h and c; end it with: return h, c.")
    if len(found) != 2 or np.shape(found[0]) != (3,) or np.shape(found[1]) != (3,):
        wrong(f"step returns shapes {[np.shape(each) for each in found]}, expected h (3,) and c (3,), of three units.")
    found_h, found_c = found
    if close(found_c, expected_h) or close(found_h, expected_c):
        wrong("step returns c before h; return h, c.")
    for order in itertools.permutations(range(4)):
        blocks = [np.hstack([np.split(each, 4, -1)[gate] for gate in order]) for each in (kernel, recurrent, bias)]
        if order != (0, 1, 2, 3) and close(found_c, right_step(x, h, c, *blocks)[1]):
            names = ", ".join(GATES[gate] for gate in order)
            wrong(f"step takes the parts of the sum for {names}; Keras has them in the order {', '.join(GATES)}.")
    i, f, g, _ = np.split(x @ kernel + h @ recurrent + bias, 4)
    if close(found_c, sigmoid(f) * c + sigmoid(i) * sigmoid(g)) or close(found_c, sigmoid(f) * c + sigmoid(i) * g):
        wrong("the candidate needs tanh; the gates need sigmoid.")
    if not close(found_c, expected_c):
        wrong(f"the cell state is {np.round(found_c, 4)}, expected {expected_c.round(4)}: look at c = f c' + i g.")
    if not close(found_h, expected_h):
        wrong(f"c is right; h is {np.round(found_h, 4)}, expected {expected_h.round(4)}: look at h = o tanh(c).")


@marks("counter")
def test_2_counter(module: Any) -> None:
    kernel, recurrent, bias = module.weights()
    shapes = [np.shape(each) for each in (kernel, recurrent, bias)]
    if shapes != [(1, 4), (1, 4), (4,)]:
        wrong(f"the weights have the shapes {shapes}, expected [(1, 4), (1, 4), (4,)].")
    for bits in ("0", "1", "0110", "1" * 50, "01" * 100):
        h, c = np.zeros(1), np.zeros(1)
        for bit in bits:
            h, c = right_step(np.array([float(bit)]), h, c, kernel, recurrent, bias)
        if not close(c, [bits.count("1")], 1e-6):
            shown = bits if len(bits) <= 20 else f"{bits[:20]}... ({len(bits)} bits)"
            wrong(f"after {shown}, the cell state is {c[0]:.4f}, expected {bits.count('1')}: {_gate(kernel, bias)}.")


def _gate(kernel: np.ndarray, bias: np.ndarray) -> str:
    """Which gate of a counter is wrong, with h = 0."""
    for symbol, sums, added in (("zero", bias, 0), ("one", kernel[0] + bias, 1)):
        i, f, g = float(sigmoid(sums[0])), float(sigmoid(sums[1])), float(np.tanh(sums[2]))
        if abs(f - 1) > 1e-9:
            return f"for a {symbol}, the forget gate is {f:.4f}, and has to be 1"
        if abs(i * g - added) > 1e-9:
            return f"for a {symbol}, input gate times candidate is {i:.4f} x {g:.4f}, and has to be {added}"
    return "the gates are right without h; let h have no weight"


def derivatives(xs: np.ndarray, values: tuple[float, float, float], mistake: str = "") -> np.ndarray:
    """The three derivatives of exercise 3, or what comes of a mistake."""
    w, r, b = values
    outputs = [0.0]
    for x in xs:
        outputs.append(float(np.tanh(w * x + r * outputs[-1] + b)))
    total, of_output = np.zeros(3), 1.0
    for at in range(1, len(xs) + 1) if mistake == "forward" else range(len(xs), 0, -1):
        of_sum = of_output * (1 if mistake == "slope" else 1 - outputs[at - 1 if mistake == "output" else at] ** 2)
        share = of_sum * np.array([xs[at - 1], outputs[at if mistake == "before" else at - 1], 1.0])
        total = share if mistake == "sum" else total + share
        of_output = of_sum * (1 if mistake == "r" else r)
    return total


@marks("gradient")
def test_3_gradient(module: Any) -> None:
    mistakes = {
        "sum": "it is that of one step alone; add up the shares of all steps",
        "slope": "the derivative of tanh is missing: 1 - h h",
        "output": "the derivative of tanh is 1 - h h of the output after the step: outputs[t + 1], not outputs[t]",
        "forward": "go back through the steps: begin with the last one",
        "r": "what reaches the output before is multiplied by r",
        "before": "by r, the output before the step counts: outputs is one longer than xs, and outputs[0] is 0",
    }
    for steps in (6, 1):  # of one step, several mistakes look alike
        xs, values = RNG.normal(size=steps), (0.7, -0.9, 0.2)
        found = np.asarray(module.gradient(xs, *values), float)
        expected = derivatives(xs, values)
        for mistake, sentence in mistakes.items():
            if close(found, derivatives(xs, values, mistake)) and not close(found, expected):
                wrong(f"the gradient over {steps} steps is {found.round(4)}, expected {expected.round(4)}: {sentence}.")
        for name, ours, theirs in zip("wrb", found, expected, strict=True):
            if not close(ours, theirs, 1e-9):
                wrong(f"over {steps} steps, the derivative by {name} is {ours:.6f}, expected {theirs:.6f}.")


@marks("forget")
def test_4_forget(module: Any) -> None:
    for bias, steps, expected in ((0.0, 3, 0.125), (1.0, 20, 0.0019), (5.0, 20, 0.8744), (40.0, 10_000, 1.0)):
        if not close(module.kept(bias, steps), expected, 1e-4):
            wrong(f"kept({bias}, {steps}) is {module.kept(bias, steps):.4f}, expected {expected}.")
    for bias, expected in ((0.0, 1), (5.0, 12), (10.0, 149), (40.0, 1_000_000)):
        if module.longest(bias) != expected:
            wrong(f"longest({bias}) is {module.longest(bias):,}, expected {expected:,}.")


@marks("split")
def test_5_split(module: Any) -> None:
    tokens = np.arange(100)  # each token once, so that a leak can be seen
    train, test = module.split(tokens, 3, 0.2)
    if len(test) != 20:
        wrong(f"{len(test)} windows test, expected 20 of the 100 tokens.")
    if len(train) + len(test) != 97:
        wrong(f"{len(train) + len(test)} windows train or test, and the story has 97.")
    if leaked := set(test[:, -1].tolist()) & set(train.ravel().tolist()):
        wrong(f"{len(leaked)} of the tokens that tests predict are part of windows that train, such as {min(leaked)}.")


@marks("temperature")
def test_6_temperature(module: Any) -> None:
    logits = RNG.normal(size=(20_000, 5))
    powers = np.exp(logits)
    targets = (RNG.random((20_000, 1)) > np.cumsum(powers / powers.sum(axis=1, keepdims=True), axis=1)).sum(axis=1)
    for scale in (0.5, 1.0, 3.0):
        found = module.temperature(logits * scale, np.minimum(targets, 4))
        if not close(found, scale, 0.05):
            wrong(f"logits that are {scale} times too large need a temperature of {scale}, and {found:.3f} came.")


@marks("export")
def test_7_export(module: Any) -> None:
    import onnxruntime

    weights, sequence = lstm(3, 5), RNG.normal(size=(7, 1, 3)).astype(np.float32)
    content = module.export(*weights).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(None, {"sequence": sequence})[0].ravel()
    h, c = np.zeros(5), np.zeros(5)
    for x in sequence[:, 0]:
        h, c = right_step(x, h, c, *weights)
    if not close(found, h):
        wrong(f"ONNX Runtime gives {found.round(4)}, Keras {h.round(4)}: look at the order of the gates.")


@marks("task")
def test_8_task(module: Any) -> None:
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
