"""An evaluation in chunks: each string is counted once, in whatever chunks, after a stop, and in little memory."""

import hashlib
import io
import tracemalloc
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import dataset
from pipeline import predictions as predictions_module
from pipeline.dataset import DatasetInfo, Examples, binary, numbers
from pipeline.errors import PipelineError
from pipeline.inference import evaluation
from pipeline.inference.evaluation import Functions, Store, predict_chunk, predict_split
from pipeline.inference.onnx_session import Session, batches
from pipeline.paths import ModelPaths, TaskPaths
from pipeline.predictions import Predictions, Totals
from pipeline.tasks import load
from pipeline.tasks.bits.features import features, step_targets
from tests.harness.examples import evaluated, predictions
from tests.harness.model import FunctionModel

BITS = load("bits")


def strings(length: int, train: list[int]) -> Examples:
    sizes = {"train": len(train), "test": 2**length - len(train)}
    names = [str(count) for count in range(length + 1)]
    info = DatasetInfo("bits", f"bits-{length}", False, (length, 1), names, "test", False, "", sizes, True)
    codes = binary(np.array(train), length)
    return Examples(info, codes, codes.sum(axis=1))


def counting(bits: np.ndarray) -> np.ndarray:
    """Probabilities float32 (batch, classes), wrong for strings that begin with 11, higher for more ones."""
    ones = bits.sum(axis=(1, 2)).astype(int)
    class_ = np.where(bits[:, :2, 0].all(axis=1), ones - 1, ones)
    probabilities = np.full((len(bits), bits.shape[1] + 1), 0.2 / bits.shape[1], np.float32)
    probabilities[np.arange(len(bits)), class_] = 0.5 + ones / 100
    return probabilities


FUNCTIONS = Functions(features, step_targets)
COUNTING = FunctionModel(lambda bits: {"probabilities": counting(bits)})


def in_chunks(examples: Examples, threads: int | None = None) -> Predictions:
    chunks = (predict_chunk(COUNTING, FUNCTIONS, examples, number, threads) for number in range(examples.chunks))
    return reduce(add, chunks)


def test_an_implicit_split_needs_the_class_of_each_string() -> None:
    info = replace(strings(3, [0]).info, task="fable")
    with pytest.raises(PipelineError, match=r"fable/features\.py does not define the function step_targets"):
        Functions.of(load("fable"), info)


@given(st.integers(3, 8), st.integers(1, 300), st.data())
@settings(deadline=None)
def test_the_chunks_of_an_implicit_split_add_up_to_the_predictions_of_all(
    length: int, size: int, data: st.DataObject
) -> None:
    train = data.draw(st.lists(st.integers(0, 2**length - 1), min_size=1, max_size=2**length - 1, unique=True))
    examples = strings(length, train)
    encoded, targets = evaluated(examples)
    stored = replace(examples.info, implicit_split=False, splits={"test": len(encoded)})
    whole = predict_chunk(COUNTING, Functions(features, None), Examples(stored, encoded, targets), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "CHUNK", size)
        made = in_chunks(examples)
    assert made.totals.confusion.tolist() == whole.totals.confusion.tolist()
    assert made.totals.loss == pytest.approx(whole.totals.loss)
    np.testing.assert_allclose(made.totals.bins, whole.totals.bins)
    assert made.totals.examples == 2**length - len(train)
    assert made.totals.wrong == whole.wrong.sum() == sum(code[:2] == [1, 1] for code in encoded.tolist())
    for ours, theirs in (
        (made.encoded, whole.encoded),
        (made.predicted, whole.predicted),
        (made.probability, whole.probability),
    ):
        assert ours.tolist() == theirs[whole.wrong].tolist(), "only the wrong ones are kept"


@given(st.integers(2, 7), st.integers(1, 40), st.data())
@settings(deadline=None)
def test_all_strings_of_each_length_are_counted_once(length: int, size: int, data: st.DataObject) -> None:
    train = data.draw(st.lists(st.integers(0, 2**length - 1), min_size=1, max_size=2**length - 1, unique=True))
    examples = strings(length, train)
    examples = replace(examples, info=replace(examples.info, min_steps=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "CHUNK", size)
        patch.setattr(evaluation, "batches", lambda examples: batches(examples, 7))
        made = predict_split(COUNTING, BITS, examples)
    wrong = [1, *(2 ** (n - 2) for n in range(2, length + 1))]  # "1", and those that begin with 11
    assert made.totals.by_length.tolist() == [2**n - wrong[n - 1] for n in range(1, length + 1)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1))
