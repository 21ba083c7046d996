"""What git knows of the workspace, asked in real repositories."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import git
from pipeline.errors import BadInput
from tests import tiny

BYTES = bytes(range(256)) * 5


def say(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout


def contents(folder: Path = Path()) -> dict[str, str]:
    """Every file outside of .git, by its hash."""
    return {
        str(path.relative_to(folder)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a little of everything, the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    for name in ("pipeline/one.py", "pipeline/two.py", "params.yaml", "dvc.yaml", "data/story.txt", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n" * 9)
    (tmp_path / "pipeline/table.bin").write_bytes(BYTES)
    (tmp_path / ".gitignore").write_text("*.secret\n/data/raw/\n")
    say("init", "--quiet", "--initial-branch", "main")
    say("config", "user.name", "t")
    say("config", "user.email", "t@example.org")
    tiny.commit(tmp_path, "first")
    return tmp_path


def edit() -> None:
    """One change of each kind, none of it committed."""
    Path("pipeline/one.py").write_text("edited\n")
    Path("pipeline/two.py").unlink()
    Path("pipeline/new.py").write_text("new\n")
    Path("pipeline/empty.py").touch()
    Path("pipeline/table.bin").write_bytes(BYTES[::-1])
    Path("pipeline/tasks").mkdir(exist_ok=True)
    Path("pipeline/tasks/new.py").write_bytes(b"\x00\xff\r\n" + BYTES)
    Path("params.yaml").write_text("seed: 21")  # no newline at its end


def test_a_revision_is_its_commit(repository: Path) -> None:
    first = say("rev-parse", "HEAD").strip()
    Path("notes.txt").write_text("2")
    tiny.commit(repository, "second")
    say("tag", "-a", "v1", "-m", "a tag is an object of its own", "HEAD~1")
    assert git.commit() == say("rev-parse", "HEAD").strip() != first
    assert git.commit("HEAD~1") == git.commit("v1") == git.commit(first[:8]) == first


@pytest.mark.parametrize("unknown", ["", "nope", "0" * 40, "HEAD:pipeline", "--all", "-h", "HEAD~9", "A..B", "^HEAD"])
def test_what_is_no_revision_has_no_commit(repository: Path, unknown: str) -> None:
    assert git.commit(unknown) == ""


def test_without_a_repository_there_is_no_commit_and_no_patch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "params.yaml").touch()
    assert git.commit() == ""
    assert git.patch() == b""


@pytest.mark.parametrize("name", ["brisk-lynx", "stash-of-ideas"])
def test_an_experiment_of_dvc_is_found_by_its_name(repository: Path, name: str) -> None:
    base = git.commit()
    say("update-ref", "refs/exps/stash", base)  # DVC's own, no experiment
    made = say("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "an experiment").strip()
    say("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", made)
    assert git.commit(name) == made != base
    assert git.commit("stash") == ""
    with git.worktree(name) as folder:
        assert (folder / "params.yaml").is_file()


def test_a_clean_workspace_has_no_patch(repository: Path) -> None:
    assert git.patch() == b""


def test_the_patch_makes_the_same_bytes_of_the_commit(repository: Path) -> None:
    edit()
    with git.worktree("HEAD", git.patch()) as folder:
        assert contents(folder) == contents()


def test_it_is_of_the_last_commit_whatever_is_staged(repository: Path) -> None:
    edit()
    whole = git.patch()
    say("add", "--all")
    assert git.patch() == whole
    say("rm", "--quiet", "--cached", "pipeline/one.py")
    assert git.patch() == whole
    say("rm", "--quiet", "-r", "--force", "dvc.yaml", "data")
    with git.worktree("HEAD", git.patch()) as folder:
        assert contents(folder) == contents()


def test_the_index_stays_as_it_is(repository: Path) -> None:
    edit()
    say("add", "pipeline/one.py", "pipeline/tasks/new.py")
    Path("pipeline/one.py").write_text("edited again\n")
    index, before = Path(".git/index").read_bytes(), contents()
    status = say("status", "--porcelain")
    assert git.patch()
    assert say("status", "--porcelain") == status
    assert "MM pipeline/one.py" in status
    assert "A  pipeline/tasks/new.py" in status
    assert "?? pipeline/new.py" in status
    assert Path(".git/index").read_bytes() == index
    assert contents() == before


def test_nothing_else_goes_into_it(repository: Path) -> None:
    edit()
    ours = ("pipeline/token.secret", "pipeline/.env", "data/large.bin", "data/raw/x", "data/split/x")  # no code
    for path in (".env", ".dvc/config.local", "notes.txt", "a.py", *ours):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("hunter2")
    say("add", ".env", ".dvc/config.local", "a.py")
    patch = git.patch()
    assert b"hunter2" not in patch
    named = {line.split()[-1].removeprefix(b"b/") for line in patch.splitlines() if line.startswith(b"diff --git")}
    assert named == {
        *(f"pipeline/{name}".encode() for name in ("one.py", "two.py", "new.py", "empty.py", "table.bin")),
        b"pipeline/tasks/new.py",
        b"params.yaml",
    }


def test_a_source_elsewhere_in_the_repository_goes_into_it(repository: Path) -> None:
    Path("notes.txt").write_text("the data of a task are made from it\n")
    assert git.patch() == b""
    with git.worktree("HEAD", git.patch(["notes.txt", "data/story.txt", "data/no such file"])) as folder:
        assert contents(folder) == contents()


def test_a_source_outside_of_the_repository_is_no_reason_to_lose_the_rest(repository: Path, tmp_path: Path) -> None:
    edit()
    outside = tmp_path.parent / f"{tmp_path.name}.txt"
    outside.write_text("outside")
    for source in (str(outside), f"../{outside.name}"):
        with pytest.warns(UserWarning, match="git cannot keep all"):
            patch = git.patch([source])
        assert patch == git.patch()


def test_git_s_objections_to_line_ends_lose_nothing(repository: Path) -> None:
    say("config", "core.autocrlf", "input")
    say("config", "core.safecrlf", "true")
    Path("pipeline/one.py").write_bytes(b"one\r\ntwo\r\n")
    with git.worktree("HEAD", git.patch()) as folder:
        assert contents(folder) == contents()


@pytest.mark.parametrize(
    "setting",
    ["diff.noprefix=true", "diff.mnemonicPrefix=true", "diff.context=0", "color.ui=always", "diff.external=false"],
)
def test_a_person_s_own_settings_of_git_do_not_change_it(repository: Path, setting: str) -> None:
    edit()
    patch = git.patch()
    say("config", *setting.split("="))
    assert git.patch() == patch
    with git.worktree("HEAD", patch) as folder:
        assert contents(folder) == contents()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.binary(max_size=300), after=st.binary(max_size=300))
def test_any_bytes_come_back_from_patch_and_worktree(repository: Path, before: bytes, after: bytes) -> None:
    Path("pipeline/any").write_bytes(before)
    say("add", "pipeline/any")
    say("-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--allow-empty", "--message", "any")
    Path("pipeline/any").write_bytes(after)
    with git.worktree("HEAD", git.patch()) as folder:
        assert (folder / "pipeline/any").read_bytes() == after


def test_a_work_tree_leaves_the_workspace_alone_and_nothing_behind(repository: Path) -> None:
    edit()
    before, status, there = contents(), say("status", "--porcelain"), say("worktree", "list")
    with git.worktree("HEAD") as folder:
        assert (folder / "pipeline/one.py").read_text() == "pipeline/one.py\n" * 9
        assert (folder / "pipeline/two.py").is_file()
        (folder / "pipeline/one.py").write_text("changed in there\n")
        (folder / "made.txt").touch()
    assert not folder.parent.exists()
    assert (contents(), say("status", "--porcelain"), say("worktree", "list")) == (before, status, there)


def test_nor_after_an_exception(repository: Path) -> None:
    there = say("worktree", "list")
    with pytest.raises(KeyboardInterrupt), git.worktree("HEAD") as folder:
        raise KeyboardInterrupt
    assert not folder.parent.exists()
    assert say("worktree", "list") == there


def test_other_work_trees_of_a_person_stay(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "on a disk that is not there now"
    say("worktree", "add", "--quiet", "--detach", str(other))
    there = say("worktree", "list").split("prunable")[0]
    other.rename(tmp_path / "away")
    with git.worktree("HEAD"):
        pass
    (tmp_path / "away").rename(other)
    assert say("worktree", "list") == there


def test_a_person_s_hooks_do_not_run_in_it(repository: Path) -> None:
    hook = Path(".git/hooks/post-checkout")  # `dvc install` puts one there, which finds no cache in a work tree
    hook.write_text("#!/bin/sh\ntouch ran\nexit 1\n")
    hook.chmod(0o755)
    with git.worktree("HEAD") as folder:
        assert not (folder / "ran").exists()


@pytest.mark.parametrize("unknown", ["0" * 40, "nope", ""])
def test_an_unknown_commit_is_bad_input(repository: Path, unknown: str) -> None:
    with pytest.raises(BadInput, match=r"has no commit .*; fetch it \(`git fetch --all`.*"), git.worktree(unknown):
        pytest.fail("there is nothing to work in")
    assert len(say("worktree", "list").splitlines()) == 1


@pytest.mark.parametrize("damage", ["rewritten", "cut", "nonsense"])
def test_a_patch_that_does_not_apply_is_bad_input(repository: Path, damage: str) -> None:
    edit()
    patch = git.patch()
    if damage == "rewritten":
        say("reset", "--quiet", "--hard")
        Path("pipeline/one.py").write_text("another line\n")
        tiny.commit(repository, "another")
    patch = {"rewritten": patch, "cut": patch[:-20], "nonsense": b"no patch"}[damage]
    with (
        pytest.raises(BadInput, match=r"changes no longer apply to commit .*: take another run"),
        git.worktree("HEAD", patch),
    ):
        pytest.fail("there is nothing to work in")
    assert len(say("worktree", "list").splitlines()) == 1
