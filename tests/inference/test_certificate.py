"""A certificate against search, against ONNX Runtime, and against damage."""

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from pipeline.errors import PipelineError
from pipeline.inference.certificate import FUNCTION, NEAR, OPEN, Certificate, certify
from pipeline.inference.onnx_session import Session
from pipeline.recipe import Network
from tests.harness.counter import COUNTS, UNITS, counts, export, weights


@pytest.mark.parametrize("error", [0.06, -0.06, 0.04, -0.03])
def test_no_string_up_to_the_certified_length_is_wrong_and_one_just_above_is(tmp_path: Path, error: float) -> None:
    path = export(tmp_path, weights(error))
    certified = certify(path, COUNTS).certified_steps
    assert certified == int(0.499 / abs(error))
    for length in range(1, min(certified, 12) + 1):
        strings = list(product((0, 1), repeat=length))
        assert np.rint(counts(path, strings)).tolist() == [sum(string) for string in strings]
    worst = np.ones((1, certified))
    assert np.rint(counts(path, worst)) == certified
    assert np.rint(counts(path, np.ones((1, certified + 1)))) != certified + 1


def test_the_bound_holds_for_long_strings_of_every_density(tmp_path: Path) -> None:
    path = export(tmp_path, weights())
    certificate = certify(path, COUNTS)
    assert certificate.certified_steps > 1_000_000
    rng = np.random.default_rng(3)
    for density in (0, 0.05, 0.5, 0.95, 1):
        strings = (rng.random((2, 20_000)) < density).astype(int)
        distance = np.abs(counts(path, strings) - strings.sum(axis=1)).max()
        assert distance <= abs(certificate.bias) + 20_000 * certificate.deviation_per_step + certificate.rounding


def test_a_graph_that_takes_states_and_gives_none_is_refused(tmp_path: Path) -> None:
    path = export(tmp_path, weights())
    graph = onnx.load(path)
    (state,) = (each for each in graph.graph.output if each.name == "lstm_1.final_cell")
    graph.graph.output.remove(state)
    onnx.save(graph, path)
    with pytest.raises(PipelineError, match=r"model\.onnx is no network of this project; run `again`"):
        Session(path, "again")


def test_float32_would_not_do(tmp_path: Path) -> None:
    """What ONNX Runtime's own LSTM, which computes in float32, makes of the same weights."""
    steps = 2_000_000
    in_float32 = np.cumsum(np.full(steps, np.float32(0.1), np.float32), dtype=np.float32)[-1]
    assert abs(in_float32 / np.float32(0.1) - steps) > 1000
    assert abs(np.cumsum(np.full(steps, 0.1))[-1] / 0.1 - steps) < 0.001


def test_damaged_weights_have_a_shorter_certificate(tmp_path: Path) -> None:
    whole = certify(export(tmp_path, weights()), COUNTS)
    lengths = [whole.certified_steps]
    for damage in (1e-6, 1e-5, 1e-4, 1e-3):
        layers = weights()
        layers["lstm_1"][2][2 * UNITS] += damage  # of the candidate: now a zero adds something
        lengths.append(certify(export(tmp_path, layers), COUNTS).certified_steps)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < 2000 < lengths[1] < lengths[0] / 2


@pytest.mark.parametrize(
    ("layer", "array", "place", "value", "reason"),
    [
        ("lstm_1", 1, (0, 1), 1e-30, "1 of its recurrent weights are not zero"),
        (
            "lstm_1",
            2,
            UNITS,
            OPEN - 0.1,
            "its forget gate is not one: before the sigmoid, it is 37.9, expected at least 38",
        ),
        ("lstm_1", 0, (0, UNITS), -5.0, "its forget gate is not one: before the sigmoid, it is 35"),
        ("lstm_1", 2, UNITS, np.nan, "its forget gate is not one"),
    ],
)
def test_nothing_is_claimed_where_the_cell_is_no_sum(
    tmp_path: Path, layer: str, array: int, place: int | tuple[int, int], value: float, reason: str
) -> None:
    layers = weights()
    layers[layer][array][place] = value
    certificate = certify(export(tmp_path, layers), COUNTS)
    assert certificate.certified_steps == 0
    assert str(certificate.reason).startswith(reason)


def test_nothing_is_claimed_of_other_networks(tmp_path: Path) -> None:
    assert certify(export(tmp_path, weights()), {}) == Certificate(0, "it does not read a count")
    two = weights()
    two["lstm_2"] = [np.zeros((UNITS, 4 * UNITS), np.float32), *two["lstm_1"][1:]]
    path = export(tmp_path, two, Network(units=[UNITS, UNITS]))
    assert certify(path, COUNTS) == Certificate(0, "it has other layers than one LSTM")


def test_sigmoid_and_tanh_of_onnx_runtime_are_as_exact_as_the_proof_assumes() -> None:
    for kind in ("Sigmoid", "Tanh"):
        values = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n"]) for name in "xy"]
        graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], kind, values[:1], values[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        x = np.concatenate([np.linspace(-60, 60, 200_001), np.geomspace(1e-12, 60, 50_001)])
        (y,) = session.run(None, {"x": x})
        if kind == "Sigmoid":
            assert np.abs(y - 1 / (1 + np.exp(-np.longdouble(x)))).max() < float(FUNCTION)
            assert (y[x >= OPEN] == 1).all(), "the forget gate is exactly one"
        else:
            exact = np.tanh(np.longdouble(x[x != 0]))
            assert (np.abs(y[x != 0] - exact) / np.abs(exact)).max() < float(FUNCTION)
    assert float(NEAR) < 0.5
