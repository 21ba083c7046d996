"""What is shown of a network's inside is what Keras and ONNX Runtime compute."""

import json
from itertools import product
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from PIL import Image

from pipeline.figure import write_figure
from pipeline.files import md5
from pipeline.inference import predict, trace_figure
from pipeline.inference.onnx_session import Session
from pipeline.inference.trace import LayerTrace, Trace, Tracer, read_weights
from pipeline.networks import keras_network, onnx_network
from pipeline.paths import ModelPaths
from pipeline.recipe import Network
from tests.harness import project
from tests.harness.recipes import CELLS, recipe

CLASSES = 5
NETWORKS = [
    (Network.model_validate({"cell": cell, "units": units, "dense": dense, "embedding": embedding}), readout)
    for cell, readout in (*((cell, "softmax") for cell in CELLS), ("lstm", "count"))
    for units, dense, embedding in product(([6], [6, 4]), (None, 5), (None, 3))
]


@pytest.mark.parametrize("steps", [1, 7, 28])
@pytest.mark.parametrize(("network", "readout"), NETWORKS, ids=str)
def test_a_trace_is_what_keras_and_onnx_runtime_compute(
    network: Network, readout: str, steps: int, tmp_path: Path
) -> None:
    chosen = recipe(readout=readout, supervise="every-step")  # so that ONNX Runtime reads shorter sequences, too
    shape = (steps, 1 if network.embedding else 3)
    model = keras_network.build(network, chosen, shape, CLASSES)
    scale = (
        0.3 if network.cell == "rnn" else 0.7
    )  # with larger weights, a layer without gates is chaotic: rounding grows
    model.set_weights([np.random.default_rng(i).normal(0, scale, w.shape) for i, w in enumerate(model.get_weights())])
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    path = tmp_path / "model.onnx"
    onnx.save(onnx_network.build(network, chosen, weights, shape, CLASSES), path)
    rng = np.random.default_rng(9)
    sequence = (rng.integers(0, CLASSES, shape) if network.embedding else rng.normal(size=shape)).astype(np.float32)
    trace = Tracer(read_weights(path)).trace(sequence)
    x = model.get_layer("embedding")(sequence[:, 0]).numpy() if network.embedding else sequence
    if network.dense:  # the model may have it multiplied into an LSTM
        kernel, bias = weights["dense"]
        x = x @ kernel + bias
    for name, found in zip(network.layer_names, trace.layers, strict=True):
        assert found.name == name
        x = _compare(model.get_layer(name), x, found)
    session = Session(path, "again")
    expected = [session.run(sequence[None, : step + 1]) for step in range(steps)]
    probabilities = np.concatenate([each["probabilities"] for each in expected])
    np.testing.assert_allclose(trace.probabilities, probabilities, rtol=0, atol=1e-6)
    assert (trace.count is None) == (readout == "softmax")
    if trace.count is not None:
        count = np.concatenate([each["count"][0] for each in expected])
        np.testing.assert_allclose(trace.count, count, rtol=1e-6, atol=1e-6)


def _compare(layer: keras.layers.Layer, x: np.ndarray, found: LayerTrace) -> np.ndarray:
    """Step Keras' cell over x (steps, features); return its outputs (steps, units)."""
    size = layer.cell.units
    states = [np.zeros((1, size), np.float32)] * (1 if found.cell is None else 2)
    outputs = []
    for step, row in enumerate(x):
        output, states = layer.cell(row[None], states)
        outputs.append(np.asarray(output)[0])
        np.testing.assert_allclose(found.output[step], outputs[-1], atol=1e-5)
        if found.cell is not None:
            np.testing.assert_allclose(found.cell[step], np.asarray(states[1])[0], atol=1e-5)
    gates, before = found.gates, np.zeros(size, np.float32)
    if not gates:  # a plain recurrent layer
        return np.stack(outputs)
    for step in range(len(x)):
        if found.cell is None:  # a GRU: its output is a mean of the one before and the candidate
            made = gates["update"][step] * before + (1 - gates["update"][step]) * gates["candidate"][step]
            kernel, recurrent, bias = (weight[..., 2 * size :] for weight in layer.get_weights())  # of the candidate
            candidate = np.tanh(x[step] @ kernel + bias[0] + gates["reset"][step] * (before @ recurrent + bias[1]))
            np.testing.assert_allclose(gates["candidate"][step], candidate, atol=1e-5)
            before = found.output[step]
            np.testing.assert_allclose(made, found.output[step], atol=1e-5)
        else:
            made = gates["forget"][step] * before + gates["input"][step] * gates["candidate"][step]
            before = found.cell[step]
            np.testing.assert_allclose(made, found.cell[step], atol=1e-5)
            np.testing.assert_allclose(gates["output"][step] * np.tanh(before), found.output[step], atol=1e-5)
    return np.stack(outputs)


def test_any_word_can_be_drawn(tmp_path: Path) -> None:
    layer = LayerTrace(
        "lstm_1", np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32), {"forget": np.ones((2, 3), np.float32)}
    )
    trace = Trace((layer,), np.full((2, 3), 1 / 3, np.float32), None)
    words = ["$x_{", "\u732b", "\\frac$"]
    figure = trace_figure.draw(trace, np.zeros((2, 1)), words[:2], words, " ".join(words))
    write_figure(figure, tmp_path / "words.png")  # a warning would be an error
    assert (tmp_path / "words.png").stat().st_size > 10_000


