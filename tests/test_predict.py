"""What a person sees of `pipeline predict`, from models taught for a moment on real data."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import tiny

BITS = "01101010101010101010"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy with the project's own bits-lstm24 under the fast recipe, and the others tiny."""
    folder = tiny.make(tmp_path_factory.mktemp("trained"))
    whole = tiny.read(tiny.ROOT)
    params = tiny.read(folder)
    params["models"]["bits-lstm24"] = whole["models"]["bits-lstm24"]
    params["tasks"]["bits"] = whole["tasks"]["bits"]
    params["models"]["fable-lstm512"]["network"]["lstm"] = [64]
    params["models"]["fable-lstm512"]["fast"] |= {"steps": 600, "batch": 64, "rate": 0.01, "report": 100}
    tiny.write(folder, params)
    for task in ("bits", "mnist", "fable"):
        tiny.run(folder, "pipeline", "generate", task)
        tiny.run(folder, "pipeline", "split", task)
    for model in tiny.MODELS:
        tiny.run(folder, "pipeline", "train", model)
        tiny.run(folder, "pipeline", "export", model)
        tiny.run(folder, "pipeline", "evaluate", model)
    for name in ("params.yaml", "data", "pipeline"):
        (folder / name).rename(folder / f"moved-{name}")  # predict reads models/MODEL/export and nothing else
    return folder


def predict(folder: Path, *words: str, stdin: str = "", ok: bool = True) -> subprocess.CompletedProcess[str]:
    return tiny.run(folder, "pipeline", "predict", *words, stdin=stdin, ok=ok)


def labels(folder: Path, strings: list[str]) -> list[int]:
    done = predict(folder, "bits-lstm24", "--json", "-", stdin="\n".join(strings))
    return [int(json.loads(line)["label"]) for line in done.stdout.splitlines()]


def test_the_trained_model_is_better_than_the_published_one(trained: Path) -> None:
    metrics = json.loads((trained / "models/bits-lstm24/metrics.json").read_text())
    assert metrics["examples"] == 1_038_576
    assert metrics["accuracy"] > 0.997


def test_shuffled_bits_keep_their_count_and_one_more_one_adds_one(trained: Path) -> None:
    rng = np.random.default_rng(1)
    rows = (rng.random((200, 20)) < rng.uniform(0.3, 0.7, (200, 1))).astype(int)
    shuffled = rng.permuted(rows, axis=1)
    more = rows.copy()
    for row in more:
        row[rng.choice(np.flatnonzero(row == 0))] = 1
    texts = ["".join(map(str, row)) for row in np.concatenate([rows, shuffled, more])]
    counted = np.array(labels(trained, texts)).reshape(3, 200)
    assert (counted[0] == counted[1]).mean() >= 0.99
    assert (counted[0] + 1 == counted[2]).mean() >= 0.99
    assert (counted[0] == rows.sum(axis=1)).mean() >= 0.99


def test_a_person_gets_the_answer_its_probability_and_the_runners_up(trained: Path) -> None:
    done = predict(trained, "bits-lstm24", BITS)
    answer, _, others = done.stdout.partition("  (then ")
    assert answer.split()[0] == "10"
    assert answer.split()[1].endswith("%")
    assert len(others.split(", ")) == 2
    assert done.stderr == ""


def test_json_is_an_object_a_line(trained: Path) -> None:
    lines = predict(trained, "bits-lstm24", "--json", BITS, "1" * 10 + "0" * 10).stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [list(answer) for answer in answers] == [["input", "label", "probability"]] * 2
    assert [answer["label"] for answer in answers] == ["10", "10"]
    assert all(0 <= answer["probability"] <= 1 for answer in answers)


def test_a_story_goes_on_for_as_many_words_as_asked(trained: Path) -> None:
    story = json.loads((trained / "moved-data/raw/fable/tokens.json").read_text())["tokens"]
    start = " ".join(story[:3])
    for more in (32, 1, 5):
        options = [] if more == 32 else ["--words", str(more)]
        (line,) = predict(trained, "fable-lstm512", "--json", start, *options).stdout.splitlines()
        answer = json.loads(line)
        assert list(answer) == ["input", "text"]
        assert len(answer["text"].split(" ")) == 3 + more
        assert answer["text"].startswith(start)


def test_a_picture_is_answered_from_its_path(trained: Path, tmp_path: Path) -> None:
    Image.fromarray(np.pad(np.full((30, 4), 200, np.uint8), 20)).save(tmp_path / "one.png")
    answer = json.loads(predict(trained, "mnist-lstm128", "--json", str(tmp_path / "one.png")).stdout)
    assert answer["label"] in "0123456789"


