"""The log of predictions, and what `pipeline drift` says of it."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import dataset
from pipeline.inference import drift, predict, usage
from tests.harness import project

BITS, _, FABLE = project.MODELS
Draw = Callable[[np.random.Generator, int], list[float | str]]


def strings(ones: float, count: int, seed: int = 1) -> list[str]:
    """Random strings of 8 bits, with this share of ones."""
    rows = np.random.default_rng(seed).random((count, 8)) < ones
    return ["".join("01"[bit] for bit in row) for row in rows.astype(int)]


def entries(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def log(inputs: list[str], path: Path, *options: str) -> None:
    """Predict inputs of bits, and log them."""
    project.invoke("predict", BITS, *inputs, "--log", str(path), *options)


def test_each_result_is_appended_with_a_hash_or_its_input(trained_project: Path) -> None:
    path = Path("use.jsonl")
    result = project.invoke("predict", BITS, "01101010", "012", "--log", str(path))
    assert result.exit_code == 2, "012 is no string of bits"
    project.invoke("predict", BITS, "01101010", "--log", str(path), "--log-inputs")
    first, refused, named = entries(path)
    assert "01101010" not in json.dumps(first)
    assert str(first["input"]).startswith("sha256:")
    assert (named["input"], named["label"], named["onnx"]) == ("01101010", first["label"], first["onnx"])
    assert first["measures"] == {"length": 8, "share of ones": 0.5}
    assert (refused["label"], refused["probability"], refused["measures"]) == (None, None, {})
    assert path.stat().st_mode & 0o077 == 0, "others may not read it"
    assert not Path("drift.png").exists()


def test_the_hash_of_a_picture_is_that_of_its_pixels(trained_project: Path) -> None:
    for name in ("a.png", "b.png"):
        shutil.copy(project.ROOT / "docs" / "seven.png", name)
    project.invoke("predict", project.MODELS[1], "a.png", "b.png", "--log", "use.jsonl")
    first, second = entries(Path("use.jsonl"))
    assert first["input"] == second["input"]


def test_inputs_like_those_of_the_test_set_do_not_drift_and_others_do(trained_project: Path) -> None:
    log(strings(0.5, 200), Path("alike.jsonl"))
    result = project.invoke("drift", "alike.jsonl", "--picture", "alike.png")
    assert result.exit_code == 0, result.output
    assert "differs" not in result.stdout
    assert Path("alike.png").read_bytes()[:4] == b"\x89PNG"
    log(strings(0.8, 200), Path("other.jsonl"))
    result = project.invoke("drift", "other.jsonl")
    assert result.exit_code == 1
    differing = {line.split("  ")[0] for line in result.stdout.splitlines() if line.endswith("differs")}
    assert "share of ones" in differing
    assert "length" not in differing


def test_entries_of_another_export_or_model_are_told_apart(trained_project: Path) -> None:
    path = Path("use.jsonl")
    log(strings(0.5, 30), path)
    project.invoke("predict", FABLE, "there came a", "--words", "1", "--log", str(path))
    lines = path.read_text().splitlines()
    older = json.dumps(json.loads(lines[0]) | {"onnx": "0" * 32})
    path.write_text("\n".join([*lines, older, older]) + "\n")
    result = project.invoke("drift", str(path))
    assert (
        f"{BITS}: 30 predictions, compared with its test set; 2 predictions of another export are left out"
        in result.stdout
    )
    assert f"{FABLE}: 1 predictions, of 20 that are needed to compare them" in result.stdout


def test_a_log_that_is_too_short_or_damaged_is_refused(trained_project: Path) -> None:
    path = Path("use.jsonl")
    log(strings(0.5, 5), path)
    assert "too few predictions, expected at least 20" in project.invoke("drift", str(path)).stderr
    good = path.read_text()
    numbers = [good.replace('"length": 8.0', f'"length": {number}') for number in ("NaN", "1e999", "-1e300")]
    for damage in (
        *numbers,
        good.replace('"probability": 0', '"probability": 7'),
        "{}\n",
        "[1]\n",
        "x\n",
        good.replace('"label": "', '"label": 1, "x": "'),
        "{" * 100_000,
        "\x00",
    ):
        path.write_text(good + damage)
        result = project.invoke("drift", str(path))
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), damage[:20]
    path.write_text("")
    assert project.invoke("drift", str(path)).exit_code == 2
    for place in (".", "no/folder/use.jsonl"):
        assert project.invoke("predict", BITS, "0110", "--log", place).exit_code == 2
        assert project.invoke("drift", place).exit_code == 2


def test_a_log_that_others_can_open_is_refused(trained_project: Path) -> None:
    path = Path("a log.jsonl")
    path.touch(0o644)
    done = project.invoke("predict", BITS, "0110", "--log", str(path))
    assert done.exit_code == 2
    assert done.stderr == (
        "error: 'a log.jsonl' can be opened by others; run `chmod 600 'a log.jsonl'`, or name another file.\n"
    )
    path.chmod(0o600)
    log(["0110"], path)
    assert len(usage.read(path)) == 1


def test_a_label_that_is_odd_or_long_is_drawn_and_printed_short(trained_project: Path) -> None:
    path = Path("use.jsonl")
    log(strings(0.5, 40), path)
    entries = [json.loads(line) | {"label": "$\\frac{a}{$" + "x" * 10_000} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    done = project.invoke("drift", str(path))
    assert done.exit_code == 1, done.output
    assert max(map(len, done.stdout.splitlines())) < 200


def test_of_a_log_of_long_strings_the_length_differs(trained_project: Path) -> None:
    log([text * 3 for text in strings(0.5, 40)], Path("use.jsonl"))
    (found,) = [drift.find(predict.load(BITS), usage.read(Path("use.jsonl")))]
    assert {each.measure for each in found.comparisons if each.differs} >= {"length"}
    assert "probability" not in {each.measure for each in found.comparisons}, "there is a count alone"


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, size: rng.normal(size=size).tolist(),
        lambda rng, size: rng.choice(list("aaabbcdefgh"), size).tolist(),
    ],
    ids=["numbers", "names"],
)
def test_a_p_value_is_small_as_rarely_as_it_says(draw: Draw) -> None:
    rng = np.random.default_rng(3)
    p = [drift.p_value(draw(rng, 60), draw(rng, 400)) for _ in range(400)]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.08  # 0.05 by chance, with a deviation of 0.011
    shifted = drift.p_value([f"{x}" for x in "aabb" * 30], draw(rng, 400)) if isinstance(draw(rng, 1)[0], str) else 0
    assert shifted < 1e-6


def test_every_p_value_is_multiplied_by_the_number_of_tests(trained_project: Path) -> None:
    log(strings(0.6, 60), Path("use.jsonl"))
    found = drift.find(predict.load(BITS), usage.read(Path("use.jsonl")))
    for each in found.comparisons:
        assert each.p == min(1.0, len(found.comparisons) * drift.p_value(each.logged, each.tested))


def test_a_full_disk_is_a_sentence(trained_project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "predict", BITS, "0110", "--log", "use.jsonl"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: 'use.jsonl' could not be written (File too large); name another file.\n"


def test_the_sample_of_a_large_split_is_not_of_its_first_numbers(
    trained_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "CHUNK", 8)  # as of 2^20 in a split of longer strings
    monkeypatch.setattr(drift, "SAMPLE", 64)
    log(strings(0.5, 200), Path("use.jsonl"))
    found = drift.find(predict.load(BITS), usage.read(Path("use.jsonl")))
    (ones,) = [each for each in found.comparisons if each.measure == "share of ones"]
    assert len(ones.tested) == 64
    assert np.mean([float(value) for value in ones.tested]) == pytest.approx(0.5, abs=0.08)
    assert not ones.differs


def test_an_input_that_is_not_utf_8_does_not_damage_the_log(trained_project: Path) -> None:
    project.invoke("predict", BITS, "01\udcff", "--log", "use.jsonl", "--log-inputs")
    (entry,) = usage.read(Path("use.jsonl"))
    assert (entry.input, entry.label) == ("01?", None)
