"""What the page of `pipeline demo` shows, without a browser."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import cli  # noqa: F401  # sets the environment of the libraries
from pipeline.demo import guard, tables
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


def test_a_longer_string_than_trained_is_shown_with_its_counts(exports: Exports) -> None:
    answer = exports.answer(BITS, "0110" * 100)
    shown = tables.counter(answer)
    assert f">{answer.prediction.label}<" in shown
    assert "%" not in shown.partition("the units that change most")[0].rpartition("</style>")[2]


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
    assert re.fullmatch(r"http://127\.0\.0\.1:5000/#/experiments/\d+/runs/[0-9a-f]{32}", known["run, in `mlflow ui`"])
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


def test_the_lowest_temperature_takes_the_most_probable_word() -> None:
    words = following(np.array([0]), lambda code: np.array([0.2, 0.5, 0.3]), 5e-324, np.random.default_rng(0))
    assert [next(words).index for _ in range(5)] == [1] * 5


@pytest.mark.parametrize(
    ("method", "path", "host", "length", "status"),
    [
        ("GET", "/", "127.0.0.1:7860", None, 0),
        ("GET", "/config", "localhost:1", None, 0),
        ("POST", "/gradio_api/queue/join", "[::1]:7860", "100", 0),
        ("POST", "/gradio_api/upload", "127.0.0.1", "50000000", 0),
        ("GET", "/config", "evil.example", None, 421),
        ("GET", "/config", "", None, 421),
        ("GET", "/gradio_api/file=http://example.org/x", "127.0.0.1", None, 404),
        ("GET", "/monitoring", "127.0.0.1", None, 404),
        ("GET", "/gradio_api/proxy=http://example.org", "127.0.0.1", None, 404),
        ("POST", "/gradio_api/queue/join", "127.0.0.1", "5000000", 413),
        ("POST", "/gradio_api/upload", "127.0.0.1", "60000000", 413),
        ("POST", "/gradio_api/upload", "127.0.0.1", None, 411),
    ],
)
def test_the_server_hears_its_own_page_alone(
    method: str, path: str, host: str, length: str | None, status: int
) -> None:
    headers = [(b"host", host.encode())] + ([(b"content-length", length.encode())] if length else [])
    assert guard._refused({"type": "http", "method": method, "path": path, "headers": headers}) == status


def test_a_file_that_was_not_uploaded_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradio.data_classes import ImageData

    from pipeline.demo import digit

    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "a.png").write_bytes(b"a")
    (tmp_path / "secret").write_bytes(b"b")
    (tmp_path / "uploads" / "link").symlink_to(tmp_path / "secret")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    assert digit._uploaded(ImageData(path=str(tmp_path / "uploads" / "a.png"))) == str(tmp_path / "uploads" / "a.png")
    for other in (
        tmp_path / "secret",
        tmp_path / "uploads" / "link",
        tmp_path / "uploads" / ".." / "secret",
        "/dev/zero",
    ):
        assert digit._uploaded(ImageData(path=str(other))) is None
    assert digit._uploaded(None) is digit._uploaded(ImageData()) is None


def test_the_address_of_a_run_has_no_password(trained_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.demo import facts as module

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://alice:s3cret@example.org/mlflow?token=1")
    assert module._server() == "https://example.org/mlflow"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert module._server() == module.SERVER


def test_drawings_and_suggestions(exports: Exports) -> None:
    pytest.importorskip("gradio")
    from pipeline.demo import digit, fable

    for wrong in (None, 3, {"a": 1}, "no base64!", "", "A" * (digit.LARGEST + 1)):
        assert digit._decoded(wrong) is None
    small, large = (io.BytesIO() for _ in range(2))
    Image.new("1", (280, 280)).save(small, "PNG")
    Image.new("1", (7000, 7000)).save(large, "PNG")
    assert digit._decoded(base64.b64encode(small.getvalue()).decode()) == small.getvalue()
    assert digit._decoded(base64.b64encode(large.getvalue()).decode()) is None
    suggested = fable.suggestions(exports.open(FABLE))
    assert 1 <= len(suggested) <= fable.SUGGESTED
    for text in suggested:
        assert exports.answer(FABLE, text).prediction.input == text
    told = fable._continuation(exports.open(FABLE), suggested[0], fable.LONGEST, 0.0, 0)
    contexts = [tuple(word.index for word in told[end - 3 : end]) for end in range(3, len(told))]
    assert len(set(contexts)) == len(contexts), "a story that comes back to a context ends"
