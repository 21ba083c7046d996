from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import config, manifest
from pipeline.dataset import SPLITS, Examples, load_examples, save_examples
from pipeline.errors import PipelineError
from pipeline.paths import TaskPaths
from pipeline.stages import generate, split
from tests.harness.examples import info_of


def examples(targets: list[int], codes: list[int] | None = None, **splits: int) -> Examples:
    return Examples(info_of(**splits), np.array(codes or range(len(targets)))[:, None], np.array(targets))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (examples([0, 1, 3], train=1, test=2), "raw, example 2: target 3, expected 0 to 2"),
        (examples([0, -1, 1], train=1, test=2), "raw, example 1: target -1, expected 0 to 2"),
        (examples([0, 1], train=1, exam=1), "raw: the split 'exam' is none of train, validation, test"),
        (examples([0, 1], train=2), "raw: the split 'test' is empty"),
        (examples([0, 1], test=2), "raw: the split 'train' is empty"),
        (examples([0, 1, 1], train=1, test=1), "raw: 3 encoded examples, 3 targets, 2 in the splits; expected the"),
        (
            examples([0, 1, 1, 1], [5, 6, 7, 6], train=2, test=2),
            "raw, example 1: it is in the split 'train' and in another, too",
        ),
    ],
)
def test_invalid_examples_are_refused(broken: Examples, sentence: str) -> None:
    with pytest.raises(PipelineError, match=sentence):
        split.check(broken, Path("raw"))


CODES, TARGETS = np.zeros((3, 2)), np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("encoded", "targets"),
    [
        (CODES, TARGETS.astype(float)),
        (CODES, TARGETS[:, None]),
        (CODES[:, 0], TARGETS),
        (CODES[..., None], TARGETS),
        (CODES.astype(str), TARGETS),
    ],
)
def test_arrays_of_another_kind_or_shape_are_refused(encoded: np.ndarray, targets: np.ndarray) -> None:
    with pytest.raises(PipelineError, match=r"raw: the codes are .*; expected numbers \(examples, code\) and integers"):
        split.check(Examples(info_of(train=1, test=2), encoded, targets), Path("raw"))


@pytest.mark.parametrize("names", [["a", "a", "b"], [0, 1, 2], [np.int64(0), np.int64(1), np.int64(2)]])
def test_class_names_are_texts_each_once(names: list[str]) -> None:
    made = examples([0, 1, 2], train=1, test=2)
    with pytest.raises(PipelineError, match=r"raw: class_names are .*, expected texts, each once; fix the"):
        split.check(replace(made, info=replace(made.info, class_names=names)), Path("raw"))


@pytest.mark.parametrize("sizes", [None, np.array([1, 1]), np.array([1, 1, 0, 0]), np.array([0, 3, 0])])
def test_an_implicit_split_needs_the_sizes_of_its_classes(sizes: np.ndarray | None) -> None:
    made = examples([1, 1], [1, 2], train=2, test=2)
    broken = Examples(replace(made.info, implicit_split=True), made.encoded, made.targets, sizes)
    with pytest.raises(PipelineError, match="'test' is not stored, so one other split and implicit_sizes are expected"):
        split.check(broken, Path("raw"))
    split.check(replace(broken, implicit_sizes=np.array([1, 0, 1])), Path("raw"))


def test_the_info_of_version_0_3_is_read(tmp_path: Path) -> None:
    paths = TaskPaths("bits", tmp_path)
    made = examples([1, 1], [1, 2], train=2, test=2)
    save_examples(replace(made, info=replace(made.info, implicit_split=True)), paths)
    paths.info.write_text(paths.info.read_text().replace("implicit_split", "complement"))
    manifest.write_all(paths.split)
    assert load_examples(paths).info.stored == {"train": 2}


def test_an_example_may_be_twice_in_one_split() -> None:
    split.check(examples([0, 1, 1], [5, 6, 6], train=1, test=2), Path("raw"))


def test_valid_examples_pass_and_are_read_as_they_were_saved(tmp_path: Path) -> None:
    saved = examples([0, 1, 1, 2], train=1, validation=1, test=2)
    split.check(saved, Path("raw"))
    paths = TaskPaths("bits", tmp_path)
    save_examples(saved, paths)
    loaded = load_examples(paths)
    assert loaded.info == saved.info
    for name in SPLITS:
        for ours, theirs in zip(saved.split(name), loaded.split(name), strict=True):
            assert ours.tolist() == theirs.tolist()
    assert loaded.encoded.dtype == saved.encoded.dtype
    assert loaded.targets.dtype == saved.targets.dtype


def measured(*codes: list[float]) -> Examples:
    """Two examples of measurements: the first trains, the second tests."""
    return Examples(info_of(train=1, test=1), np.array(codes, np.float32), np.array([0, 1]))


