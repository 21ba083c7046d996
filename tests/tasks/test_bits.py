import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from pipeline.dataset import DatasetInfo, Examples, binary, numbers
from pipeline.errors import PipelineError
from pipeline.inference.evaluation import predict_split
from pipeline.tasks import load
from pipeline.tasks.bits import features
from pipeline.tasks.bits.data import Data
from pipeline.tasks.bits.evaluation import Evaluation, drawn, plot
from pipeline.tasks.bits.inputs import Inputs
from tests.harness.examples import evaluated, predictions
from tests.harness.model import FunctionModel

data, evaluation, inputs = Data(), Evaluation(), Inputs()

INFO = DatasetInfo(
    "bits", "bits-20", False, (20, 1), [str(i) for i in range(21)], "test", False, "", {"train": 1, "test": 9}
)


def generate_and_split(folder: Path, length: int, train: int, seed: int = 1) -> Examples:
    data.generate(data.Generate(length=length), Path("unused"), folder)
    return data.split(data.Split(train=train), folder, np.random.default_rng(seed))


@given(st.text("01", min_size=20, max_size=20))
def test_encode_features_and_decode_agree_with_the_text(text: str) -> None:
    code = inputs.encode(text, INFO)
    assert "".join("01"[int(step)] for step in features.features(code[None], INFO)[0, :, 0]) == text
    assert inputs.decode(code, INFO) == text


@pytest.mark.parametrize("length", [4, 10])
def test_the_splits_partition_all_strings(tmp_path: Path, length: int) -> None:
    examples = generate_and_split(tmp_path, length, train=10)
    train, _ = examples.split("train")
    test, targets = evaluated(examples)
    assert len(set(numbers(train).tolist())) == 10
    assert sorted(numbers(np.concatenate([train, test])).tolist()) == list(range(2**length))
    assert [f"{number:b}".count("1") for number in numbers(test)] == targets.tolist()
    assert examples.class_sizes("test").tolist() == np.bincount(targets, minlength=length + 1).tolist()
    assert examples.info.splits == {"train": 10, "test": 2**length - 10}


def test_thirty_bits_need_memory_for_the_training_strings_alone(tmp_path: Path) -> None:
    tracemalloc.start()
    examples = generate_and_split(tmp_path, 30, train=10_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1000
    drawn = numbers(examples.encoded)
    assert len(set(drawn.tolist())) == 10_000
    assert drawn.max() > 2**29
    assert examples.info.splits["test"] == 2**30 - 10_000
    assert examples.class_sizes("test").sum() == 2**30 - 10_000


def test_the_seed_draws_the_training_strings(tmp_path: Path) -> None:
    first, again, other = (generate_and_split(tmp_path, 8, 50, seed).split("train")[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_the_published_split_tests_all_but_ten_thousand_strings(tmp_path: Path) -> None:
    assert generate_and_split(tmp_path, 20, 10_000).info.splits["test"] == 1_038_576


def test_as_many_training_strings_as_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"tasks\.bits\.split\.train is 256, but there are 256 strings of 8 bits"):
        generate_and_split(tmp_path, 8, 256)


def test_of_many_bits_a_small_part_can_train(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="of 21 bits at most 41,943 strings can train; use a smaller number"):
        generate_and_split(tmp_path, 21, 41_944)
    assert generate_and_split(tmp_path, 21, 41_943).info.splits["train"] == 41_943


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0" * 19, "has 19 bits, expected 20"),
        ("0" * 19 + "2", "contains '2', expected 20 characters, each 0 or 1"),
        ("", "has 0 bits, expected 20"),
        ("\u0660" * 20, "contains '\u0660'"),
    ],
)
def test_text_that_is_not_a_string_of_bits_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(PipelineError, match=sentence):
        inputs.encode(text, INFO)


def test_the_picture_counts_the_errors_of_each_class(tmp_path: Path) -> None:
    examples = generate_and_split(tmp_path, length=4, train=4)
    encoded, targets = evaluated(examples)
    predicted = np.where(targets == 2, 3, targets)
    figure = plot(predictions(examples.info, encoded, targets, predicted), {})
    errors = [label.get_text() for label in figure.axes[0].texts]
    assert errors == ["", "", str((targets == 2).sum()), "", ""]


