from pathlib import Path

import pandas as pd
import pytest

from pipeline import files
from pipeline.errors import PipelineError


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    files.write_json({"a": 1}, tmp_path / "a.json")

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(tmp_path / "a.json", fail)
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_refusal_of_the_operating_system_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    files.write_json({"a": 1}, tmp_path / "a.json")

    def disk_full(draft: Path) -> None:
        draft.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(PipelineError, match=r"' could not be written \(No space left on device\); free some"):
        files.write_atomic(tmp_path / "a.json", disk_full)
    assert (tmp_path / "a.json").read_text() == '{\n  "a": 1\n}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(PipelineError, match="could not be written"):
        files.write_json({}, tmp_path / "a.json" / "b.json")


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
    files.write_parquet(table, path)
    pd.testing.assert_frame_equal(files.load_parquet(path, "make a"), table)
    files.write_csv(table, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == b"x,y\n1,0.1\n2,0.333333333\n", "nine digits, on every system"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(PipelineError, match=r"a\.parquet is damaged \(.*\); run `make a` to make it again\."):
        files.load_parquet(path, "make a")


def test_yaml_is_read_as_dvc_reads_it() -> None:
    assert files.parse_yaml("a: 1e-3\nb: on\n") == {"a": 0.001, "b": "on"}
