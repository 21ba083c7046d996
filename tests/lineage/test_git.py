"""What git knows of the workspace, in real repositories."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.files import md5
from pipeline.lineage import git
from tests.harness import project

BYTES = bytes(range(256)) * 5


def run(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def contents(folder: Path = Path()) -> dict[str, str]:
    """The hash of every file outside of .git, by its path."""
    return {
        str(path.relative_to(folder)): md5(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def patched(patch: bytes) -> set[str]:
    """The files that a patch changes."""
    lines = [line for line in patch.decode(errors="replace").splitlines() if line.startswith("diff --git")]
    return {line.split()[-1].removeprefix("b/") for line in lines}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a file of each kind, the working folder of the test."""
    monkeypatch.chdir(tmp_path)
    for name in ("pipeline/one.py", "pipeline/two.py", "params.yaml", "dvc.yaml", "data/story.txt", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n" * 9)
    (tmp_path / "pipeline/table.bin").write_bytes(BYTES)
    (tmp_path / ".gitignore").write_text("*.secret\n/data/raw/\n__pycache__/\n")
    run("init", "--quiet", "--initial-branch", "main")
    run("config", "user.name", "t")
    run("config", "user.email", "t@example.org")
    for kind in ("commit", "tag"):  # whatever a user has set
        run("config", f"{kind}.gpgsign", "false")
    project.commit(tmp_path, "first")
    return tmp_path


def edit() -> None:
    """Make one change of each kind, and commit none."""
    Path("pipeline/one.py").write_text("edited\n")
    Path("pipeline/two.py").unlink()
    Path("pipeline/new.py").write_text("new\n")
    Path("pipeline/empty.py").touch()
    Path("pipeline/table.bin").write_bytes(BYTES[::-1])
    Path("pipeline/tasks").mkdir(exist_ok=True)
    Path("pipeline/tasks/new.py").write_bytes(b"\x00\xff\r\n" + BYTES)
    Path("params.yaml").write_text("seed: 21")  # no newline at its end


def test_a_revision_resolves_to_its_commit(repository: Path) -> None:
    first = run("rev-parse", "HEAD").strip()
    Path("notes.txt").write_text("2")
    project.commit(repository, "second")
    run("tag", "-a", "v1", "-m", "an annotated tag is an object of its own", "HEAD~1")
    assert git.commit() == run("rev-parse", "HEAD").strip() != first
    assert git.commit("HEAD~1") == git.commit("v1") == git.commit(first[:8]) == first


@pytest.mark.parametrize("unknown", ["", "nope", "0" * 40, "HEAD:pipeline", "--all", "-h", "HEAD~9", "A..B", "^HEAD"])
def test_text_that_is_not_a_revision_has_no_commit(repository: Path, unknown: str) -> None:
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
    run("update-ref", "refs/exps/stash", base)  # DVC's own, not an experiment
    experiment = run("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "an experiment").strip()
    run("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", experiment)
    assert git.commit(name) == experiment != base
    assert git.commit("stash") == ""
    with git.worktree(name) as folder:
        assert (folder / "params.yaml").is_file()


def test_a_file_is_read_as_it_was_at_a_revision(repository: Path) -> None:
    Path("pipeline/table.bin").write_bytes(b"edited")
    assert git.show("HEAD", "pipeline/table.bin") == BYTES
    assert git.show("HEAD", "missing.txt") is None
    assert git.show("nope", "pipeline/table.bin") is None


def test_the_merge_base_is_the_last_commit_that_both_share(repository: Path) -> None:
    first = git.commit()
    run("commit", "--quiet", "--allow-empty", "--message", "main goes on")
    run("checkout", "--quiet", "-b", "other", first)
    run("commit", "--quiet", "--allow-empty", "--message", "other goes on")
    assert git.merge_base("main") == first
    run("checkout", "--quiet", "--orphan", "unrelated")
    run("commit", "--quiet", "--message", "a history of its own")
    assert git.merge_base("main") == ""


def test_commits_that_added_or_removed_a_text_come_newest_first(repository: Path) -> None:
    commits = []
    for text in ("0123abcd\n", "0123abcd\nmore\n", "nothing\n"):
        Path("dvc.lock").write_text(text)
        project.commit(repository, text)
        commits.append(git.commit())
    assert git.commits_with("0123abcd", "dvc.lock") == [commits[2], commits[0]]
    assert git.commits_with("0123abcd", "params.yaml") == []


def test_a_clean_workspace_has_an_empty_patch(repository: Path) -> None:
    assert git.patch() == b""


def test_the_patch_turns_the_commit_into_the_workspace_to_the_byte(repository: Path) -> None:
    edit()
    with git.worktree("HEAD", git.patch()) as folder:
        assert contents(folder) == contents()


def test_the_patch_is_relative_to_the_commit_whatever_is_staged(repository: Path) -> None:
    edit()
    complete = git.patch()
    run("add", "--all")
    assert git.patch() == complete
    run("rm", "--quiet", "--cached", "pipeline/one.py")
    assert git.patch() == complete
    run("rm", "--quiet", "-r", "--force", "dvc.yaml", "data")
    with git.worktree("HEAD", git.patch()) as folder:
        assert contents(folder) == contents()


def test_a_patch_leaves_the_index_and_the_files_as_they_are(repository: Path) -> None:
    edit()
    run("add", "pipeline/one.py", "pipeline/tasks/new.py")
    Path("pipeline/one.py").write_text("edited again\n")
    index, before = Path(".git/index").read_bytes(), contents()
    status = run("status", "--porcelain")
    assert git.patch()
    assert run("status", "--porcelain") == status
    assert "MM pipeline/one.py" in status
    assert "A  pipeline/tasks/new.py" in status
    assert "?? pipeline/new.py" in status
    assert Path(".git/index").read_bytes() == index
    assert contents() == before


def test_no_other_file_gets_into_the_patch(repository: Path) -> None:
    edit()
    inside = ("pipeline/token.secret", "pipeline/.env", "data/large.bin", "data/raw/x", "data/split/x")  # not code
    for path in (".env", ".dvc/config.local", "notes.txt", "a.py", *inside):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("hunter2")
    run("add", ".env", ".dvc/config.local", "a.py")
    patch = git.patch()
    assert b"hunter2" not in patch
    code = {f"pipeline/{name}" for name in ("one.py", "two.py", "new.py", "empty.py", "table.bin", "tasks/new.py")}
    assert patched(patch) == {*code, "params.yaml"}


def test_a_source_elsewhere_in_the_repository_gets_into_the_patch(repository: Path) -> None:
    Path("notes.txt").write_text("the data of a task are made from it\n")
    assert git.patch() == b""
    with git.worktree("HEAD", git.patch(["notes.txt", "data/story.txt", "data/no such file"])) as folder:
        assert contents(folder) == contents()


@pytest.mark.parametrize("source", ["pipeline/tasks/new", "stories"])
def test_a_folder_as_source_gets_into_the_patch_without_what_git_ignores(
    repository: Path, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    kept, ignored = ("__init__.py", "words.txt", "deeper/more.txt"), ("__pycache__/x.pyc", "deeper/token.secret")
    for name in (*kept, *ignored):
        (Path(source) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(source) / name).write_text(name)
    assert patched(git.patch([source])) == {f"{source}/{name}" for name in kept}
    (warning,) = (record.getMessage() for record in caplog.records)
    assert warning.startswith(f"git ignores {source}/deeper/token.secret, so it is not recorded")


def test_what_git_ignores_gets_into_no_patch_and_a_warning_says_so(
    repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path("data/story.secret").write_text("once upon a time\n")
    with Path(".gitignore").open("a") as file:
        file.write("local_settings.py\n")
    Path("pipeline/local_settings.py").write_text('PASSWORD = "hush"\n')
    patch = git.patch(["data/story.secret"])
    assert b"once upon" not in patch
    assert b"hush" not in patch
    warned = sorted(record.getMessage().split(",")[0] for record in caplog.records)
    assert warned == ["git ignores data/story.secret", "git ignores pipeline/local_settings.py"]


def test_a_source_outside_of_the_repository_is_left_out_with_a_warning(
    repository: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit()
    complete = git.patch()
    assert not caplog.records
    outside = tmp_path.parent / f"{tmp_path.name}.txt"
    outside.write_text("outside")
    for source in (str(outside), f"../{outside.name}"):
        caplog.clear()
        assert git.patch([source]) == complete
        (record,) = caplog.records
        assert (record.name, record.levelname) == ("pipeline.lineage.git", "WARNING")
        assert "git could not save all uncommitted changes" in record.getMessage()
        assert outside.name in record.getMessage()


def test_line_ends_that_git_objects_to_are_kept(repository: Path) -> None:
    run("config", "core.autocrlf", "input")
    run("config", "core.safecrlf", "true")
    Path("pipeline/one.py").write_bytes(b"one\r\ntwo\r\n")
    with git.worktree("HEAD", git.patch()) as folder:
        assert contents(folder) == contents()


@pytest.mark.parametrize(
    "setting",
    ["diff.noprefix=true", "diff.mnemonicPrefix=true", "diff.context=0", "color.ui=always", "diff.external=false"],
)
def test_a_user_s_settings_of_git_do_not_change_the_patch(repository: Path, setting: str) -> None:
    edit()
    patch = git.patch()
    run("config", *setting.split("="))
    assert git.patch() == patch
    with git.worktree("HEAD", patch) as folder:
        assert contents(folder) == contents()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.binary(max_size=300), after=st.binary(max_size=300))
def test_any_bytes_survive_patch_and_worktree(repository: Path, before: bytes, after: bytes) -> None:
    Path("pipeline/any").write_bytes(before)
    run("add", "pipeline/any")
    run("commit", "--quiet", "--allow-empty", "--message", "any")
    Path("pipeline/any").write_bytes(after)
    with git.worktree("HEAD", git.patch()) as folder:
        assert (folder / "pipeline/any").read_bytes() == after


def test_a_worktree_leaves_the_workspace_as_it_is_and_is_removed(repository: Path) -> None:
    edit()
    before, status, worktrees = contents(), run("status", "--porcelain"), run("worktree", "list")
    with git.worktree("HEAD") as folder:
        assert (folder / "pipeline/one.py").read_text() == "pipeline/one.py\n" * 9
        assert (folder / "pipeline/two.py").is_file()
        (folder / "pipeline/one.py").write_text("changed in the worktree\n")
        (folder / "new.txt").touch()
    assert not folder.parent.exists()
    assert (contents(), run("status", "--porcelain"), run("worktree", "list")) == (before, status, worktrees)


def test_a_worktree_is_removed_after_an_interruption(repository: Path) -> None:
    worktrees = run("worktree", "list")
    with pytest.raises(KeyboardInterrupt), git.worktree("HEAD") as folder:
        raise KeyboardInterrupt
    assert not folder.parent.exists()
    assert run("worktree", "list") == worktrees


def test_a_user_s_other_worktrees_stay(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "on a disk that is not mounted now"
    run("worktree", "add", "--quiet", "--detach", str(other))
    worktrees = run("worktree", "list")
    other.rename(tmp_path / "away")
    with git.worktree("HEAD"):
        pass
    (tmp_path / "away").rename(other)
    assert run("worktree", "list") == worktrees


def test_a_user_s_hooks_do_not_run_in_a_worktree(repository: Path) -> None:
    hook = Path(".git/hooks/post-checkout")  # `dvc install` puts one there, which finds no cache in a worktree
    hook.write_text("#!/bin/sh\ntouch ran\nexit 1\n")
    hook.chmod(0o755)
    with git.worktree("HEAD") as folder:
        assert not (folder / "ran").exists()


@pytest.mark.parametrize("unknown", ["0" * 40, "nope", ""])
def test_a_worktree_of_an_unknown_commit_is_refused(repository: Path, unknown: str) -> None:
    with (
        pytest.raises(PipelineError, match=r"has no commit .*; fetch it \(`git fetch --all`, .*\), or choose a run"),
        git.worktree(unknown),
    ):
        pytest.fail("there is no worktree to work in")
    assert len(run("worktree", "list").splitlines()) == 1


@pytest.mark.parametrize("damage", ["rewritten", "truncated", "not a patch"])
def test_a_patch_that_does_not_apply_is_refused(repository: Path, damage: str) -> None:
    edit()
    patch = git.patch()
    if damage == "rewritten":
        run("reset", "--quiet", "--hard")
        Path("pipeline/one.py").write_text("another line\n")
        project.commit(repository, "another")
    patch = {"rewritten": patch, "truncated": patch[:-20], "not a patch": b"no patch"}[damage]
    with (
        pytest.raises(PipelineError, match=r"uncommitted changes do not apply to commit .*: choose another run"),
        git.worktree("HEAD", patch),
    ):
        pytest.fail("there is no worktree to work in")
    assert len(run("worktree", "list").splitlines()) == 1


@pytest.mark.parametrize("source", ["", ".", "./", "..", "/", ".git", ".github/workflows"])
def test_no_source_of_a_run_lets_its_patch_touch_every_file(repository: Path, source: str) -> None:
    Path("notes.txt").write_text("changed\n")
    Path(".github/workflows").mkdir(parents=True)
    Path(".github/workflows/ci.yml").write_text("run: anything\n")
    run("add", "--all", "--intent-to-add")
    with pytest.raises(PipelineError, match="is not code, a parameter or a source of data"):
        git.touched(run("diff").encode(), source)


def test_a_patch_may_touch_the_code_the_parameters_and_the_source_of_its_task(repository: Path) -> None:
    edit()
    Path("notes.txt").write_text("changed\n")
    assert "notes.txt" in git.touched(git.patch(["notes.txt"]), "notes.txt")
    assert set(git.touched(git.patch(), "")) == patched(git.patch())
