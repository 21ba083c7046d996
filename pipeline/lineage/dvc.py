"""What DVC knows: the entries of dvc.lock and of the run cache, the stages that changed, and files by their hash."""

import itertools
import json
import os
import re
import shlex
import shutil
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.config import flatten
from pipeline.errors import PipelineError, quoted, shortened
from pipeline.files import files_below, load_json, md5, md5_of, parse_yaml
from pipeline.lineage import git
from pipeline.paths import LOCK, PARAMS

LISTED = list[dict[str, str]]  # what a folder holds: of each file, md5 and relpath
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
INVALID = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # what reading a damaged entry raises


def lock_entries(revision: str = "") -> dict[str, Any]:
    """The entries of dvc.lock, in the workspace or at a revision, by stage address; empty if there is no dvc.lock.

    Raises PipelineError if it is damaged.
    """
    content = git.show(revision, str(LOCK))
    if not content:
        return {}
    try:
        entries: dict[str, Any] = parse_yaml(content)["stages"]
        for entry in entries.values():
            check(entry)
    except INVALID:
        raise _damaged(revision) from None
    return entries


def _damaged(revision: str = "") -> PipelineError:
    if revision:
        return PipelineError(f"{LOCK} of {revision} is damaged or has merge conflicts; choose another revision.")
    return PipelineError(f"{LOCK} is damaged or has merge conflicts; run `git checkout HEAD -- {LOCK}` to restore it.")


def run_cache() -> list[bytes]:
    """Every stage that ran here, as DVC's run cache has it, oldest first."""
    files = [path for path in Cache().runs.glob("*/*/*") if path.is_file()]
    return [path.read_bytes() for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]


def run_cache_entries(contents: Iterable[bytes]) -> list[dict[str, Any]]:
    """The content of each file of the run cache as an entry of dvc.lock; damaged ones are left out."""
    entries = []
    for content in contents:
        try:
            entry = parse_yaml(content)
            check(entry)
        except INVALID:
            continue  # DVC, too, ignores a damaged entry, and runs the stage
        entries.append(entry)
    return entries


def changed_stages(addresses: Sequence[str] = ()) -> list[str]:
    """The stages whose inputs or outputs differ from dvc.lock, of these addresses or of all.

    Raises PipelineError if dvc.lock is damaged.
    """
    try:
        with repository() as repo:
            return sorted(repo.status(targets=list(addresses) or None))
    except (*INVALID, NotImplementedError):
        raise _damaged() from None


def commit(address: str) -> None:
    """`dvc commit STAGE`: accept outputs that were written outside of `dvc repro`, into the cache and into dvc.lock."""
    with repository() as repo:
        repo.commit(address, force=True)


@contextmanager
def repository() -> Iterator[Any]:
    """DVC's object for this repository. Raises PipelineError for what DVC raises."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.rwlock import RWLockFileCorruptedError
    from dvc.scm import SCMError

    try:
        with Repo() as repo:
            yield repo
    except RWLockFileCorruptedError:
        raise PipelineError(
            "a DVC command was killed while it wrote .dvc/tmp/rwlock; remove that file, if no other one runs."
        ) from None
    # ImportError: of a remote's plug-in; sqlite3.Error: of DVC's own database.
    except (DvcException, SCMError, ImportError, OSError, sqlite3.Error) as error:
        reason = shortened(str(error), 200)
        raise PipelineError(
            f"DVC failed in this repository ({reason}); fix that, or wait until other DVC commands have ended."
        ) from None


def hashes(entry: dict[str, Any], kind: str) -> dict[str, str]:
    """The MD5s of an entry's `deps` or `outs`, by path; a folder's ends in `.dir`. An address has none."""
    return {file["path"]: file["md5"] for file in entry.get(kind, []) if "://" not in file["path"]}


def hash_of(path: Path) -> str:
    """The MD5 of a file or folder as dvc.lock has it; "" if there is none.

    Unlike `dvc status`, it reads the contents: DVC believes the time of a file's last change.
    """
    if path.is_dir():
        return md5_of(listing(path)) + ".dir"
    return md5(path) if path.is_file() else ""


def listing(folder: Path) -> bytes:
    """What DVC's cache holds of a folder: the hash of each file by its path, as JSON."""
    files = sorted((file.relative_to(folder).parts, file) for file in files_below(folder))
    return json.dumps(
        [{"md5": md5(file), "relpath": "/".join(parts)} for parts, file in files], sort_keys=True
    ).encode()


def params(entry: dict[str, Any]) -> dict[str, Any]:
    """The parameters of an entry by their dotted keys."""
    return flatten(entry.get("params", {}).get(str(PARAMS), {}))


def params_of(content: bytes, where: str) -> dict[str, Any]:
    """All parameters of params.yaml, by their dotted keys. Raises PipelineError if it is not valid YAML."""
    try:
        return flatten(parse_yaml(content) or {})
    except INVALID:
        raise PipelineError(f"{PARAMS} of {where} is not valid YAML; choose another revision or run.") from None


