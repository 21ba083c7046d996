"""What the page of `pipeline demo` shows, without a browser."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline import cli  # noqa: F401  # sets the environment of the libraries
from pipeline.demo import tables
from pipeline.demo.exports import Exports
from pipeline.demo.facts import facts
from pipeline.errors import PipelineError
from pipeline.inference.predict import Options
from pipeline.inference.story import Word, following
from tests.harness import project

BITS, MNIST, FABLE = project.MODELS
NASTY = ['<img src=x onerror="alert(1)">', "a & b", "c"]


@pytest.fixture
def exports(exported: Path) -> Exports:
    return Exports()


def test_the_answer_is_that_of_predict_and_has_each_step(exports: Exports) -> None:
    answer = exports.answer(BITS, "0110")
    (predicted,) = exports.open(BITS).predict(["0110"], Options(top=5))
    assert str(answer.prediction) == str(predicted)
    assert answer.labels == ["0", "1", "1", "0"]
    assert answer.trace.probabilities.shape == (4, len(answer.class_names))
    table = tables.counter(answer)
    assert table.count("<td") == 3 * 4 + 4 * 4 * len(re.findall("unit [0-9]+: cell state", table))


def test_a_table_has_a_row_for_each_step(exports: Exports) -> None:
    picture = (project.ROOT / "docs" / "seven.png").read_bytes()
    table = tables.probabilities(exports.answer(MNIST, picture))
    assert len(re.findall("<tr", table)) == 1 + 28


def test_a_damaged_model_is_left_out_and_named(exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    (exported / "models" / BITS / "export" / "info.json").write_text("{")
    assert Exports().names == [FABLE, MNIST]
    assert f"{BITS} is left out: " in caplog.text
    for model in (MNIST, FABLE):
        (exported / "models" / model / "export" / "info.json").write_text("{")
    with pytest.raises(PipelineError, match="every exported model is damaged; run `dvc repro --force`"):
        Exports()


def test_a_model_that_is_not_there_is_refused(exports: Exports) -> None:
    with pytest.raises(PipelineError, match="there is no model 'other' on this page; use one of bits-lstm24, "):
        exports.answer("other", "01")


def test_a_damaged_network_is_refused_in_a_sentence(exports: Exports, exported: Path) -> None:
    path = exported / "models" / BITS / "export" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PipelineError, match="run `dvc repro"):
        exports.answer(BITS, "01")


def test_no_text_of_a_model_or_a_person_becomes_html() -> None:
    word = Word(0, np.array([0.6, 0.3, 0.1], np.float32))
    for shown in (tables.story(NASTY[0], [word], NASTY), tables.error(NASTY[0]), tables.facts({"run": NASTY[0]})):
        assert "<img" not in shown
        assert "&lt;img" in shown


def test_a_word_with_a_probable_runner_up_is_marked() -> None:
    names = ["cat", "dog", "mouse"]
    decided, open_ = Word(0, np.array([0.95, 0.03, 0.02])), Word(0, np.array([0.85, 0.11, 0.04]))
    assert "ambiguous" not in tables.story("a", [decided], names)
    shown = tables.story("a", [open_], names)
    assert "ambiguous" in shown
    assert "or dog 11%, mouse 4%" in shown


def test_an_address_becomes_a_link_without_a_way_back() -> None:
    assert '<a href="http://127.0.0.1:5000/#/x" target="_blank" rel="noopener">' in tables.facts(
        {"run": "http://127.0.0.1:5000/#/x"}
    )


def test_facts_without_a_store_and_without_metrics_are_not_known(exports: Exports) -> None:
    known = facts(exports, BITS)
    assert known["dataset"] == "bits-8"
    assert known["accuracy"] == known["recipe"] == known["commit"] == "not known"


def test_facts_name_the_run_of_these_weights(trained_project: Path) -> None:
    known = facts(Exports(), BITS)
    assert known["recipe"] == "fast"
    assert re.fullmatch("[0-9a-f]{40}", known["commit"])
    assert re.fullmatch(r"http://127\.0\.0\.1:5000/#/experiments/\d+/runs/[0-9a-f]{32}", known["run"])
    shutil.copy(trained_project / "models" / MNIST / "model.weights.h5", trained_project / "models" / BITS)
    assert facts(Exports(), BITS)["run"] == "none; `pipeline track` records it"


def test_a_story_shifts_its_context_and_asks_for_each_once() -> None:
    asked: list[tuple[int, ...]] = []

    def predict(code: np.ndarray) -> np.ndarray:
        asked.append(tuple(code.tolist()))
        return np.asarray(np.eye(4, dtype=np.float32)[(code[-1] + 1) % 4])

    words = following(np.array([0, 1]), predict, 0.0, np.random.default_rng(0))
    assert [next(words).index for _ in range(9)] == [2, 3, 0, 1, 2, 3, 0, 1, 2]
    assert asked == [(0, 1), (1, 2), (2, 3), (3, 0)]


def test_drawings_and_suggestions(exports: Exports) -> None:
    pytest.importorskip("gradio")
    from pipeline.demo import digit, fable

    for wrong in (None, 3, {"a": 1}, "no base64!", "", "A" * (digit.LARGEST + 1)):
        assert digit._decoded(wrong) is None
    assert digit._decoded("AAAA") == b"\0\0\0"
    suggested = fable.suggestions(exports.open(FABLE))
    assert 1 <= len(suggested) <= fable.SUGGESTED
    for text in suggested:
        assert exports.answer(FABLE, text).prediction.input == text
    told = fable._continuation(exports.open(FABLE), suggested[0], fable.LONGEST, 0.0, 0)
    contexts = [tuple(word.index for word in told[end - 3 : end]) for end in range(3, len(told))]
    assert len(set(contexts)) == len(contexts), "a story that comes back to a context ends"
