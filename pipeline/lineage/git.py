"""What git knows of the workspace: its commit, its uncommitted changes, its files at another revision."""

import io
import logging
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import PipelineError, quoted, shortened
from pipeline.paths import DATA, PARAMS, RAW, SCHEMA, SPLIT, STAGES

# What a model is made from, beside the source of its task. Of untracked files, a patch holds only code and the sources
# of tasks, so that no file with credentials gets into it.
SOURCES = (Path("pipeline"), PARAMS, STAGES, SCHEMA, DATA)
GENERATED = (RAW, SPLIT)  # from the sources, by stages
CODE = ":(glob)pipeline/**/*.py"

log = logging.getLogger(__name__)


def commit(revision: str = "HEAD") -> str:
    """The full hash of a revision, or of a DVC experiment by its name; empty if there is none."""
    for name in (f"{revision}^{{commit}}", *_experiment_refs(revision)):
        result = _git("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        if not result.returncode and not result.stdout.startswith(b"^"):
            return result.stdout.decode().strip()
    return ""


def patch(sources: Sequence[str] = ()) -> bytes:
    """The difference between the last commit and the workspace, new files included, in the form of `git apply`.

    `sources` are further files that a model is made from. The index is not touched. A file that git refuses or ignores
    is left out of the patch, with a warning.
    """
    if not commit():
        return b""
    new = [CODE, *(source for source in sources if Path(source).exists())]
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        _git("read-tree", "HEAD", environment=index)
        _add(["--update"], index)
        ignored = _ignored(new)
        added = [path for path in new if path not in ignored and _add(["--all", "--", path], index)]
        # Unlike `git diff`, `git diff-index` ignores the user's own settings, such as diff.noprefix.
        patterns = (*map(str, SOURCES), *(f":(exclude){folder}" for folder in GENERATED))
        command = ("diff-index", "--cached", "--patch", "--binary", "HEAD", "--", *patterns, *added)
        return _git("-c", "core.quotePath=false", *command, environment=index).stdout


def touched(changes: bytes, source: str) -> list[str]:
    """The paths that a patch changes.

    Raises PipelineError if one is neither code nor a parameter nor below data/ or `source`, or if one becomes a link.
    """
    listed = _git("apply", "--numstat", "-z", "-", stdin=changes).stdout.decode(errors="replace").split("\0")
    paths = [line.split("\t", 2)[2] for line in listed if line.count("\t") >= 2]
    modes = _git("apply", "--summary", "-", stdin=changes).stdout.decode(errors="replace")
    for path in paths:
        if not _is_source(path, source) or " 120000 " in modes or " => 120000" in modes:
            raise PipelineError(
                f"the run's uncommitted changes touch {quoted(path, 200)}, which is not code, a parameter or a source "
                "of data, or they make a link; look where this run comes from: it is not reproduced."
            )
    return paths


def author(revision: str) -> str:
    """Who made a commit, when, and its subject, in one line."""
    return _git("show", "--no-patch", "--format=%an, %as: %s", revision).stdout.decode(errors="replace").strip()


def _is_source(path: str, source: str) -> bool:
    """Whether a model is made from a file: code, a parameter, a file below data/, or the `source` of its task."""
    further = [Path(source)] if source and source[0] not in "./" else []  # not the whole repository, no hidden folder
    generated = any(Path(path).is_relative_to(folder) for folder in GENERATED)
    return any(Path(path).is_relative_to(place) for place in (*SOURCES, *further)) and not generated


def show(revision: str, path: str) -> bytes | None:
    """A file as it was at a revision, or as it is in the workspace if that is empty; None if it does not exist."""
    if not revision:
        return Path(path).read_bytes() if Path(path).is_file() else None
    result = _git("show", f"{revision}:{path}")
    return None if result.returncode else result.stdout


def is_tracked(path: str) -> bool:
    """Whether git, not DVC, keeps a file."""
    return bool(_git("ls-files", "--", path).stdout)


def merge_base(revision: str) -> str:
    """The last commit that HEAD and `revision` share; empty if they share none."""
    return _git("merge-base", revision, "HEAD").stdout.decode().split("\n")[0]


def commits_with(text: str, path: str) -> list[str]:
    """The commits, newest first, that added `text` to file `path` or removed it."""
    return _git("log", "--all", "--format=%H", f"-S{text}", "--", path).stdout.decode().split()


@contextmanager
def worktree(revision: str, changes: bytes = b"") -> Iterator[Path]:
    """A temporary work tree of a revision, with the patch `changes` applied; the workspace is not touched.

    Of a process that is killed, the system's clean-up removes the folder, and `git gc` then forgets the work tree.
    Raises PipelineError if there is no such revision, or if the patch does not apply.
    """
    if not (commit_hash := commit(revision)):
        raise PipelineError(
            f"this repository has no commit {quoted(revision)}; fetch it (`git fetch --all`, for an experiment "
            "`dvc exp pull`), or choose a run whose commit is here."
        )
    with tempfile.TemporaryDirectory(prefix="lstm-pipeline-") as name:
        folder = Path(name).resolve() / "worktree"
        add = ("worktree", "add", "--detach", "--quiet", str(folder), commit_hash)
        try:
            # Without hooks: the one that `dvc install` sets would look for data there.
            result = _git("-c", "core.hooksPath=/dev/null", *add)
            _require(result, f"git could not make a work tree of {commit_hash}", "fix that and try again")
            if changes:
                result = _git("-C", str(folder), "apply", "--whitespace=nowarn", "-", stdin=changes)
                problem = f"the run's uncommitted changes do not apply to commit {commit_hash[:10]}"
                _require(result, problem, "the patch is damaged or the commit was rewritten: choose another run")
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def archive(revision: str) -> bytes:
    """A tar archive of a bare git repository with one commit, without its history, checked out as HEAD."""
    with tempfile.TemporaryDirectory() as folder:
        for words in (
            ("init", "--quiet", "--bare"),
            ("fetch", "--quiet", "--depth", "1", Path.cwd().as_uri(), revision),
            ("update-ref", "--no-deref", "HEAD", revision),
        ):
            _require(_git("-C", folder, *words), f"git could not pack commit {revision[:10]}", "fix that")
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as tar:
            tar.add(folder, arcname=".git")
        return content.getvalue()


def _ignored(sources: list[str]) -> list[str]:
    """The sources that git ignores, files in a folder each by its name. Logs a warning for each."""
    listed = _git("ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--", *sources).stdout
    ignored = [path for path in listed.decode(errors="replace").split("\0") if path and "__pycache__" not in path]
    for path in ignored:
        log.warning(
            "git ignores %s, so it is not recorded, and this model cannot be reproduced from its run; add it to git, "
            "unless it holds what nobody may read.",
            path,
        )
    return ignored


def _add(arguments: Sequence[str], index: Mapping[str, str]) -> bool:
    """`git add` to the index that `index` names. Logs a warning and returns False if git refuses."""
    result = _git("add", *arguments, environment=index)
    if result.returncode:
        log.warning(
            "git could not save all uncommitted changes (%s), so this model may not be reproducible; commit them, or "
            "fix the cause.",
            _reason(result),
        )
    return not result.returncode


def _experiment_refs(name: str) -> list[str]:
    """The refs of a DVC experiment: refs/exps/ab/cdef.../NAME. Others below refs/exps are DVC's own."""
    refs = _git("for-each-ref", "--format=%(refname)", "refs/exps").stdout.decode().split()
    return [ref for ref in refs if ref.split("/")[4:] == [name]]


def _require(result: subprocess.CompletedProcess[bytes], problem: str, advice: str) -> None:
    """Raise PipelineError if git failed."""
    if result.returncode:
        raise PipelineError(f"{problem} ({_reason(result)}); {advice}.")


def _reason(result: subprocess.CompletedProcess[bytes]) -> str:
    return shortened(result.stderr.decode(errors="replace"), 200)


def _git(
    *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    env = os.environ | (environment or {})
    # Line ends stay as they are; signatures are not printed among commits.
    settings = ["-c", "core.safecrlf=false", "-c", "core.autocrlf=false", "-c", "log.showSignature=false"]
    try:
        return subprocess.run(["git", *settings, *arguments], input=stdin, capture_output=True, check=False, env=env)
    except FileNotFoundError:
        raise PipelineError("the program git was not found; install it.") from None
