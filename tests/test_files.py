import os
import stat
import subprocess
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline import files, formats, predictions
from pipeline.errors import PipelineError


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    formats.write_json({"a": 1}, tmp_path / "a.json")

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(tmp_path / "a.json", fail)
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_refusal_of_the_operating_system_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    formats.write_json({"a": 1}, tmp_path / "a.json")

    def disk_full(draft: Path) -> None:
        draft.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(PipelineError, match=r"' could not be written \(No space left on device\); free some"):
        files.write_atomic(tmp_path / "a.json", disk_full)
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(PipelineError, match="could not be written"):
        formats.write_json({}, tmp_path / "a.json" / "b.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_damaged_json_is_refused_with_the_command_that_makes_it_again(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(PipelineError, match=r"a\.json does not exist; run `make a` to make it\."):
        files.load_json(path, "make a")
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"a\.json is damaged \(.*\); run `make a` to make it again\."):
        files.load_json(path, "make a")


def test_tables_are_written_and_read_and_damage_is_refused(tmp_path: Path) -> None:
    path, table = tmp_path / "a.parquet", pd.DataFrame({"x": [1, 2], "y": [0.1, 1 / 3]})
    predictions.write_parquet(table, path)
    pd.testing.assert_frame_equal(predictions.load_parquet(path, "make a", ["x"]), table)
    for columns in (["y"], ["z"]):
        with pytest.raises(PipelineError, match=rf"a\.parquet is damaged \(it has no column {columns[0]} of whole"):
            predictions.load_parquet(path, "make a", columns)
    formats.write_csv(table, tmp_path / "a.csv")
    csv = tmp_path / "a.csv"
    assert csv.read_bytes() == b"x,y\n1,0.1\n2,0.333333333\n", "nine digits, on every system"
    assert files.load_csv(csv, "make a", ["x"])["x"].tolist() == [1, 2]
    assert files.load_csv(csv, "make a", ["x"], ["x"])["x"].tolist() == ["1", "2"]
    csv.write_text("word,share\nnull,0.5\n")
    assert files.load_csv(csv, "make a", ["word"], ["word"])["word"].tolist() == ["null"], "a word, not a number"
    for content, columns, reason in (
        ("x\n1\n", ["y"], "it has no column y"),
        ("x\na\n", ["x"], "x is not a column of numbers"),
        ("", ["x"], "No columns"),
    ):
        csv.write_text(content)
        with pytest.raises(PipelineError, match=rf"a\.csv is damaged \({reason}.*\); run `make a`"):
            files.load_csv(csv, "make a", columns)
    believed = {b"pandas": b'{"index_columns": 1, "columns": [], "column_indexes": []}'}
    parquet.write_table(pa.table(table).replace_schema_metadata(believed), path)
    pd.testing.assert_frame_equal(predictions.load_parquet(path, "make a", ["x"]), table)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(PipelineError, match=r"a\.parquet is damaged \(.*\); run `make a` to make it again\."):
        predictions.load_parquet(path, "make a")


@pytest.mark.parametrize(
    ("content", "kind", "fits"),
    [
        (1, float, True),
        (True, float, False),
        (True, int, False),
        (10**400, float, False),
        (None, int | None, True),
        ("1", int | None, False),
        ("\ud800", str, False),
        ([1, "a"], list[int], False),
        ([1, 2], tuple[int, int], True),
        ([1], tuple[int, int], False),
        ({"a": 1}, dict[str, int], True),
        ({"a": None}, dict[str, int], False),
        ({"a": 1, "b": 2}, {"a": int}, True),
        ({"b": 2}, {"a": int}, False),
        ([], {"a": int}, False),
    ],
)
def test_json_has_the_type_that_is_expected(content: object, kind: object, fits: bool) -> None:
    assert files.fits(content, kind) is fits


def test_a_pipe_in_the_place_of_a_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "info.json")
    with pytest.raises(PipelineError, match=r"info\.json is a device or a pipe; remove it, and run `make a`"):
        files.load_json(tmp_path / "info.json", "make a")


def test_yaml_is_read_as_dvc_reads_it() -> None:
    assert files.parse_yaml("a: 1e-3\nb: on\n") == {"a": 0.001, "b": "on"}


