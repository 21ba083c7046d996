"""What git knows of the workspace: its commit, what is not committed, and how it was at another revision."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import BadInput, quoted

# What a model is made from, but for DVC's own outputs. Nothing else goes into a patch: no file of credentials.
SOURCES = ("pipeline", "params.yaml", "dvc.yaml", "data")
OUTPUTS = (":(exclude)data/raw", ":(exclude)data/split")


def commit(revision: str = "HEAD") -> str:
    """The full hash of a revision, or of a DVC experiment by its name; empty if there is none."""
    for name in (f"{revision}^{{commit}}", *_experiments(revision)):
        done = _git("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        if not done.returncode:
            return done.stdout.decode().strip()
    return ""


def patch(sources: Sequence[str] = ()) -> bytes:
    """What differs between the last commit and the workspace, new files among it: as `git apply` takes it.

    `sources` are further files that a model is made from. The index stays as it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        _git("read-tree", "HEAD", environment=index)
        for path in (*SOURCES, *sources):  # each by itself: git adds nothing if one is not there, or not in here
            _git("add", "--all", "--", path, *OUTPUTS, environment=index)
        # Unlike `git diff`, this one does not heed what a person has set for their own eyes.
        return _git("diff-index", "--cached", "--patch", "--binary", "HEAD", environment=index).stdout


def show(revision: str, path: str) -> bytes | None:
    """A file as it was at a revision; None if it was not."""
    done = _git("show", f"{revision}:{path}")
    return None if done.returncode else done.stdout


def merge_base(revision: str) -> str:
    """The commit where HEAD left `revision`: the revision itself, if it is behind HEAD; empty if they share none."""
    return _git("merge-base", revision, "HEAD").stdout.decode().split("\n")[0]


def commits_with(text: str, path: str) -> list[str]:
    """The commits, newest first, that brought `text` into file `path` or took it out."""
    return _git("log", "--all", "--format=%H", f"-S{text}", "--", path).stdout.decode().split()


@contextmanager
def worktree(revision: str, changes: bytes = b"") -> Iterator[Path]:
    """A temporary work tree of a revision with a patch applied: the workspace is not touched, and nothing is left."""
    if not (found := commit(revision)):
        raise BadInput(
            f"this repository has no commit {quoted(revision)}; fetch it (`git fetch --all`, for an experiment "
            "`dvc exp pull`), or take a run whose commit is here."
        )
    with tempfile.TemporaryDirectory(prefix="lstm-") as name:
        folder = Path(name).resolve() / "worktree"
        # Without hooks: the one that `dvc install` sets would look for data there.
        done = _git("-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", "--quiet", str(folder), found)
        try:
            if done.returncode:
                raise BadInput(f"git made no work tree of {found}: {_reason(done)}; mend that and try again.")
            if changes:
                done = _git("-C", str(folder), "apply", "--whitespace=nowarn", "-", stdin=changes)
                if done.returncode:
                    raise BadInput(
                        f"the run's uncommitted changes no longer apply to commit {found[:10]} ({_reason(done)}); "
                        "its patch is damaged or the commit was rewritten: take another run."
                    )
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _experiments(name: str) -> list[str]:
    refs = _git("for-each-ref", "--format=%(refname)", "refs/exps").stdout.decode().split()
    return [ref for ref in refs if ref.split("/")[4:] == [name]]  # refs/exps/ab/cdef.../NAME; others are DVC's own


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join(done.stderr.decode(errors="replace").split())[:200]


def _git(
    *words: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    env = os.environ | (environment or {})
    return subprocess.run(["git", *words], input=stdin, capture_output=True, check=False, env=env)
