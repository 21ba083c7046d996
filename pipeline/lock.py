"""What dvc.lock says: what each stage was made from, and DVC's cache, that holds its files by their hash."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from pipeline import data, git
from pipeline.errors import BadInput

LOCK = "dvc.lock"


def stages(revision: str | None = None) -> dict[str, Any]:
    """The stages of dvc.lock, of the workspace or of a revision; none if it is not there, BadInput if it is damaged."""
    path = Path(LOCK)
    text = git.show(revision, LOCK) if revision else path.read_bytes() if path.is_file() else None
    if not text:
        return {}
    try:
        entries: dict[str, Any] = yaml(text)["stages"]
        for entry in entries.values():
            hashes(entry, "deps"), hashes(entry, "outs"), params(entry)
    except (YAMLError, ValueError, KeyError, TypeError, AttributeError):
        where = f" of {revision}" if revision else ""
        raise BadInput(
            f"{LOCK}{where} is damaged, or holds a merge that is not settled; `git checkout {LOCK}` brings it back."
        ) from None
    return entries


def run_cache() -> list[dict[str, Any]]:
    """Every stage that ran here, as an entry of dvc.lock, oldest first: what DVC restores stages from."""
    with repository() as repo:
        folder = Path(repo.stage_cache.cache_dir)
    files = sorted((path for path in folder.glob("*/*/*") if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
    entries = []
    for path in files:
        try:
            entry = yaml(path.read_bytes())
            hashes(entry, "deps"), hashes(entry, "outs"), params(entry)
        except (YAMLError, ValueError, KeyError, TypeError, AttributeError):
            continue  # DVC, too, runs a stage anew rather than believe a damaged entry
        entries.append(entry)
    return entries


def changed(kind: str = "") -> list[str]:
    """The stages whose inputs or outputs are not as dvc.lock has them; `changed outs` alone if `kind` says so."""
    with repository() as repo:
        told = repo.status()
    return sorted(stage for stage, changes in told.items() if not kind or any(kind in each for each in changes))


@contextmanager
def repository() -> Iterator[Any]:
    """DVC's view of this repository; what DVC refuses becomes a BadInput."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        with Repo() as repo:
            yield repo
    except (DvcException, SCMError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(
            f"DVC does not answer here ({reason}); mend that, or wait for its other command to end."
        ) from None


def yaml(text: bytes) -> Any:
    """YAML 1.2, as DVC reads it."""
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def hashes(stage: dict[str, Any], kind: str) -> dict[str, str]:
    """The hashes of a stage's `deps` or `outs`, by path; a folder's ends in `.dir`."""
    return {entry["path"]: entry["md5"] for entry in stage.get(kind, [])}


def params(stage: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a stage by their dotted keys."""
    return flat(stage.get("params", {}).get("params.yaml", {}))


def md5(content: bytes) -> str:
    """The MD5 of a text that is no file, as DVC writes it."""
    return hashlib.md5(content).hexdigest()


def flat(content: Any, at: str = "") -> dict[str, Any]:
    """A nested mapping as one of dotted keys."""
    if not isinstance(content, dict) or (at and not content):
        return {at: content}
    return {
        key: value for name, part in content.items() for key, value in flat(part, f"{at}.{name}".lstrip(".")).items()
    }


class Cache:
    """DVC's cache of this repository, and its remote for what the cache does not hold."""

    def __init__(self) -> None:
        with repository() as repo:
            self._repo = repo

    def place(self, md5: str, path: Path) -> None:
        """Put the file or folder of that hash at `path`; BadInput if neither cache nor remote holds it whole."""
        if md5.endswith(".dir"):
            for entry in data.load_json(self._find(md5, path), "dvc pull"):
                self.place(entry["md5"], path / entry["relpath"])
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._find(md5, path), path)

    def _find(self, md5: str, path: Path) -> Path:
        from dvc.exceptions import DvcException
        from dvc_data.hashfile.hash_info import HashInfo

        held = Path(self._repo.cache.local.oid_to_path(md5))
        whole = md5.removesuffix(".dir")
        if not held.is_file():
            try:
                self._repo.cloud.pull([HashInfo("md5", md5)])
            except DvcException as error:
                reason = f"the cache does not hold it, and the remote: {' '.join(str(error).split())[:150]}"
            else:
                reason = "neither the cache nor the remote holds it"
        else:
            reason = "the cache's copy is damaged"
        if not held.is_file() or data.md5(held) != whole:
            raise BadInput(
                f"{path.name} with the hash {md5} is gone ({reason}); bring DVC's cache back (`dvc pull`), or take "
                "another run."
            )
        return held
