"""What a user sees of `pipeline predict`, from tiny models."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from PIL import Image
from typer.testing import CliRunner, Result

from pipeline import cli, manifest
from pipeline.files import load_json, md5
from pipeline.inference.onnx_session import Session
from pipeline.paths import ModelPaths
from tests.harness import project

BITS = "01101010"


@pytest.fixture
def evaluated(trained: Path) -> dict[str, tuple[str, float]]:
    """The class and the probability that the stage evaluate stored for each miscounted string of bits."""
    table = pd.read_parquet(ModelPaths("bits-lstm24", trained).predictions)
    strings = [f"{code:08b}" for code in table["example"]]
    return dict(zip(strings, zip(table["predicted"].astype(str), table["probability"], strict=True), strict=True))


def predict(*words: str, stdin: str = "", status: int = 0) -> Result:
    """`pipeline predict` in this process and its working folder."""
    result = CliRunner().invoke(cli.app, ["predict", *words], input=stdin)
    assert result.exit_code == status, result.output
    return result


def picture(path: Path) -> Path:
    Image.fromarray(np.pad(np.full((30, 4), 200, np.uint8), 20)).save(path)
    return path


def test_a_person_gets_the_class_its_probability_and_the_runners_up(
    exported: Path, evaluated: dict[str, tuple[str, float]]
) -> None:
    bits, (label, probability) = next(iter(evaluated.items()))
    result = predict("bits-lstm24", bits)
    best, _, others = result.stdout.partition("  (then ")
    assert best == f"{label}  {probability:.1%}"
    runners_up = [runner_up.split(" ") for runner_up in others.removesuffix(")\n").split(", ")]
    assert len({label, *(name for name, _ in runners_up)}) == 3
    shares = [probability, *(float(share.removesuffix("%")) / 100 for _, share in runners_up)]
    assert shares == sorted(shares, reverse=True)
    assert result.stderr == ""


def test_it_predicts_what_evaluate_measured(exported: Path, evaluated: dict[str, tuple[str, float]]) -> None:
    lines = predict("bits-lstm24", "--json", "-", stdin="\n".join(evaluated)).stdout.splitlines()
    results = [json.loads(line) for line in lines]
    assert {tuple(result) for result in results} == {("input", "label", "probability", "count", "certified", "top")}
    assert all(result["top"][0] == {key: result[key] for key in ("label", "probability")} for result in results)
    assert all(len(result["top"]) == 3 for result in results)
    assert [result["input"] for result in results] == list(evaluated)
    assert [result["label"] for result in results] == [label for label, _ in evaluated.values()]
    probabilities = [probability for _, probability in evaluated.values()]
    assert [result["probability"] for result in results] == pytest.approx(probabilities, abs=1e-6)


def test_a_story_is_continued_by_as_many_words_as_asked(exported: Path) -> None:
    words = load_json(ModelPaths("fable-lstm512").info, "")["class_names"]
    start = " ".join(words[:3])
    texts = []
    for more in (1, 5, 32):
        options = [] if more == 32 else ["--words", str(more)]
        (line,) = predict("fable-lstm512", "--json", start, *options).stdout.splitlines()
        result = json.loads(line)
        assert list(result) == ["input", "label", "probability", "top", "text", "probabilities"]
        assert len(result["text"].split(" ")) == 3 + more
        assert len(result["probabilities"]) == more
        assert result["probabilities"][0] == result["probability"]
        texts.append(result["text"])
    assert texts[2].startswith(f"{texts[1]} ")
    assert texts[1].startswith(f"{texts[0]} ")
    assert texts[0].startswith(f"{start} ")


def test_each_predicted_word_is_read_as_the_last_of_the_next_window(exported: Path) -> None:
    words = load_json(ModelPaths("fable-lstm512").info, "")["class_names"]
    text = " ".join(words[5:8])
    for _ in range(4):
        window = " ".join(text.split(" ")[-3:])
        text += f" {predict('fable-lstm512', window).stdout.split('first: ')[1].split('  ')[0]}"
    (line,) = predict("fable-lstm512", "--json", " ".join(words[5:8]), "--words", "4").stdout.splitlines()
    assert json.loads(line)["text"] == text


def test_a_picture_is_read_from_its_path(exported: Path, tmp_path: Path) -> None:
    result = json.loads(predict("mnist-lstm128", "--json", str(picture(tmp_path / "one.png"))).stdout)
    assert result["label"] in list("0123456789")


def test_a_stream_has_a_line_for_each_line_valid_or_not(exported: Path) -> None:
    lines = [BITS, "0121", "11111111", ""] * 40
    result = predict("bits-lstm24", "--json", "-", stdin="\n".join(lines) + "\n", status=1)
    results = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["input"] for each in results] == lines
    assert ["error" in each for each in results] == [False, True, False, True] * 40
    assert predict("bits-lstm24", "-", stdin="").stdout == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bits-lstm24", ""], "'' has 0 bits, expected 1 to 1,000,000; type 1 to 1,000,000 zeros and ones."),
        (["bits-lstm24", "01010102"], "'01010102' contains '2', expected 1 to 1,000,000 characters, each 0 or"),
        (
            ["bits-lstm42", BITS],
            "there is no exported model 'bits-lstm42'; use one of bits-lstm24, fable-lstm512, mnist-lstm128, or run "
            "`dvc repro` to export the models.",
        ),
        (["bits", BITS], "'bits' is a task; give one of its models: bits-lstm24."),
        (
            ["fable-lstm512", "once", "a", "mouse"],
            "3 inputs came, and only together they are one; put them in quotes: `pipeline predict fable-lstm512 "
            "'once a mouse'`.",
        ),
        (["../models/bits-lstm24", BITS], "there is no exported model '../models/bits-lstm24'; use one of"),
        (
            ["fable-lstm512", "once a mousse"],
            "'mousse' is not a word of belling_the_cat_retold; use one that is, such as 'mouse'.",
        ),
        (["mnist-lstm128", "no.png"], "'no.png' does not exist; give the path of a picture of one digit."),
        (["bits-lstm24"], "no input was given; give some after the model's name, or - to read lines from"),
    ],
)
def test_invalid_input_gets_one_sentence_and_status_two(exported: Path, words: list[str], sentence: str) -> None:
    result = predict(*words, status=2)
    assert result.stderr.startswith(f"error: {sentence}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_outside_a_project_the_command_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = predict("bits-lstm24", BITS, status=2)
    assert result.stderr == (
        f"error: neither {tmp_path} nor a folder above it has exported models; run this command in the project, after "
        "`dvc repro`, or in a folder that holds models/MODEL/export.\n"
    )


def test_the_project_is_found_from_a_folder_in_it(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = exported / "docs" / "more"
    inside.mkdir(parents=True)
    expected = predict("bits-lstm24", BITS).stdout
    monkeypatch.chdir(inside)
    assert predict("bits-lstm24", BITS).stdout == expected
    picture(inside / "one.png")
    predict("mnist-lstm128", "one.png")


def test_each_of_several_inputs_is_named(exported: Path, tmp_path: Path) -> None:
    paths = [str(picture(tmp_path / name)) for name in ("one.png", "two.png")]
    for result in (predict("mnist-lstm128", *paths), predict("mnist-lstm128", "-", stdin="\n".join(paths))):
        lines = result.stdout.splitlines()
        alone = [predict("mnist-lstm128", path).stdout.strip() for path in paths]
        assert lines == [f"{path}: {line}" for path, line in zip(paths, alone, strict=True)]


def test_as_many_classes_are_shown_as_asked_and_none_of_no_probability(exported: Path) -> None:
    for top in (1, 2, 9, 100):
        classes = json.loads(predict("bits-lstm24", "--json", "--top", str(top), BITS).stdout)["top"]
        assert len(classes) == min(top, 9)
        shown = predict("bits-lstm24", "--top", str(top), BITS).stdout
        assert shown.count("%") == 1 + sum(each["probability"] >= 0.0005 for each in classes[1:])
    assert sum(each["probability"] for each in classes) == pytest.approx(1, abs=1e-5)


def test_help_says_what_the_inputs_of_each_task_are() -> None:
    text = " ".join(predict("--help").stdout.split())
    assert "Inputs, by task: bits a string of bits, such as 01101010" in text
    assert "mnist the path of a picture" in text


def test_valid_inputs_beside_an_invalid_one_are_predicted(exported: Path) -> None:
    result = predict("bits-lstm24", BITS, "012", status=2)
    assert result.stdout == f"{BITS}: {predict('bits-lstm24', BITS).stdout}"
    assert "contains '2'" in result.stderr


def test_the_three_ways_to_call_it_print_the_same(exported: Path) -> None:
    for words, status in (([BITS], 0), (["012"], 2)):
        ways = [
            project.run(exported, *way, "predict", "bits-lstm24", *words, ok=False)
            for way in (["pipeline"], [sys.executable, "-m", "pipeline"], ["typer", "pipeline.cli", "run"])
        ]
        assert {way.returncode for way in ways} == {status}
        assert len({(way.stdout, way.stderr) for way in ways}) == 1


@pytest.mark.parametrize("end", ["\n", "\x04"])
def test_it_asks_in_a_terminal_until_an_empty_line_or_the_end(exported: Path, end: str) -> None:
    ours, theirs = pty.openpty()
    command = [str(project.BIN / "pipeline"), "predict", "bits-lstm24"]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
        os.write(ours, f"{BITS}\n0120\n{end}".encode())
        out, error = (text.decode() for text in asking.communicate(timeout=60))
    os.close(ours)
    os.close(theirs)
    assert asking.returncode == 0
    assert predict("bits-lstm24", BITS).stdout in out
    assert "contains '2', expected 1 to 1,000,000" in error
    assert (out + error).count("input, or nothing to end") == 3


def test_no_file_name_commands_the_terminal(exported: Path, tmp_path: Path) -> None:
    evil = "\x1b]0;pwned\x07\x1b[2Jseven\x9b.png"
    shutil.copy(project.ROOT / "docs" / "seven.png", tmp_path / evil)
    read = predict("mnist-lstm128", str(tmp_path / evil), str(tmp_path / evil))
    assert "?]0;pwned??[2Jseven?.png: " in read.stdout
    as_json = predict("mnist-lstm128", "--json", str(tmp_path / evil))
    assert json.loads(as_json.stdout)["input"] == str(tmp_path / evil)
    missing = predict("mnist-lstm128", str(tmp_path / f"no{evil}"), status=2)
    assert not {"\x1b", "\x9b", "\x07"} & set(read.stdout + as_json.stdout + missing.stderr)


def test_nothing_in_a_question_commands_the_terminal() -> None:
    """A commit's subject could erase the question before the answer."""
    code = "from pipeline.cli import terminal; terminal.confirm_code('fix\\x1b[1A\\x1b[2K\\rIt was trained here')"
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as asking:
        os.write(ours, b"n\n")
        out, _ = asking.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert b"It would run the code of fix?[1A?[2K?It was trained here. Run it? [y/N]" in out
    assert b"\x1b" not in out