def test_totals_count_what_lists_count(pairs: list[tuple[int, int]]) -> None:
    targets, predicted = np.array(pairs).T
    totals = Totals.of(targets, np.eye(4, dtype=np.float32)[predicted])
    assert totals.examples == len(pairs)
    assert totals.wrong == sum(actual != found for actual, found in pairs)
    assert {(actual, found): number for actual, found, number in totals.confusion.tolist()} == {
        pair: pairs.count(pair) for pair in pairs
    }
    assert totals.by_class().tolist() == [
        [each, sum(a == each for a, _ in pairs), sum(a == each != p for a, p in pairs)]
        for each in sorted({a for a, _ in pairs})
    ]


def test_memory_does_not_grow_with_the_number_of_strings() -> None:
    peaks = []
    for length in (18, 21):
        examples = strings(length, [1, 2, 3])
        tracemalloc.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dataset, "CHUNK", 2**15)
            patch.setattr(predictions_module, "KEPT", 1000)
            in_chunks(examples, threads=1)  # how many batches meet at their peaks differs from run to run
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0], "of eight times as many"


def test_a_chunk_of_thirty_bits_is_as_small_as_any() -> None:
    examples = strings(30, [2**30 - 1, 5])
    assert examples.chunks == 1024
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "CHUNK", 2**12)
        made = predict_chunk(COUNTING, FUNCTIONS, examples, examples.chunks - 1)
    assert made.totals.examples == 2**12 - 1
    assert numbers(made.encoded).max() == 2**30 - 2
    assert made.targets.tolist() == made.encoded.sum(axis=1).tolist()


def test_an_evaluation_that_was_stopped_goes_on(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.dataset import load_examples

    monkeypatch.setattr(dataset, "CHUNK", 50)
    monkeypatch.chdir(trained)
    session, examples = Session(ModelPaths("bits-lstm24").onnx, "again"), load_examples(TaskPaths("bits"))
    store = Store(tmp_path / "chunks")
    whole = predict_split(session, BITS, examples, store)
    files = sorted((tmp_path / "chunks").iterdir())
    assert len(files) == 6
    before = {path: path.stat().st_mtime_ns for path in files}
    files[1].unlink()
    files[4].write_bytes(files[3].read_bytes()[:-1] + b"x")  # a chunk of another number, one byte of which is damaged
    (tmp_path / "chunks" / ".writing-left").mkdir()  # what `kill -9` leaves
    again = predict_split(session, BITS, examples, store)
    changed = [path for path in files if path.stat().st_mtime_ns != before[path]]
    assert changed == [files[1], files[4]], "the others are not predicted again"
    assert again.totals.confusion.tolist() == whole.totals.confusion.tolist()
    assert again.encoded.tolist() == whole.encoded.tolist()
    store.remove()
    assert not (tmp_path / "chunks").exists()


def test_a_chunk_of_a_version_that_counted_less_is_predicted_again(tmp_path: Path) -> None:
    store, made = Store(tmp_path), in_chunks(strings(3, [0]))
    store.save(0, made)
    assert store.load(0, made.info)
    (file,) = tmp_path.iterdir()
    with np.load(io.BytesIO(file.read_bytes()[32:])) as arrays:
        np.savez(older := io.BytesIO(), **{name: arrays[name] for name in arrays.files if name != "by_length"})
    file.write_bytes(hashlib.sha256(older.getvalue()).digest() + older.getvalue())
    assert store.load(0, made.info) is None


def test_all_predictions_of_a_stored_split_are_kept() -> None:
    info = strings(2, [0]).info
    made = predictions(info, np.arange(3)[:, None], np.array([0, 1, 1]), np.array([0, 1, 2]))
    assert made.wrong.tolist() == [False, False, True]
    assert made.totals.wrong == 1