def test_a_stream_answers_bad_lines_in_their_place(trained: Path) -> None:
    lines = [BITS, "0101", BITS, ""] * 40
    done = predict(trained, "bits-lstm24", "--json", "-", stdin="\n".join(lines) + "\n", ok=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [answer["input"] for answer in answers] == lines
    assert ["error" in answer for answer in answers] == [False, True, False, True] * 40
    assert predict(trained, "bits-lstm24", "-", stdin="").returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bits-lstm24", "0" * 19], f"'{'0' * 19}' has 19 bits, expected 20; give a string of 20 zeros and ones."),
        (
            ["bits-lstm24", "0" * 19 + "2"],
            f"'{'0' * 19}2' holds '2', expected 20 characters, each 0 or 1; leave it out.",
        ),
        (
            ["bits-lstm42", BITS],
            "there is no exported model 'bits-lstm42': those exported are bits-lstm24, fable-lstm512, mnist-lstm128; "
            "make them with `dvc repro`.",
        ),
        (["../models/bits-lstm24", BITS], "there is no exported model '../models/bits-lstm24': those"),
        (
            ["fable-lstm512", "once a mousse"],
            "'mousse' is not a word of belling_the_cat; the nearest that is: 'mouse'.",
        ),
        (["mnist-lstm128", "no.png"], "there is no file 'no.png'; give the path of a picture of one digit."),
        (["bits-lstm24"], "no input came; give some behind the model's name, or - to read a line each"),
    ],
)
def test_bad_input_gets_one_sentence_and_status_two(trained: Path, words: list[str], sentence: str) -> None:
    done = predict(trained, *words, ok=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sentence}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_good_inputs_beside_a_bad_one_are_answered(trained: Path) -> None:
    done = predict(trained, "bits-lstm24", BITS, "01", ok=False)
    assert (done.returncode, done.stdout.split()[0]) == (2, "10")


def test_the_three_ways_to_call_it_say_the_same(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (trained / "moved-pipeline").rename(trained / "pipeline")
    for words, status in (([BITS], 0), (["01"], 2)):
        ways = [
            tiny.run(trained, *way, "predict", "bits-lstm24", *words, ok=False)
            for way in (["pipeline"], [sys.executable, "-m", "pipeline"], ["typer", "pipeline.cli", "run"])
        ]
        assert {way.returncode for way in ways} == {status}
        assert len({way.stdout + way.stderr for way in ways}) == 1
    (trained / "pipeline").rename(trained / "moved-pipeline")


def test_it_asks_on_a_terminal_until_an_empty_line(trained: Path) -> None:
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).parent / "pipeline"), "predict", "bits-lstm24"]
    with subprocess.Popen(command, cwd=trained, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
        os.write(ours, f"{BITS}\n010\n\n".encode())
        out, error = (text.decode() for text in asking.communicate(timeout=60))
    os.close(ours)
    os.close(theirs)
    assert asking.returncode == 0
    assert "10  " in out
    assert "has 3 bits, expected 20" in error
    assert (out + error).count("input, or nothing to end") == 3


def test_no_tensorflow_is_loaded_and_an_answer_comes_soon(trained: Path) -> None:
    code = (
        "import sys\nfrom pipeline import predict\n"
        f"print(list(predict.load('bits-lstm24').answer(['{BITS}'], 1))[0].label)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'tensorflow', 'keras', 'mlflow', 'pandas'}))"
    )
    assert tiny.run(trained, sys.executable, "-c", code).stdout == "10\n[]\n"
    taken = []
    for _ in range(5):
        started = time.monotonic()
        predict(trained, "bits-lstm24", BITS)
        taken.append(time.monotonic() - started)
    assert min(taken) < 1, "seconds; the best of five, since machines are shared"


def test_a_damaged_card_is_refused(trained: Path) -> None:
    card = trained / "models/bits-lstm24/export/card.json"
    whole = card.read_text()
    card.write_text(whole[:40])
    done = predict(trained, "bits-lstm24", BITS, ok=False)
    card.write_text(whole)
    assert done.returncode == 2
    assert "card.json is damaged; make it again with" in done.stderr


def test_a_damaged_model_is_refused(trained: Path) -> None:
    model = trained / "models/mnist-lstm128/export/model.onnx"
    whole = model.read_bytes()
    Image.fromarray(np.pad(np.full((30, 4), 200, np.uint8), 20)).save(trained / "one.png")
    for content in (b"", whole[:100]):
        model.write_bytes(content)
        done = predict(trained, "mnist-lstm128", "one.png", ok=False)
        assert done.returncode == 2
        assert done.stderr.startswith("error: models/mnist-lstm128/export/model.onnx is missing or damaged")
        assert done.stderr.count("\n") == 1
    model.write_bytes(whole)
