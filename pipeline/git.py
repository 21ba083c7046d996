"""What git knows of the workspace: its commit, what is not committed, and how it was at another revision."""

import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import BadInput, quoted

# What a model is made from. Of new files a patch takes code and the tasks' sources alone: no file of credentials.
SOURCES = ("pipeline", "params.yaml", "dvc.yaml", "data", ":(exclude)data/raw", ":(exclude)data/split")
CODE = ":(glob)pipeline/**/*.py"


def commit(revision: str = "HEAD") -> str:
    """The full hash of a revision, or of a DVC experiment by its name; empty if there is none."""
    for name in (f"{revision}^{{commit}}", *_experiments(revision)):
        done = _git("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        if not done.returncode and not done.stdout.startswith(b"^"):
            return done.stdout.decode().strip()
    return ""


def patch(sources: Sequence[str] = ()) -> bytes:
    """What differs between the last commit and the workspace, new files among it: as `git apply` takes it.

    `sources` are further files that a model is made from. The index stays as it is.
    """
    if not commit():
        return b""
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        _git("read-tree", "HEAD", environment=index)
        taken = [*SOURCES]
        steps: list[tuple[str, ...]] = [("add", "--update")]
        code = [CODE] if any(Path("pipeline").rglob("*.py")) else []
        steps += [("add", "--all", "--force", "--", path) for path in (*code, *filter(os.path.exists, sources))]
        for words in steps:
            done = _git(*words, environment=index)
            if not done.returncode:
                taken += words[4:]
                continue
            warnings.warn(
                f"git cannot keep all that is not committed ({_reason(done)}): what is made now may not be made again; "
                "commit it, or mend that.",
                stacklevel=2,
            )
        # Unlike `git diff`, this one does not heed what a person has set for their own eyes.
        return _git("diff-index", "--cached", "--patch", "--binary", "HEAD", "--", *taken, environment=index).stdout


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
    settings = ["-c", "core.safecrlf=false", "-c", "core.autocrlf=false"]  # the bytes as they are
    return subprocess.run(["git", *settings, *words], input=stdin, capture_output=True, check=False, env=env)