def test_a_prediction_loads_no_library_that_takes_long_to_import(exported: Path) -> None:
    heavy = {"tensorflow", "keras", "mlflow", "dvc", "pandas", "matplotlib", "sklearn", "scipy", "onnx"}
    code = (
        "import sys\nfrom pipeline.cli import app\n"
        f"app(['predict', 'bits-lstm24', '{BITS}'], standalone_mode=False)\n"
        f"print(sorted({{name.split('.')[0] for name in sys.modules}} & {heavy}))"
    )
    prediction, loaded = project.run(exported, sys.executable, "-c", code).stdout.splitlines()
    assert f"{prediction}\n" == predict("bits-lstm24", BITS).stdout
    assert loaded == "[]"


@pytest.mark.parametrize("size", [0, 40])
def test_a_damaged_info_file_is_refused(exported: Path, size: int) -> None:
    info = ModelPaths("bits-lstm24").info
    info.write_bytes(info.read_bytes()[:size])
    result = predict("bits-lstm24", BITS, status=2)
    again = "run `dvc repro --force export@bits-lstm24` to make it again"
    assert result.stderr == f"error: {info} was changed after it was written; {again}.\n"


@pytest.mark.parametrize("size", [0, 100, None])
def test_a_damaged_or_missing_model_is_refused(exported: Path, size: int | None) -> None:
    path = ModelPaths("mnist-lstm128").onnx
    content = path.read_bytes()
    path.unlink()
    if size is not None:
        path.write_bytes(content[:size])
    result = predict("mnist-lstm128", str(picture(exported / "one.png")), status=2)
    damage = "was changed after it was written" if path.is_file() else "does not exist"
    assert result.stderr.startswith(f"error: {path} {damage}; run `dvc repro ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("file", ["model.onnx", "info.json"])
@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_changed_bit_anywhere_in_an_export_is_refused(exported: Path, file: str, data: st.DataObject) -> None:
    path = ModelPaths("bits-lstm24").export / file
    content = path.read_bytes()
    place, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    path.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
    result = predict("bits-lstm24", BITS, status=2)
    assert "dvc repro --force export@bits-lstm24" in result.stderr
    assert result.stderr.count("\n") == 1
    path.write_bytes(content)


def test_a_probability_that_is_none_is_refused(exported: Path) -> None:
    paths = ModelPaths("bits-lstm24")
    model = onnx.load(paths.onnx)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            nothing = np.full_like(numpy_helper.to_array(tensor), np.nan)
            tensor.CopyFrom(numpy_helper.from_array(nothing, tensor.name))
    onnx.save(model, paths.onnx)
    manifest.write_all(paths.export)
    assert "gives probabilities that are not from 0 to 1" in predict("bits-lstm24", BITS, status=2).stderr


def test_shorter_strings_are_read_where_every_step_was_supervised(exported: Path) -> None:
    lines = predict("bits-lstm24", "0", BITS, "01", BITS[:5], "1").stdout.splitlines()
    assert len(lines) == 5
    for text, line in zip(["0", BITS, "01"], lines, strict=False):
        alone = predict("bits-lstm24", text).stdout.strip()
        assert line == f"{text}: {alone}", "alone as beside strings of other lengths"


def test_a_longer_string_than_trained_has_a_count_and_no_probability(exported: Path) -> None:
    for length in (9, 100, 3000):
        text = "011" * (length // 3)
        result = predict("bits-lstm24", text)
        content = json.loads(predict("bits-lstm24", "--json", text).stdout)
        assert content["input"] == text
        assert content["probability"] is None
        assert content["certified"] is False
        assert "top" not in content
        assert result.stdout == f"{content['count']:.0f}\n" == f"{content['label']}\n"
        assert result.stderr == "note: of bits-lstm24, no count is proven\n"
    assert predict("bits-lstm24", BITS).stderr == ""
    lines = predict("bits-lstm24", "-", stdin=f"{'01' * 50_000}\n0110\n").stdout.splitlines()
    assert lines[0].startswith("0101")
    assert len(lines[0]) < 130, "an input is shortened"


def test_the_count_of_a_string_up_to_the_certified_length_is_certified(exported: Path) -> None:
    path, onnx_md5 = ModelPaths("bits-lstm24").certificate, md5(ModelPaths("bits-lstm24").onnx)
    proof = {"certified_steps": 12, "reason": None, "adds": [0.0, 1.0], "rounding": 0.0}
    path.write_text(json.dumps([proof | {"onnx": onnx_md5}]))
    shorter, longer = "01" * 6, "01" * 6 + "0"
    assert predict("bits-lstm24", shorter).stderr == ""
    assert json.loads(predict("bits-lstm24", "--json", shorter).stdout)["certified"] is True
    assert json.loads(predict("bits-lstm24", "--json", BITS).stdout)["certified"] is True
    result = predict("bits-lstm24", "--json", longer)
    assert json.loads(result.stdout)["certified"] is False
    assert result.stderr == ("note: of bits-lstm24, counts are proven right up to 12 steps, and an input has more\n")
    path.write_text(json.dumps([proof | {"onnx": "of another file"}]))
    assert json.loads(predict("bits-lstm24", "--json", shorter).stdout)["certified"] is False
    path.unlink()
    assert json.loads(predict("bits-lstm24", "--json", shorter).stdout)["certified"] is False


@pytest.mark.parametrize("content", ["{", "{}", "[]", "[1]", "7", "[{}]", "[{}, {}]"])
def test_a_damaged_certificate_is_one_sentence(exported: Path, content: str) -> None:
    ModelPaths("bits-lstm24").certificate.write_text(content)
    result = predict("bits-lstm24", "01" * 20, status=2)
    assert result.stderr.startswith("error: models/bits-lstm24/certificate.json is ")
    assert "dvc repro evaluate@bits-lstm24" in result.stderr


def test_strings_with_common_beginnings_are_counted_as_each_alone(trained: Path) -> None:
    rng = np.random.default_rng(5)
    sequences = rng.integers(0, 2, (40, 30, 1)).astype(np.float32)
    sequences[5:9] = sequences[4]
    sequences[20:30, :12] = sequences[19, :12]
    sequences[30, :29] = sequences[31, :29]
    session = Session(ModelPaths("bits-lstm24", trained).onnx, "again")
    together = session.run(sequences)
    assert session.run(sequences[:0])["probabilities"].shape == (0, together["probabilities"].shape[1])
    for row, sequence in enumerate(sequences):
        alone = session.run(sequence[None])
        for name, values in together.items():
            np.testing.assert_allclose(values[row], alone[name][0], rtol=1e-12, atol=1e-7)


@pytest.mark.parametrize("model", ["bits-lstm24", "mnist-lstm128"], ids=["with states", "without states"])
def test_the_prefixes_of_sequences_are_read_as_each_alone(trained: Path, model: str) -> None:
    session = Session(ModelPaths(model, trained).onnx, "again")
    rng = np.random.default_rng(6)
    sequences = rng.integers(0, 2, (12, 5, 1 if model == "bits-lstm24" else 28)).astype(np.float32)
    sequences[4:8, :3] = sequences[3, :3]
    found = list(session.run_prefixes(sequences))
    assert [steps for steps, _, _ in found] == [1, 2, 3, 4, 5]
    for steps, rows, outputs in found:
        assert rows.tolist() == [
            row for row in range(12) if not row or (sequences[row, :steps] != sequences[row - 1, :steps]).any()
        ]
        for name, values in outputs.items():
            expected = np.concatenate([session.run(sequences[row : row + 1, :steps])[name] for row in rows])
            np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-6)


def test_show_prints_what_the_model_sees(exported: Path, tmp_path: Path) -> None:
    path = str(picture(tmp_path / "one.png"))
    shown = predict("mnist-lstm128", path, "--show").stdout.splitlines()[1:]
    assert len(shown) == 28
    assert max(len(line) for line in shown) <= 56
    assert any("█" in line for line in shown)
    predict("mnist-lstm128", path, path, "--show", str(tmp_path / "seen.png"))
    with Image.open(tmp_path / "seen.png") as seen:
        assert seen.size == (2 * 30 * 8, 30 * 8)
    result = predict("bits-lstm24", BITS, "--show", status=2)
    assert result.stderr == "error: a bits model does not read pictures; leave out --show.\n"


def test_digits_are_read_left_to_right(exported: Path, tmp_path: Path) -> None:
    page = np.full((200, 600), 255, np.uint8)
    for left in (100, 280, 460):
        page[50:150, left : left + 12] = 0
    Image.fromarray(page).save(tmp_path / "three.png")
    label = predict("mnist-lstm128", str(tmp_path / "three.png"), "--digits").stdout.split()[0]
    assert len(label) == 3
    assert len(set(label)) == 1, "three equal strokes"
    result = predict("mnist-lstm128", str(tmp_path / "three.png"), status=2)
    assert "shows 3 digits, expected one; use --digits to read all of them." in result.stderr
    result = predict("bits-lstm24", BITS, "--digits", status=2)
    assert result.stderr == "error: bits-lstm24 does not read pictures; leave out --digits.\n"


@pytest.mark.parametrize("option", ["--words", "--temperature", "--seed"])
def test_an_option_of_stories_is_refused_by_other_models(exported: Path, option: str) -> None:
    result = predict("bits-lstm24", BITS, option, "1", status=2)
    assert result.stderr == f"error: bits-lstm24 does not go on with a story; leave out {option}.\n"


def test_a_picture_without_a_digit_is_refused(exported: Path, tmp_path: Path) -> None:
    Image.new("L", (300, 300), 200).save(tmp_path / "blank.png")
    result = predict("mnist-lstm128", str(tmp_path / "blank.png"), status=2)
    assert result.stderr.startswith("error: no digit found in '")


def test_drawn_words_depend_on_the_seed_and_the_temperature(exported: Path) -> None:
    def story(*options: str) -> str:
        return predict("fable-lstm512", "there came a", "--words", "30", *options).stdout

    assert story() == story("--temperature", "0") == story("--seed", "5"), "the most probable words"
    drawn = story("--temperature", "1", "--seed", "1")
    assert drawn == story("--temperature", "1", "--seed", "1")
    assert len({drawn, story("--temperature", "1", "--seed", "2"), story()}) == 3


def test_show_never_replaces_a_file(exported: Path, tmp_path: Path) -> None:
    first, second = picture(tmp_path / "first.png"), picture(tmp_path / "second.png")
    before = first.read_bytes()
    result = predict("mnist-lstm128", "--show", str(first), str(second), status=2)
    assert "exists, and --show FILE.png writes a new file; name another one" in result.stderr
    assert first.read_bytes() == before
    result = predict("mnist-lstm128", "-", "--show", stdin=f"{first}\n", status=2)
    assert result.stderr.startswith("error: --show needs the inputs as arguments")


@pytest.mark.parametrize("length", [1_000_001, 1_099_999, 1_100_000, 1_100_001, 3_000_000])
def test_a_line_that_is_too_long_is_an_invalid_input_in_its_place(exported: Path, length: int) -> None:
    result = predict("bits-lstm24", "--json", "-", stdin=f"{BITS}\n{'1' * length}\n{BITS}\n", status=1)
    first, second, third = (json.loads(line) for line in result.stdout.splitlines())
    assert first == third
    assert "has more than 1,000,000 characters; give a shorter input" in second["error"]
    assert len(second["error"]) < 300


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS limits no address space")
def test_a_line_without_end_is_refused_before_it_fills_the_memory(exported: Path) -> None:
    command = f"(yes 01 | tr -d '\\n') 2>/dev/null | {sys.executable} -m pipeline predict bits-lstm24 -"
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))"
    environment = os.environ | {"PYTHONPATH": str(project.ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import os; os.execvp('sh', ['sh', '-c', {command!r}])"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: a line of standard input has more than ")
    assert done.stderr.count("\n") == 1


def test_an_output_that_cannot_be_written_is_one_sentence(exported: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    run = (
        f"{code}; import sys; sys.argv = ['pipeline', 'predict', 'bits-lstm24', '{BITS}']; from pipeline.cli import app"
    )
    with (exported / "full").open("w") as full:
        command = [sys.executable, "-c", f"{run}; app()"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: [Errno 27] File too large; free some space")
    assert done.stderr.count("\n") == 1