def test_a_pipe_is_refused_and_stays_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PipelineError, match=r"pipe' is a device or a pipe; name a file\."):
        formats.write_json({}, tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where DVC has linked an output to its cache."""
    monkeypatch.chdir(tmp_path)
    Path("cached").write_text("precious")
    Path("link").symlink_to("cached")
    formats.write_json(1, Path("link"))
    assert not Path("link").is_symlink()
    assert (Path("link").read_text(), Path("cached").read_text()) == ("1\n", "precious")
    Path("circle").symlink_to("circle")
    with pytest.raises(PipelineError, match=r"circle' (could not be written|is a link)"):
        formats.write_json(1, Path("circle"))


def test_nothing_is_written_through_a_linked_folder_that_leads_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project" / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("data").symlink_to(tmp_path / "outside")
    with pytest.raises(PipelineError, match=r"^'data' is a link that leads out of this folder; remove it\."):
        formats.write_json(1, Path("data/split/bits/info.json"))
    assert not list((tmp_path / "outside").iterdir())
    Path("near").symlink_to("inside")
    formats.write_json(1, Path("near/info.json"))
    formats.write_json(1, tmp_path / "outside" / "asked-for.json")
    assert Path("inside/info.json").is_file()
    assert (tmp_path / "outside" / "asked-for.json").is_file()


@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_takes_the_place_of_a_link_and_what_it_leads_to_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    target = Path("other") if inside else tmp_path / "other"
    (target / "sub").mkdir(parents=True)
    (target / "sub" / "file").write_text("precious")
    Path("export").symlink_to(target.absolute())

    def write() -> None:
        with files.draft(Path("export")) as folder:
            folder.mkdir()
            (folder / "model.onnx").write_text("new")

    if inside:
        write()
        assert [path.name for path in Path("export").iterdir()] == ["model.onnx"]
        assert not Path("export").is_symlink()
    else:
        with pytest.raises(PipelineError, match=r"^'export' is a link that leads out of this folder; remove it\."):
            write()
        assert Path("export").is_symlink()
    assert (target / "sub" / "file").read_text() == "precious"


def test_a_folder_is_replaced_as_a_whole_or_stays_as_a_whole(tmp_path: Path) -> None:
    """The old files are not removed one by one before the new folder is there."""
    old = tmp_path / "export"
    old.mkdir()
    (old / "first").write_text("precious")
    (old / "second").write_text("precious")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(old)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this system mounts no file system for a test")
    try:
        (old / "first").write_text("precious")
        with pytest.raises(PipelineError, match="export' could not be written"), files.draft(old) as written:
            written.mkdir()
        assert (old / "first").read_text() == "precious"
    finally:
        subprocess.run(["umount", str(old)], check=True)
    with files.draft(old) as written:
        written.mkdir()
        (written / "new").write_text("new")
    assert [path.name for path in tmp_path.rglob("*")] == ["export", "new"]


def test_a_draft_of_a_killed_process_is_no_file_and_is_removed_after_an_hour_and_no_other_is(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    drafts = {
        f"{ended.pid}-old": 3700,
        f"{ended.pid}-young": 60,
        f"{os.getpid()}-long": 3700,  # its process writes for more than an hour
        "notes": 3700,  # somebody else's
    }
    for name, age in drafts.items():
        folder = tmp_path / f"{files.DRAFT}{name}"
        folder.mkdir()
        (folder / "a.json").write_text("half")
        os.utime(folder, (time.time() - age, time.time() - age))
    formats.write_json(1, tmp_path / "a.json")
    left = {path.name.removeprefix(files.DRAFT) for path in tmp_path.iterdir()}
    assert left == {"a.json", *drafts} - {f"{ended.pid}-old"}
    assert files.files_below(tmp_path) == [tmp_path / "a.json"]


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "more than 200,000 values"),
        ("[" * 200 + "]" * 200, "nested too deeply"),
        ("[" * 5000 + "]" * 5000, "nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("- " * 50_000 + "a", "nested too deeply"),
        ("\n".join(" " * i + "a:" for i in range(2000)), "nested too deeply"),
        ("a: " + "9" * 5000, "digits"),
        ("a: !!bool x", "x"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: 2020-99-99", "month must be in"),
        ("a: 1\na: 2", "found duplicate key"),
    ],
)
def test_yaml_that_is_no_document_of_values_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        files.parse_yaml(text)
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("error")
def test_an_anchor_may_be_used_twice() -> None:
    assert files.parse_yaml("a: &x 1\nb: &x 2\nc: *x\n") == {"a": 1, "b": 2, "c": 2}