def test_measurements_pass_and_are_read_as_they_were_saved(tmp_path: Path) -> None:
    made = measured([0.1, -2.5], [0.1, 7.0])
    split.check(made, Path("raw"))
    paths = TaskPaths("bits", tmp_path)
    save_examples(made, paths)
    read = load_examples(paths).encoded
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, made.encoded)


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        (([0.5], [np.nan]), r"raw, example 1: its code holds \[nan\], expected finite numbers"),
        (([np.inf], [0.5]), r"raw, example 0: its code holds \[inf\], expected finite numbers"),
        (([0.5], [0.5]), r"it is in the split 'train' and in another, too"),
        (([0.0], [-0.0]), r"it is in the split 'train' and in another, too"),
    ],
)
def test_invalid_measurements_are_refused(codes: tuple[list[float], ...], sentence: str) -> None:
    with pytest.raises(PipelineError, match=sentence):
        split.check(measured(*codes), Path("raw"))


def test_the_balance_counts_each_class_in_each_split(untrained_project: Path) -> None:
    task = config.load().task("bits")
    generate.run(task)
    split.run(task)
    balance = pd.read_csv(task.paths.balance)
    assert balance.columns.tolist() == ["split", "class", "examples"]
    assert balance["class"].tolist() == [*range(9), *range(9)], "also those that a split does not have"
    assert balance.groupby("split")["examples"].sum().to_dict() == {"train": 100, "test": 156}
    assert balance.groupby("class")["examples"].sum().tolist() == [1, 8, 28, 56, 70, 56, 28, 8, 1], "binomial"


def test_the_seed_of_params_yaml_decides_the_split(untrained_project: Path) -> None:
    task = config.load().task("bits")
    generate.run(task)
    contents = []
    for seed in (1, 1, 2):
        split.run(type(task)(task.name, task.params, seed))
        contents.append(task.paths.examples.read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_split_without_raw_data_names_the_command(untrained_project: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"data/raw/bits/manifest\.json does not exist; run `dvc repro generate@bits`"
    ):
        split.run(config.load().task("bits"))


@pytest.mark.parametrize(("name", "file"), [("bits", "strings.json"), ("fable", "belling_the_cat_retold.tokens.txt")])
@pytest.mark.parametrize("damage", [lambda content: content[:30], lambda content: content[:-9] + b"1" + content[-8:]])
def test_a_changed_raw_file_is_named_with_the_command(
    untrained_project: Path, name: str, file: str, damage: Callable[[bytes], bytes]
) -> None:
    task = config.load().task(name)
    generate.run(task)
    path = task.paths.raw / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(PipelineError, match=rf"{file} was changed after .*dvc repro --force generate@{name}"):
        split.run(task)


@pytest.mark.parametrize("file", ["examples.npy", "info.json", "manifest.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"5", b"\x93NUMPY"])
def test_a_changed_file_of_examples_is_named_with_the_command(tmp_path: Path, file: str, content: bytes) -> None:
    paths = TaskPaths("bits", tmp_path)
    save_examples(examples([0, 1], train=1, test=1), paths)
    load_examples(paths)
    (paths.split / file).write_bytes(content)
    with pytest.raises(PipelineError, match=r"(was changed|is damaged).*; run `dvc repro --force split@bits` to make"):
        load_examples(paths)


@pytest.mark.parametrize(
    ("task", "file", "content", "sentence"),
    [
        ("bits", "strings.json", b'{"length": "8"}', "a value has another type"),
        ("bits", "strings.json", b'{"length": 1000}', "length is 1000"),
        ("mnist", "dataset.json", b"[]", "a value has another type"),
        ("mnist", "train-images-idx3-ubyte", b"0" * 1000, "984 pixels, "),
        ("mnist", "t10k-labels-idx1-ubyte", b"", " pixels, 0 labels"),
        ("fable", "belling_the_cat_retold.tokens.txt", b"a\n\xff\n", "byte 2 is not UTF-8"),
    ],
)
def test_raw_data_of_another_form_are_damaged_although_their_manifest_fits(
    untrained_project: Path, task: str, file: str, content: bytes, sentence: str
) -> None:
    setup = config.load().task(task)
    generate.run(setup)
    (setup.paths.raw / file).write_bytes(content)
    manifest.write_all(setup.paths.raw)
    with pytest.raises(PipelineError, match=rf"is damaged \(.*{sentence}.*run `dvc repro --force generate@{task}`"):
        split.run(setup)


def test_info_of_another_shape_is_damaged_although_its_manifest_fits(tmp_path: Path) -> None:
    paths = TaskPaths("bits", tmp_path)
    save_examples(examples([0, 1], train=1, test=1), paths)
    for content in ("", "{}", '{"shape": 3}', '{"task": "bits", "shape": [2, 1]}', "[]"):
        paths.info.write_text(content)
        manifest.write_all(paths.split)
        with pytest.raises(
            PipelineError, match=r"info\.json is damaged \(.+\); run `dvc repro --force split@bits` to make it"
        ):
            load_examples(paths)