def test_a_model_that_takes_shorter_strings_reads_them(tmp_path: Path) -> None:
    info = replace(INFO, min_steps=1)
    for text in ("0", "11", "0" * 20):
        assert inputs.encode(text, info).tolist() == [int(bit) for bit in text]
    for text in ("", "0" * 21):
        with pytest.raises(PipelineError, match=rf"has {len(text)} bits, expected 1 to 20; type 1 to 20 zeros"):
            inputs.encode(text, info)


def test_each_prefix_has_its_count() -> None:
    info = replace(INFO, shape=(5, 1))
    assert features.step_targets(np.array([[0, 1, 1, 0, 1]], np.uint8), info).tolist() == [[0, 1, 2, 2, 3]]


def test_a_model_that_counts_reads_a_million_bits() -> None:
    info = replace(INFO, min_steps=1, max_steps=1_000_000)
    code = inputs.encode("01" * 500_000, info)
    assert features.features(code[None], info).shape == (1, 1_000_000, 1)
    assert features.step_targets(code[None], info)[0, -1] == 500_000
    with pytest.raises(PipelineError, match=r"has 1,000,001 bits, expected 1 to 1,000,000; type 1 to 1,000,000 zeros"):
        inputs.encode("0" * 1_000_001, info)


@given(st.integers(1, 32).flatmap(lambda digits: st.tuples(st.just(digits), st.integers(0, 2**digits - 1))))
def test_binary_digits_write_a_number(pair: tuple[int, int]) -> None:
    digits, number = pair
    code = binary(np.array([number]), digits)
    assert "".join(map(str, code[0])) == f"{number:0{digits}b}"
    assert numbers(code).tolist() == [number]


def test_strings_of_other_lengths_are_measured_where_the_model_takes_them(tmp_path: Path) -> None:
    """With a model that counts right but for strings of exactly three bits, and up to 60 only."""
    examples = generate_and_split(tmp_path, length=4, train=4)
    info = replace(examples.info, min_steps=1, max_steps=10_000)

    def miscounts(bits: np.ndarray) -> dict[str, np.ndarray]:
        count = np.minimum(bits.sum(axis=(1, 2)), 60) + (bits.shape[1] == 3)
        return {"probabilities": np.eye(120)[count.astype(int)], "count": count[:, None]}

    def evaluate(info: DatasetInfo) -> tuple[dict[str, float], Figure]:
        model, of_info = FunctionModel(miscounts), replace(examples, info=info)
        return evaluation.evaluate(of_info, predict_split(model, load("bits"), of_info), model)

    metrics, figure = evaluate(info)
    assert metrics.pop("wrong_shorter") == 8
    assert set(metrics) == {"accuracy_100_bits", "accuracy_1000_bits", "accuracy_10000_bits"}
    assert 0.6 < metrics["accuracy_100_bits"] < 0.7, "with 95 ones of 100, no more than 60 are counted"
    assert metrics["accuracy_10000_bits"] == 1 / 11, "the zeros alone"
    line = figure.axes[2].lines[0]
    accuracy = dict(zip(np.asarray(line.get_xdata(), int), np.asarray(line.get_ydata(), float), strict=True))
    assert accuracy[2] == accuracy[4] == accuracy[50] == 100
    assert accuracy[3] == 0
    assert accuracy[100] == 100 * metrics["accuracy_100_bits"]
    assert evaluate(replace(info, max_steps=None))[0] == {"wrong_shorter": 8}, "a model for shorter strings"
    assert evaluate(examples.info)[0] == {}, "a model for one length"


def test_drawn_strings_have_few_half_and_many_ones() -> None:
    strings = drawn(1000, 30, np.random.default_rng(0))
    assert strings.shape == (92, 1000)
    shares = [strings[rows].mean() for rows in (slice(30), slice(30, 60), slice(60, 90), 90, 91)]
    np.testing.assert_allclose(shares, [0.05, 0.5, 0.95, 0, 1], atol=0.01)