def test_a_figure_shows_the_accuracy_after_a_step_and_no_blank_panel() -> None:
    layer = LayerTrace("rnn_1", np.zeros((3, 2), np.float32), None, {})
    trace = Trace((layer,), np.full((3, 2), 0.5, np.float32), None)
    plain = trace_figure.draw(trace, np.zeros((3, 1)), list("abc"), list("xy"), "title")
    assert [axes.get_title() for axes in plain.axes if axes.get_label() != "<colorbar>"] == [
        "the input, one column for each step",
        "rnn_1: outputs",
        "probability of each class, if the sequence ended after this step",
    ]
    measured = trace_figure.draw(trace, np.zeros((3, 1)), list("abc"), list("xy"), "title", {1: 0.5, 3: 0.75})
    (line,) = (axes.lines[0] for axes in measured.axes if axes.get_ylabel() == "right, %")
    assert np.column_stack(line.get_data()).tolist() == [[0, 50], [2, 75]], "steps are counted from 0 in the figure"


def test_the_input_and_the_states_of_all_layers_stand_below_each_other_step_for_step() -> None:
    states = np.zeros((3, 2), np.float32)
    layers = tuple(LayerTrace(f"lstm_{depth}", states, states, {"forget": states}) for depth in (1, 2))
    trace = Trace(layers, np.full((3, 2), 0.5, np.float32), None)
    figure = trace_figure.draw(trace, np.zeros((3, 1)), list("abc"), list("xy"), "title")
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert len(panels) == 8
    left_and_right = [(*axes.get_position().intervalx, *axes.get_xlim()) for axes in panels]
    np.testing.assert_allclose(left_and_right, [left_and_right[0]] * 8, atol=1e-3)


@pytest.fixture
def models(trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(trained)
    return tmp_path


@pytest.mark.parametrize("model", ["bits-lstm24", "mnist-lstm128", "fable-lstm512"])
def test_the_last_step_of_a_trained_model_is_what_it_predicts(model: str, models: Path) -> None:
    predictor = predict.load(model)
    sequence = np.random.default_rng(4).integers(0, 2, predictor.info.shape).astype(np.float32)
    trace = predictor.tracer.trace(sequence)
    expected = predictor.probabilities(sequence[None])
    np.testing.assert_allclose(trace.probabilities[-1:], expected, rtol=0, atol=1e-6)


def test_explain_draws_a_figure_and_prints_each_step(models: Path) -> None:
    result = project.invoke("explain", "bits-lstm24", "0110", "--output", str(models / "bits.png"))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line[0] for line in lines[:-1]] == list("0110")
    assert lines[-1] == f"states and gates: {models / 'bits.png'}"
    with Image.open(models / "bits.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500
    first = md5(models / "bits.png")
    project.invoke("explain", "bits-lstm24", "0110", "--output", str(models / "bits.png"))
    assert md5(models / "bits.png") == first


def test_of_a_long_string_some_steps_are_explained_with_their_counts(models: Path) -> None:
    text = "011" * 333
    result = project.invoke("explain", "bits-lstm24", text, "--output", str(models / "long.png"))
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.stdout.splitlines()[:-1]]
    assert len(lines) == 200
    assert lines[0].startswith("step 1: 0  ")
    assert lines[-1].startswith("step 999: 1  ")
    count = json.loads(project.invoke("predict", "bits-lstm24", text, "--json").stdout)["count"]
    assert float(lines[-1].split()[-1]) == pytest.approx(count, abs=1e-4)
    shown = json.loads(
        project.invoke("explain", "bits-lstm24", text, "--json", "--output", str(models / "l.png")).stdout
    )
    assert np.shape(shown["layers"][0]["cell"]) == (200, 8)
    assert shown["count"][-1] == pytest.approx(count, abs=1e-5)
    assert "probabilities" not in shown


def test_explain_gives_all_values_as_json(models: Path) -> None:
    words = ("fable-lstm512", "there came a", "--json", "--output", str(models / "fable.png"))
    content = json.loads(project.invoke("explain", *words).stdout)
    assert content["steps"] == ["there", "came", "a"]
    predicted = json.loads(project.invoke("predict", "fable-lstm512", "there came a", "--json").stdout)
    best = int(np.argmax(content["probabilities"][-1]))
    assert content["classes"][best] == predicted["label"]
    assert content["probabilities"][-1][best] == pytest.approx(predicted["probability"], abs=1e-6)
    (layer,) = content["layers"]
    assert np.shape(layer["output"]) == np.shape(layer["cell"]) == np.shape(layer["gates"]["forget"]) == (3, 8)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("bits-lstm24", "012"), "'012' contains '2'"),
        (("bits-lstm25", "01"), "there is no exported model 'bits-lstm25'"),
        (("bits-lstm24", "01", "--output", "none/x.png"), "there is no folder 'none'; make it, or name another one."),
        (("bits-lstm24", "01", "--output", "x.jpg"), "'x.jpg' is not the name of a PNG file; end it with .png."),
        (("mnist-lstm128", "nothing.png"), "'nothing.png' does not exist"),
        (("fable-lstm512", "xyzzy"), "xyzzy"),
        (("bits-lstm24", "0" * 1_000_001), "has more than 1,000,000 characters; give a shorter input."),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(models: Path, words: tuple[str, ...], sentence: str) -> None:
    result = project.invoke("explain", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr
    assert not list(Path().glob("explain-*.png"))


def test_a_damaged_export_is_not_explained(trained_project: Path) -> None:
    path = ModelPaths("bits-lstm24").onnx
    path.write_bytes(path.read_bytes()[:-1])
    result = project.invoke("explain", "bits-lstm24", "01")
    assert result.exit_code == 2
    assert "was changed after it was written" in result.stderr