def below(root: Path, path: str) -> Path:
    """An untrusted relative path below `root`. Raises PipelineError if it is absolute or contains `..`."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise _leads_out(path)
    return root / path


def inside(root: Path, path: str) -> Path:
    """The same. Raises PipelineError also where a link leads out of `root`."""
    if not below(root, path).resolve().is_relative_to(root.resolve()):
        raise _leads_out(path)
    return root / path


def _leads_out(path: str) -> PipelineError:
    return PipelineError(
        f"{quoted(path, 200)} is not a path inside the project; whoever wrote it may have meant to overwrite a file of "
        "yours: look where it comes from before you use it."
    )


class Cache:
    """DVC's cache of this repository, and the remote for files that the cache does not have."""

    def __init__(self) -> None:
        with repository() as repo:
            self._repo = repo

    def checkout(self, hash_name: str, root: Path, path: str) -> None:
        """Copy the file or folder with this hash to `path` below `root`.

        Raises PipelineError if neither the cache nor the remote has it undamaged, or if a path leads out of `root`.
        """
        target = inside(root, path)
        if hash_name.endswith(".dir"):
            for file in load_json(self._cached(hash_name, target), "dvc pull", LISTED):
                self.checkout(file["md5"], root, f"{path}/{file['relpath']}")
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._cached(hash_name, target), target)

    @property
    def runs(self) -> Path:
        """The folder of the run cache."""
        return Path(self._repo.stage_cache.cache_dir)

    def path(self, hash_name: str) -> Path:
        """Where the cache holds a file with this hash."""
        return Path(self._repo.cache.local.oid_to_path(hash_name))

    def damaged(self, hash_name: str) -> list[Path]:
        """The files of the cache that hold a file or folder with this hash, and are damaged."""
        cached = self.path(hash_name)
        if cached.is_file() and md5(cached) != hash_name.removesuffix(".dir"):
            return [cached]
        listed = load_json(cached, "dvc pull", LISTED) if hash_name.endswith(".dir") and cached.is_file() else []
        return [path for file in listed for path in self.damaged(file["md5"])]

    def _cached(self, hash_name: str, path: Path) -> Path:
        """The cache's file with this hash, fetched from the remote if it is not there."""
        from dvc.config import NoRemoteError
        from dvc.exceptions import DvcException
        from dvc_data.hashfile.hash_info import HashInfo

        if not MD5.fullmatch(hash_name):
            raise PipelineError(f"{quoted(hash_name)} is not the hash of a file; the entry that names it is damaged.")
        cached = self.path(hash_name)
        reason = "the copy in the cache is damaged"
        if not cached.is_file():
            reason = "neither the cache nor the remote has it"
            try:
                self._repo.cloud.pull([HashInfo("md5", hash_name)])
            except NoRemoteError:
                reason = "it is not in the cache, and there is no remote"
            except (DvcException, ImportError, OSError) as error:
                reason = f"it is not in the cache, and the remote failed: {' '.join(str(error).split())[:150]}"
        if not cached.is_file() or md5(cached) != hash_name.removesuffix(".dir"):
            raise PipelineError(
                f"{path.name} with the hash {hash_name} is not on this machine ({reason}); `dvc pull` fetches it from "
                "a remote that has it, `dvc repro` makes the files of the commit that is checked out."
            )
        return cached


def check(entry: dict[str, Any]) -> None:
    """Raise one of INVALID unless hashes() and params() can read the entry."""
    texts = [text for kind in ("deps", "outs") for file in hashes(entry, kind).items() for text in file]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a path or a hash is not a text")
    params(entry)


def sweep_values(text: str, most: int) -> list[Any]:
    """The values of V1,V2, at most so many, in the grammar of `dvc exp run -S`, which is Hydra's.

    Raises ValueError if it is not in that grammar, or in random order.
    """
    from dvc.utils.hydra import to_hydra_overrides
    from hydra.errors import HydraException

    try:
        (parsed,) = to_hydra_overrides([f"values={text}"])
        if not parsed.is_sweep_override():
            return [parsed.value()]
        if parsed.value().shuffle:
            raise ValueError("each call has another order")
        texts = itertools.islice(parsed.sweep_string_iterator(), most)
        return [each.value() for each in to_hydra_overrides([f"values={value}" for value in texts])]
    except (HydraException, AttributeError) as error:  # AttributeError: an interval, which has no values
        raise ValueError(str(error)) from None


def problems(addresses: Collection[str]) -> Iterator[str]:
    """A sentence for each file or folder of these stages that is missing here or was changed.

    Also for each of these stages that never ran. Stages of neither a task nor a model are looked at, too. DVC keeps the
    entries of tasks and models that params.yaml no longer has. Raises PipelineError for a path that leads out of the
    project.
    """
    cache, entries = Cache(), lock_entries()
    for address in sorted({*addresses} - {*entries}):
        yield f"{LOCK} has no entry of {address}, so its files cannot be checked; run `dvc repro {address}`."
    for address, entry in entries.items():
        if "@" in address and address not in addresses:
            continue
        for path, was in hashes(entry, "outs").items():
            if hash_of(below(Path(), path)) != was:
                state = "was changed" if Path(path).exists() else "is missing"
                yield f"{path} {state} since {LOCK} was written; {_advice(address, path, cache.damaged(was))}."


def _advice(address: str, path: str, damaged: list[Path]) -> str:
    name = shlex.quote(path)
    if damaged:
        names = shlex.join(os.path.relpath(file) for file in damaged)
        return f"its copy in the cache is damaged: run `rm -f {names}`, then `dvc repro --force {address}`"
    if git.is_tracked(path):
        return f"run `git checkout {name}`, or `dvc repro {address}` if git has another version"
    return f"run `rm -rf {name} && dvc checkout {name}`, or `dvc repro {address}` where the cache does not have it"
