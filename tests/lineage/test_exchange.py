"""What stages on other machines read and wrote, by its hashes."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.files import md5, md5_of
from pipeline.lineage import dvc, exchange, git
from pipeline.paths import ModelPaths, TaskPaths, stage
from tests.harness import project

STAGES = (stage("generate", "bits"), stage("split", "bits"))
RUN = "ab/ab" + "0" * 62 + "/" + "1" * 64
ENTRY = (
    b"cmd: python -m pipeline train bits-lstm24\ndeps:\n- path: params.schema.json\n  hash: md5\n  md5: '0'\nouts: []\n"
)
HOOK = b"outs:\n- path: .git/hooks/post-checkout\n  md5: " + b"a" * 32


def test_the_outputs_of_stages_are_named_by_their_hashes(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    inputs = exchange.outputs_of(STAGES)
    assert inputs.files[str(TaskPaths("bits").examples)] == md5(TaskPaths("bits").examples)
    assert set(inputs.files.values()) <= set(inputs.objects)
    for hash_name, content in inputs.objects.items():
        assert md5_of(content) == hash_name.removesuffix(".dir")
        assert content == dvc.Cache().path(hash_name).read_bytes()


@pytest.mark.parametrize("damage", ["edited", "missing", "parameters"])
def test_data_that_are_not_current_are_refused(trained_project: Path, damage: str) -> None:
    examples = TaskPaths("bits").examples
    if damage == "edited":
        examples.chmod(0o644)
        examples.write_bytes(examples.read_bytes() + b"x")
    elif damage == "missing":
        examples.unlink()
    else:
        project.change(trained_project, "tasks.bits.split.train", 90)
    with pytest.raises(
        PipelineError, match=r"the data are not those of dvc\.lock and params\.yaml; run `dvc repro split@"
    ):
        exchange.outputs_of(STAGES)


def test_the_repository_travels_with_one_commit(trained_project: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "commit", "--quiet", "--all", "--allow-empty", "-m", "last"], check=True)
    commit = git.commit()
    with tarfile.open(fileobj=io.BytesIO(git.archive(commit))) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
        archive.extractall(tmp_path / "copy")  # noqa: S202
    for words in (["config", "core.bare", "false"], ["checkout", "--quiet", "--force", "--detach", commit]):
        subprocess.run(["git", *words], cwd=tmp_path / "copy", check=True)
    log = subprocess.run(
        ["git", "log", "--format=%H"], cwd=tmp_path / "copy", capture_output=True, text=True, check=True
    )
    assert log.stdout.split() == [commit]
    assert (tmp_path / "copy" / "dvc.lock").read_bytes() == Path("dvc.lock").read_bytes()
    with pytest.raises(PipelineError, match="git could not pack commit"):
        git.archive("0" * 40)


def test_files_and_runs_get_into_the_cache(trained_project: Path) -> None:
    content = b"of another machine"
    exchange.add({md5_of(content): content}, {RUN: ENTRY})
    cached = dvc.Cache().path(md5_of(content))
    assert cached.read_bytes() == content
    assert cached.stat().st_mode & 0o777 == 0o444
    assert (dvc.Cache().runs / RUN).is_file()
    exchange.add({md5_of(content): content}, {})


@pytest.mark.parametrize(
    ("objects", "runs", "sentence"),
    [
        ({md5_of(b"a"): b"b"}, {}, "a file came damaged"),
        ({"../../../x": b"b"}, {}, "a file came damaged"),
        ({}, {"../../x": ENTRY}, "is not the path of an entry"),
        ({}, {RUN: b"["}, "came damaged"),
        ({}, {RUN: ENTRY.replace(b"python -m pipeline", b"touch pwned;")}, "has the command 'touch pwned;"),
        ({}, {RUN: ENTRY.replace(b"lstm24", b"lstm24; touch x")}, "bits-lstm24; touch x'"),
        ({}, {RUN: ENTRY.replace(b"params.schema.json", b"../../x")}, "'../../x' is not a path inside the project"),
        ({}, {RUN: ENTRY.replace(b"params.schema.json", b"/etc/x")}, "'/etc/x' is not a path inside the project"),
        ({}, {RUN: ENTRY.replace(b"outs: []", HOOK)}, "writes '.git/hooks/post-checkout', as no stage does"),
        (
            {},
            {RUN: ENTRY.replace(b"outs: []", HOOK.replace(b".git", b"data/../.git"))},
            "is not a path inside the proj",
        ),
        (
            {},
            {RUN: ENTRY.replace(b"outs: []", HOOK.replace(b".git/hooks", b"data").replace(b"aa", b"../x"))},
            "came damaged",
        ),
    ],
)
def test_nothing_damaged_or_foreign_gets_into_the_cache(
    trained_project: Path, objects: dict[str, bytes], runs: dict[str, bytes], sentence: str
) -> None:
    good = b"good"
    with pytest.raises(PipelineError) as refused:
        exchange.add({md5_of(good): good} | objects, runs)
    assert sentence in str(refused.value)
    assert not dvc.Cache().path(md5_of(good)).exists(), "all or nothing"
    assert not (trained_project.parent / "x").exists()


def test_a_folder_s_listing_is_that_of_dvc(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    export = ModelPaths("bits-lstm24").export
    hash_name = dvc.hash_of(export)
    assert dvc.listing(export) == dvc.Cache().path(hash_name).read_bytes()
